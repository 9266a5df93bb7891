// What plain forms cannot do: selecting all rows of a page, keeping hands off a
// part that somebody is using while it would refresh itself, and saying that it
// is old once nothing comes any more.
"use strict";

(function () {
  function using(part) {
    var focus = document.activeElement;
    var chosen = document.getSelection();
    var within = focus && focus !== document.body && part.contains(focus);
    var marked = chosen && !chosen.isCollapsed && part.contains(chosen.anchorNode);
    return within || marked || part.querySelector("details[open]") !== null;
  }

  function isLive(part) {
    return part && part.id === "live";
  }

  // Says that what is shown is old, or with no words that it is not. The words stand
  // in the page; the same ones are not put there again, or they would be read again.
  function say(words) {
    var place = document.getElementById("stale");
    var part = document.getElementById("live");
    if (!place || !part) return;
    var text = words ? place.dataset[words].replace("{}", part.dataset.asOf) : "";
    if (place.textContent === text) return;
    var line = document.createElement("p");
    line.className = "notice bad";
    line.textContent = text;
    place.replaceChildren.apply(place, text ? [line] : []);
  }

  document.addEventListener("htmx:beforeRequest", function (event) {
    if (isLive(event.detail.elt) && document.hidden) event.preventDefault();
  });

  ["htmx:sendError", "htmx:timeout"].forEach(function (name) {
    document.addEventListener(name, function (event) {
      if (isLive(event.detail.elt)) say("silent");
    });
  });

  // An error, or a page of somebody between the broker and us, takes no part's place.
  // A part in use is asked for as well, so that silence is noticed, and left alone.
  document.addEventListener("htmx:beforeSwap", function (event) {
    var answer = event.detail;
    if (!isLive(answer.elt)) return;
    var good = answer.shouldSwap && answer.serverResponse.indexOf('id="live"') >= 0;
    say(good ? null : "refused");
    if (!good || using(answer.elt)) answer.shouldSwap = false;
  });

  document.querySelectorAll("form[data-bulk]").forEach(function (form) {
    var all = form.querySelector("[data-all]");
    if (!all) return;
    var boxes = Array.from(form.querySelectorAll("input[name=id]"));
    function show() {
      var chosen = boxes.filter(function (box) { return box.checked; }).length;
      all.checked = boxes.length > 0 && chosen === boxes.length;
      all.indeterminate = chosen > 0 && chosen < boxes.length;
    }
    all.disabled = false;
    all.addEventListener("change", function () {
      boxes.forEach(function (box) { box.checked = all.checked; });
    });
    boxes.forEach(function (box) { box.addEventListener("change", show); });
    show();
  });

  document.addEventListener("keydown", function (event) {
    var look = document.querySelector("details.look[open]");
    if (event.key === "Escape" && look) {
      look.open = false;
      look.querySelector("summary").focus();
    }
  });
})();

// What plain forms cannot do: selecting all rows of a page, renewing a part without
// taking anything out of the hands of whoever is using it, and saying that it is old
// once nothing comes any more.
"use strict";

(function () {
  function isMarked(part) {
    var chosen = document.getSelection();
    return chosen && !chosen.isCollapsed && part.contains(chosen.anchorNode);
  }

  // What an element is called by itself.
  function nameOf(one) {
    return one && (one.id || one.getAttribute("href") || one.getAttribute("action") || one.getAttribute("name"));
  }

  // Tells an element from its siblings, whatever it says by now and wherever it stands.
  // A row is what it leads to.
  function whichOf(node) {
    if (node.nodeType !== Node.ELEMENT_NODE) return node.nodeName;
    var isRow = node.localName === "tr" || node.localName === "li";
    return node.nodeName + " " + (nameOf(node) || (isRow && nameOf(node.querySelector("[href], [action]"))) || "");
  }

  // What somebody has opened stays so, and what somebody has typed is no attribute.
  function renewAttributes(shown, fresh) {
    shown.getAttributeNames().forEach(function (name) {
      if (name !== "open" && !fresh.hasAttribute(name)) shown.removeAttribute(name);
    });
    fresh.getAttributeNames().forEach(function (name) {
      if (name !== "open" && shown.getAttribute(name) !== fresh.getAttribute(name)) shown.setAttribute(name, fresh.getAttribute(name));
    });
  }

  // Makes what is shown say what the fresh one says. An element that is in both stays the
  // same element; the one that has the focus is not even moved, since that would lose it.
  function renew(shown, fresh) {
    if (shown.nodeType !== Node.ELEMENT_NODE) {
      if (shown.data !== fresh.data) shown.data = fresh.data;
      return;
    }
    renewAttributes(shown, fresh);
    var old = Array.from(shown.childNodes);
    var next = shown.firstChild;
    Array.from(fresh.childNodes).forEach(function (child) {
      var which = whichOf(child);
      var at = old.findIndex(function (one) { return whichOf(one) === which; });
      var one = at < 0 ? child : old.splice(at, 1)[0];
      if (one !== child) renew(one, child);
      if (one.contains(document.activeElement)) {
        // What stands before it and is still wanted is put behind it in its turn.
        while (next !== one) {
          var before = next;
          next = next.nextSibling;
          before.remove();
        }
      }
      if (next === one) next = one.nextSibling;
      else shown.insertBefore(one, next);
    });
    old.forEach(function (one) { one.remove(); });
  }

  function renewPart(part, fresh) {
    var isUsed = part.contains(document.activeElement);
    var trigger = part.getAttribute("hx-trigger");
    renew(part, fresh);
    // Whoever was on something that is gone goes on from here, and not from the top.
    if (isUsed && !part.contains(document.activeElement)) part.focus({ preventScroll: true });
    if (part.getAttribute("hx-trigger") !== trigger) window.htmx.process(part);
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
  // What somebody is about to copy is left alone.
  document.addEventListener("htmx:beforeSwap", function (event) {
    var answer = event.detail;
    if (!isLive(answer.elt)) return;
    var page = new DOMParser().parseFromString(answer.serverResponse, "text/html");
    var fresh = answer.shouldSwap && page.getElementById("live");
    say(fresh ? null : "refused");
    answer.shouldSwap = false;
    if (fresh && !isMarked(answer.elt)) renewPart(answer.elt, fresh);
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

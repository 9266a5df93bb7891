// What plain forms cannot do: selecting all rows of a page, and keeping hands
// off a part that somebody is using while it would refresh itself.
"use strict";

(function () {
  function using(part) {
    var focus = document.activeElement;
    var chosen = document.getSelection();
    var within = focus && focus !== document.body && part.contains(focus);
    var marked = chosen && !chosen.isCollapsed && part.contains(chosen.anchorNode);
    return within || marked || document.hidden || part.querySelector("details[open]") !== null;
  }

  document.addEventListener("htmx:beforeRequest", function (event) {
    var part = event.detail.elt;
    if (part && part.id === "live" && using(part)) event.preventDefault();
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

// Shows beside a text area how many characters are left when few are, and that a text was cut: a browser cuts pasted text at the limit without notice.
// Without a connection it sends no form: the browser's own page about that would replace the form, and on the way back the typed text is gone.
"use strict";
(() => {
  const words = document.currentScript.dataset, NEAR = 0.1;  // the share of the limit below which the remaining characters are shown
  const limited = (event) => (event.target.matches?.("textarea[maxlength]") ? event.target : null);
  const line = (area) => {
    if (!area.nextElementSibling?.matches(".limit")) area.insertAdjacentHTML("afterend", '<p class="hint limit" role="status"></p>');
    return area.nextElementSibling;
  };
  const show = (area, cut) => {
    const maximum = area.maxLength, left = maximum - area.value.length, hint = line(area);
    const text = cut ? words.cut : left < 1 ? words.full : left <= maximum * NEAR ? words.left : "";
    hint.textContent = text.replace("{n}", left).replace("{most}", maximum);
    hint.classList.toggle("error", cut);
  };
  document.addEventListener("focusin", (event) => { if (limited(event)) line(event.target); });  // a screen reader reads changes only in an element that exists already
  document.addEventListener("input", (event) => { if (limited(event)) show(event.target, false); });
  document.addEventListener("beforeinput", (event) => {
    const area = limited(event), added = (event.data ?? event.dataTransfer?.getData("text/plain") ?? "").replaceAll("\r\n", "\n").length;
    if (!area || added < 2) return;
    const room = area.maxLength - area.value.length + area.selectionEnd - area.selectionStart;
    if (added > room) setTimeout(() => show(area, true));  // after `input`, which follows only if a part fits
  });
  let reachable = false;
  document.addEventListener("submit", async (event) => {
    if (navigator.onLine || reachable || event.defaultPrevented) return;
    event.preventDefault();
    const { target: form, submitter } = event;
    try {
      await fetch("/healthz", { cache: "no-store" });  // a server on this machine needs no connection
      reachable = true;
      form.requestSubmit(submitter);
    } catch {
      const hint = line(submitter ?? form.lastElementChild);
      hint.textContent = words.offline;
      hint.classList.add("error");
    }
  });
})();

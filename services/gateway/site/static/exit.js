// Shift three times in 1.5 seconds is the quick exit, which leaves this page out of the history; / moves to the search.
"use strict";
(() => {
  const link = document.getElementById("exit");
  if (!link) return;
  const leave = () => { document.documentElement.hidden = true; location.replace(link.href); };
  link.addEventListener("click", (event) => { event.preventDefault(); leave(); });
  let presses = [];
  document.addEventListener("keyup", (event) => {
    presses = event.key === "Shift" ? [...presses.slice(-2), event.timeStamp] : [];
    if (presses.length === 3 && presses[2] - presses[0] < 1500) leave();
  });
  // A page that comes back by the Back button is loaded again, and then needs a session.
  window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Shift") presses = [];
    const field = document.getElementById("q-top");
    if (event.key !== "/" || !field || event.target.closest("input, textarea, select")) return;
    event.preventDefault();
    field.focus();
  });
  // The script sends the search: the browser would store a form and its answer on the disk.
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (form.getAttribute("role") !== "search" || form.method !== "post") return;
    event.preventDefault();
    const body = new URLSearchParams(new FormData(form)), { name, value } = event.submitter ?? {};
    if (name) body.set(name, value);
    try {
      const answer = await fetch(form.action, { method: "POST", body });
      if (answer.redirected) { location.assign(answer.url); return; }
      const page = await answer.text();
      document.open();
      document.write(page);
      document.close();
      const { hash } = new URL(form.action);
      if (hash) location.replace(hash);
    } catch {
      form.submit();
    }
  });
  document.getElementById("problems")?.focus();
})();

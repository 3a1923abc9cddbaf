// On every page: quick exit by pressing Shift three times within a second and a half, without leaving this page in the tab's history; the key / searches.
"use strict";
(() => {
  const link = document.getElementById("exit");
  if (!link) return;
  const leave = () => { document.documentElement.hidden = true; location.replace(link.href); };
  link.addEventListener("click", (event) => { event.preventDefault(); leave(); });
  let presses = [];
  document.addEventListener("keyup", (event) => {
    if (event.key !== "Shift") { presses = []; return; }
    presses = [...presses.slice(-2), event.timeStamp];
    if (presses.length === 3 && presses[2] - presses[0] < 1500) leave();
  });
  document.addEventListener("keydown", (event) => { if (event.key !== "Shift") presses = []; });
  // A page that comes back by the Back button after leaving is asked for anew, and then needs a session.
  window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  document.addEventListener("keydown", (event) => {
    const field = document.getElementById("q-top");
    if (event.key !== "/" || !field || event.target.closest("input, textarea, select")) return;
    event.preventDefault();
    field.focus();
  });
  const problems = document.getElementById("problems");
  if (problems) problems.focus();
})();

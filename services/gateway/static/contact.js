// A contact is saved at each answer, and what is typed when one stops typing: a call that breaks off loses nothing that was said before.
// The answer is the page as it would stand without a script; what is new on it (etag, urgency, reference and PIN) is taken over, what is being written stays.
"use strict";
(() => {
  const form = document.querySelector("form[data-autosave]");
  const status = document.getElementById("saved");
  if (!form || !status) return;
  let saving = false, again = false, timer = 0;
  if (status.hidden) { status.textContent = status.dataset.ready; status.hidden = false; }  // without this script it would not be true
  const say = (text, bad) => { status.textContent = text; status.classList.toggle("bad", Boolean(bad)); };
  const take = (page) => {
    const sent = page.querySelector("form[data-autosave]");
    if (!sent) return false;
    form.setAttribute("action", sent.getAttribute("action"));
    for (const name of ["etag", "request_id", "form_token"]) {
      const fresh = sent.elements[name];
      if (!fresh) continue;
      if (form.elements[name]) form.elements[name].value = fresh.value;
      else form.append(document.importNode(fresh, true));
    }
    for (const name of ["heading", "readout", "steps"]) {
      const mine = document.getElementById(name), fresh = page.getElementById(name);
      if (mine && fresh && fresh.childElementCount) mine.replaceChildren(...document.importNode(fresh, true).childNodes);
    }
    if (sent.elements.pin === undefined && form.elements.pin) form.elements.pin.closest("details").remove();
    form.querySelector(".save button").textContent = sent.querySelector(".save button").textContent;
    history.replaceState(null, "", sent.getAttribute("action"));
    say(page.getElementById("saved").textContent);
    return true;
  };
  const save = async () => {
    clearTimeout(timer);
    if (saving) { again = true; return; }
    saving = true;
    try {
      const answer = await fetch(form.getAttribute("action"), { method: "POST", body: new URLSearchParams(new FormData(form)) });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (answer.status === 401) say(status.dataset.ended, true);
      else if (!answer.ok || !take(page)) say(page.querySelector("main .note, main p")?.textContent.trim() || status.dataset.away, true);
    } catch {
      say(status.dataset.away, true);
    }
    saving = false;
    if (again) { again = false; save(); }
  };
  form.addEventListener("change", save);
  form.addEventListener("input", (event) => {
    if (event.target.type === "radio" || event.target.tagName === "SELECT") return;
    clearTimeout(timer);
    timer = setTimeout(save, 1500);
  });
  form.addEventListener("submit", () => clearTimeout(timer));
})();

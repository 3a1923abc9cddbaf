// Saves a contact at each answer, and typed text when the operator stops typing: a call that breaks off loses nothing that was said before.
// The server answers the page as it would be without a script. Its new parts (etag, urgency, reference and PIN) are copied into this page; text that is being written stays.
"use strict";
(() => {
  const form = document.querySelector("form[data-autosave]");
  const status = document.getElementById("saved");
  if (!form || !status) return;
  let running = null, again = false, timer = 0, stopped = false, joined = false, isSaved = true;
  let lost = null;  // a request whose answer did not arrive: it may have been carried out, so it is sent again as it was before anything new
  if (status.hidden) { status.textContent = status.dataset.ready; status.hidden = false; }  // shown by the script, because nothing is saved automatically without it
  const showStatus = (text, bad) => { status.textContent = text; status.classList.toggle("bad", Boolean(bad)); };
  const copyTokens = (answerForm) => {
    for (const name of ["etag", "request_id", "form_token", "shown"]) {
      const fresh = answerForm.elements[name];
      if (!fresh) continue;
      if (form.elements[name]) form.elements[name].value = fresh.value;
      else form.append(document.importNode(fresh, true));
    }
  };
  const refresh = (page, ...names) => {
    for (const name of names) {
      const mine = document.getElementById(name), fresh = page.getElementById(name);
      if (!mine || !fresh || (name === "readout" && !fresh.childElementCount)) continue;
      // A link that is replaced while the button of the mouse is down would not be followed.
      if (mine.innerHTML !== fresh.innerHTML) mine.replaceChildren(...document.importNode(fresh, true).childNodes);
      mine.toggleAttribute("data-enough", fresh.hasAttribute("data-enough"));
    }
  };
  // A colleague saved the contact meanwhile, or the caller added a note; the answer holds both versions together. Text that was typed after the request stays, after the colleague's text.
  const join = (page, answerForm, body) => {
    copyTokens(answerForm);
    refresh(page, "later");
    for (const fresh of answerForm.elements) {
      const mine = fresh.name && !["hidden", "submit"].includes(fresh.type) && form.elements[fresh.name];
      if (!mine) continue;
      const sentValue = body.get(fresh.name) ?? "", value = answerForm.elements[fresh.name].value;
      if (value.trim() === sentValue.trim()) continue;
      if (fresh.tagName === "SELECT" && ![...mine.options].some((one) => one.value === value)) mine.append(document.importNode(fresh.selectedOptions[0], true));  // a choice that only the fresh page offers
      if (mine.value === sentValue) mine.value = value;
      else if (fresh.tagName === "TEXTAREA" && mine.value.startsWith(sentValue)) mine.value = value + mine.value.slice(sentValue.length);
    }
    mark();
  };
  const applyAnswer = (page, body) => {
    const answerForm = page.querySelector("form[data-autosave]");
    if (!answerForm) return false;
    form.setAttribute("action", answerForm.getAttribute("action"));
    join(page, answerForm, body);
    refresh(page, "heading", "readout", "enough", "standing");
    for (const card of page.querySelectorAll("#cards details[open]")) {  // opens the cards that an answer opens; cards that the operator opened herself stay open
      form.querySelector(`[data-card="${card.dataset.card}"]`)?.setAttribute("open", "");
    }
    if (answerForm.elements.pin === undefined) form.querySelector("[data-once]")?.remove();
    form.querySelector(".save button").textContent = answerForm.querySelector(".save button").textContent;
    history.replaceState(null, "", answerForm.getAttribute("action"));
    if (enough() && panes[shownIndex] !== about && !stopped) { stopped = true; show(panes.length - 1, true); }  // the answers suffice: no further question, the operator acts now
    const saved = page.getElementById("saved");
    if (!again && !lost) showStatus(saved.textContent, saved.classList.contains("bad"));
    return true;
  };
  // An error is shown with the text of the answer's part for errors. Nothing is copied from any other page (the sign-in page, or a page of another site).
  const send = async (isRetry) => {
    joined = false;
    const body = lost ?? new URLSearchParams(new FormData(form));
    body.set("form_token", form.elements.form_token.value);
    try {
      const answer = await fetch(form.getAttribute("action"), { method: "POST", body, keepalive: true });  // keepalive: the request arrives even if she leaves the page
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (answer.ok && applyAnswer(page, body)) { lost = null; return true; }
      const answerForm = [...page.forms].find((one) => one.getAttribute("action") === form.getAttribute("action"));
      if (answer.status === 401 || answer.redirected) showStatus(status.dataset.ended, true);
      else if (answer.status === 403 && answerForm?.elements.form_token && !isRetry) {  // the operator signed in again in another tab
        form.elements.form_token.value = answerForm.elements.form_token.value;
        return await send(true);
      } else {
        if (answer.status >= 500) lost = body; else if (![403, 429].includes(answer.status)) lost = null;
        joined = answer.status === 412 && Boolean(answerForm);
        if (joined) join(page, answerForm, body);
        const refusal = page.querySelector("main [data-refusal] li") ?? page.querySelector("main [data-refusal], main #problem");
        showStatus(refusal?.textContent.trim() || status.dataset.away, true);
      }
    } catch {
      lost = body;
      showStatus(status.dataset.away, true);
    }
    return false;
  };
  const save = () => {  // sends one request after the other; resolves to whether the last one was accepted
    clearTimeout(timer);
    timer = 0;
    again = true;
    running ??= (async () => {
      let saved = false;
      while (again) {
        const isRepeated = Boolean(lost);
        again = false;
        saved = await send();
        again ||= isRepeated && !lost && !joined;
      }
      running = null;
      isSaved = saved;
      return saved;
    })();
    return running;
  };
  // Shows one question at a time, a list of all of them, and keys for the answers. Without this script the questions stand one below the other.
  const questions = [...form.querySelectorAll(".questions fieldset")], about = document.getElementById("about");
  const panes = [...questions, about], list = form.querySelector(".asked ol");
  let shownIndex = -1;
  const answerOf = (pane) => pane.querySelector("input:checked")?.value || "";
  const mark = () => panes.forEach((pane, index) => {
    const button = list.children[index].firstChild, choice = pane.querySelector("input:checked");
    button.lastChild.textContent = pane !== about && answerOf(pane) ? choice.parentNode.textContent.trim() : "";
    button.classList.toggle("answered", pane !== about && Boolean(answerOf(pane)));
    if (index === shownIndex) button.setAttribute("aria-current", "step"); else button.removeAttribute("aria-current");
  });
  const show = (index, focus) => {
    shownIndex = index;
    panes.forEach((pane, place) => { pane.hidden = place !== shownIndex; });
    mark();
    if (focus) (panes[shownIndex] === about ? about.querySelector("select") : panes[shownIndex]).focus();
  };
  const enough = () => document.getElementById("standing").hasAttribute("data-enough");
  const next = (from) => {
    const open = enough() ? -1 : panes.findIndex((pane, index) => index > from && (pane === about || !answerOf(pane)));
    show(open < 0 ? panes.length - 1 : open, true);
  };
  panes.forEach((pane, index) => {
    const item = document.createElement("li"), button = document.createElement("button");
    const title = document.createElement("span"), answer = document.createElement("b");
    title.textContent = pane === about ? about.dataset.title : pane.querySelector("legend").textContent;
    button.type = "button";
    button.dataset.question = pane.id;
    button.append(title, answer);
    button.addEventListener("click", () => show(index, true));
    item.append(button);
    list.append(item);
    pane.tabIndex = -1;
  });
  form.classList.add("paced");
  list.parentNode.hidden = false;
  const first = questions.findIndex((pane) => !answerOf(pane));
  show(first < 0 || enough() ? panes.length - 1 : first, false);
  const keys = { 1: 0, 2: 1, 3: 2, 0: 3 };  // key → place among the answers, not the value: in a question that is worded the other way round a yes is the contract's no
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("textarea, select, input:not([type=radio])");
    if (typing || event.ctrlKey || event.altKey || event.metaKey || !(event.key in keys) || panes[shownIndex] === about) return;
    event.preventDefault();
    const choice = panes[shownIndex].querySelectorAll("input")[keys[event.key]];
    const from = shownIndex;
    choice.checked = true;
    mark();
    if (event.key !== "0") save();
    next(from);
  });
  form.addEventListener("click", (event) => {  // a tap on an answer leads to the next question; the arrow keys of a radio group (detail 0) do not
    const from = shownIndex;
    if (event.detail && event.target.closest(".questions .choice")) setTimeout(() => { if (shownIndex === from) next(from); }, 250);
  });
  form.addEventListener("change", mark);
  form.addEventListener("change", save);
  form.addEventListener("input", (event) => {
    if (event.target.type === "radio" || event.target.tagName === "SELECT") return;
    clearTimeout(timer);
    timer = setTimeout(save, 1500);
  });
  // Links in the content read the saved contact, so they wait until it is saved. Other links (the rail, quick exit) never wait.
  document.querySelector("main").addEventListener("click", async (event) => {
    const link = event.target.closest("a[href]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || !(running || timer || !isSaved)) return;
    event.preventDefault();
    const saved = await (timer ? save() : running);
    isSaved = true;
    if (saved) location.assign(link.href);  // otherwise the page shows the error, and a second click leaves the page
  });
  addEventListener("beforeunload", () => { if (timer) save(); });
  // The browser stores a page that answers a form, with the data that were sent, on the disk until the page is closed; so the form is saved by the script.
  // If that is refused, the data are sent as a form, so that each field shows its error. Without a connection the page, with what was typed, stays.
  form.addEventListener("submit", async (event) => {
    if (event.submitter?.name) { clearTimeout(timer); return; }  // a button that closes the contact leads to another page
    event.preventDefault();
    if (!await save() && !joined && !lost) form.submit();
    else document.getElementById("heading").scrollIntoView();
  });
})();

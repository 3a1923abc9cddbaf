// Keeps an open page up to date: every few seconds it asks whether the page is out of date, and replaces the parts marked data-live with those of a fresh page.
// A part in which the reader types or presses a button is replaced once she has finished. Changes are announced once, in one sentence.
"use strict";
(() => {
  const announcement = document.getElementById("live"), stale = document.getElementById("live-stale"), sound = document.getElementById("sound");
  if (!announcement || !stale) return;
  const words = announcement.dataset, ahead = words.now * 1000 - Date.now();  // the clock of this device may be wrong
  const EVERY = 3000, HIDDEN = 15000, SLOWEST = 30000, SILENCE = 15000, USED = 60000;
  let version = words.version, ticket = "", lastAnswer = Date.now(), failed = 0, behind = false, asking = false, over = false, timer = 0;
  let acted = 0, reported = Date.now(), pressed = 0;  // times: the reader's last action, the last request that reported one, her last press
  const pending = new Map();  // fresh parts that wait until nobody writes in the old ones

  const count = (text, n) => text.replace("{n}", n);
  const time = () => new Intl.DateTimeFormat(document.documentElement.lang, { hour: "2-digit", minute: "2-digit", timeZone: words.zone })
    .format(lastAnswer + ahead);
  // Only the reader's actions keep her session alive: a session becomes idle while a page is only left open.
  const ask = (url, headers) => {
    const isUsed = acted > reported && Date.now() - reported > USED;
    if (isUsed) reported = Date.now();
    return fetch(url, { headers: { ...(isUsed ? {} : { Passive: "1" }), ...headers }, redirect: "manual", cache: "no-store", signal: AbortSignal.timeout?.(8000) });
  };
  const ended = (answer) => answer.type === "opaqueredirect" || answer.status === 401;
  const show = (text) => { stale.textContent = text; stale.hidden = !text; };

  const end = () => {
    over = true;
    show(count(words.ended, time()) + " ");
    const typed = [...document.querySelectorAll("main :is(input, select, textarea)")].some(written);  // stays in this window: its form is offered again when it is sent
    stale.append(Object.assign(document.createElement("a"), { href: words.signin, textContent: words.enter, target: typed ? "_blank" : "" }));
  };

  // -- what is on the page ------------------------------------------------------------------------------------------------------------------
  const bare = (region, without) => {
    const copy = region.cloneNode(true);
    copy.querySelectorAll(without).forEach((part) => part.remove());
    copy.querySelectorAll("details").forEach((part) => part.removeAttribute("open"));
    return copy.innerHTML;
  };
  const UNIQUE_FIELDS = "[name=form_token], [name=request_id]";  // they differ on each page
  // A list without a marked choice begins with its first one.
  const written = (field) => field.matches("select") ? field.selectedOptions[0] !== ([...field.options].find((one) => one.defaultSelected) ?? field.options[0])
    : field.type === "hidden" ? false : field.matches("[type=checkbox], [type=radio]") ? field.checked !== field.defaultChecked : field.value !== field.defaultValue;
  const busy = (region) => Date.now() - pressed < 1000 || (region.contains(document.activeElement) && document.activeElement.matches("input, select, textarea"))
    || [...region.querySelectorAll("input, select, textarea")].some(written);
  const rows = (region) => new Map([...region.querySelectorAll(".row")].map((row) => [row.querySelector("a[href]")?.getAttribute("href"), row]));
  const name = (part) => part?.closest("a[href]")?.getAttribute("href") || part?.closest("form")?.getAttribute("action") || part?.closest("details")?.id;
  const named = (region, wanted) => [...region.querySelectorAll("a[href], form button, summary")].find((part) => wanted && name(part) === wanted);

  const foldsOf = (region) => [...region.querySelectorAll("details")].map((part, n) => [part,
    [part.closest(".row")?.querySelector("a[href]")?.getAttribute("href"), part.id, part.querySelector("form")?.getAttribute("action")].filter(Boolean).join(" ") || n]);

  const swap = (region, fresh) => {
    const focus = region.contains(document.activeElement) ? name(document.activeElement) : "";
    const open = new Map(foldsOf(region).map(([part, key]) => [key, part.open]));
    const anchor = [...region.querySelectorAll("a[href]")].find((part) => part.getBoundingClientRect().top >= 0);
    const top = anchor?.getBoundingClientRect().top;
    region.replaceChildren(...document.importNode(fresh, true).childNodes);
    Object.assign(region.dataset, fresh.dataset);
    for (const [part, key] of foldsOf(region)) part.open = open.get(key) ?? part.open;
    if (focus) named(region, focus)?.focus({ preventScroll: true });
    const moved = anchor && named(region, name(anchor))?.getBoundingClientRect().top;
    if (moved !== undefined && moved !== top && top < innerHeight) scrollBy(0, moved - top);
  };

  const update = (page, isSamePage) => {
    let fresh = 0, changed = false, immediate = false;
    const here = document.querySelector("#sections [aria-current]")?.getAttribute("href");
    for (const link of page.querySelectorAll("#sections a")) {  // the fresh page may be another one, with another current section
      link.removeAttribute("aria-current");
      if (link.getAttribute("href") === here) link.setAttribute("aria-current", "true");
    }
    for (const region of document.querySelectorAll("[data-live]")) {
      const freshRegion = page.getElementById(region.id);
      pending.delete(region.id);
      if (!freshRegion || bare(region, UNIQUE_FIELDS) === bare(freshRegion, UNIQUE_FIELDS)) continue;
      const before = rows(region), after = [...rows(freshRegion)].filter(([href]) => !before.has(href));
      if (region.dataset.live !== "bell") changed ||= bare(region, `${UNIQUE_FIELDS}, [data-due]`) !== bare(freshRegion, `${UNIQUE_FIELDS}, [data-due]`);
      fresh += after.length;
      immediate ||= after.some(([, row]) => row.dataset.urgency === "immediate");
      if (busy(region)) pending.set(region.id, freshRegion);
      else swap(region, freshRegion);
    }
    if (isSamePage) document.title = page.title;
    if (changed) announcement.textContent = fresh === 1 ? words.one : fresh ? count(words.many, fresh) : words.changed;
    if (immediate) beep();
    tick();
  };
  const catchUp = () => {
    for (const [id, freshRegion] of pending) {
      const region = document.getElementById(id);
      if (busy(region)) continue;
      pending.delete(id);
      swap(region, freshRegion);
    }
  };

  // -- asking -------------------------------------------------------------------------------------------------------------------------------
  const renew = async () => {
    behind = false;
    const here = document.querySelector("main [data-live]") && !words.page;
    const etag = here && document.querySelector("[data-etag]")?.dataset.etag;
    const answer = await ask(here ? location.href : words.page || words.inbox, etag ? { "If-None-Match": etag } : {});
    if (ended(answer)) return end();
    if (answer.status === 404 && here && ![...document.querySelectorAll("main [data-live]")].some(busy)) return location.reload();
    if (answer.status >= 500 || answer.status === 429) throw new Error();
    if (answer.ok) update(new DOMParser().parseFromString(await answer.text(), "text/html"), here);
  };
  const poll = async () => {
    if (asking) return;
    asking = true;
    clearTimeout(timer);
    try {
      const isUsed = acted > reported && Date.now() - reported > USED;  // a request with a ticket does not reach the session
      const answer = await ask("/live", ticket && !isUsed ? { "Live-Ticket": ticket } : {});
      if (ended(answer)) return end();
      if (!answer.ok) throw new Error();
      const state = await answer.json();
      ticket = state.ticket || ticket;
      if (state.version !== version || behind || document.querySelector("[data-running]")) await renew();  // running work changes no list, and so no version
      version = state.version;
      lastAnswer = Date.now(); failed = 0;
      if (!over) show("");
    } catch {
      failed += 1;
      if (Date.now() - lastAnswer > SILENCE) show(count(words.away, time()));
    }
    asking = false;
    const pause = Math.min(SLOWEST, (document.hidden ? HIDDEN : EVERY) * 2 ** Math.min(failed, 4));
    if (!over) timer = setTimeout(poll, failed > 2 ? pause : Math.min(pause, HIDDEN) + Math.random() * 300);
  };
  const now = () => { if (!over && !document.hidden) poll(); };
  document.addEventListener("visibilitychange", now);
  window.addEventListener("online", now);
  for (const kind of ["pointerdown", "keydown", "input", "wheel"]) document.addEventListener(kind, () => { acted = Date.now(); }, { passive: true });
  document.addEventListener("pointerdown", () => { pressed = Date.now(); }, { passive: true });

  // -- deadlines: below twelve hours they show minutes -------------------------------------------------------------------------------------------
  const tick = () => {
    for (const clock of document.querySelectorAll("[data-due]")) {
      const left = clock.dataset.due - (Date.now() + ahead) / 1000, minutes = Math.floor(Math.abs(left) / 60), hours = Math.floor(minutes / 60);
      const level = left < 0 ? "late" : left < 4 * 3600 ? "soon" : "calm", text = clock.querySelector("[data-left]");
      if (!clock.classList.contains(level)) {
        clock.classList.remove("late", "soon", "calm");
        clock.classList.add(level);
        behind = true;  // the row may have another place in the list now
      }
      const ring = clock.querySelector("circle + circle"), share = Math.max(0, Math.min(100, Math.round((left / clock.dataset.length) * 100)));
      if (ring) ring.setAttribute("stroke-dasharray", `${left < 0 ? 100 : share} 100`);
      if (hours >= 12 || !text) continue;
      const span = !hours ? `${minutes} min` : minutes % 60 ? `${hours} h ${String(minutes % 60).padStart(2, "0")}` : `${hours} h`;
      const label = left < 0 ? count(words.late, span) : span;
      if (text.textContent !== label) text.textContent = label;
    }
  };
  setInterval(() => { tick(); catchUp(); }, 1000);

  // -- a sound for immediate referrals, if the reader of this browser wants it -----------------------------------------------------------------------
  const wantsSound = () => { try { return localStorage.getItem("sound") === "1"; } catch { return false; } };
  const beep = () => {
    if (!sound || !wantsSound()) return;
    const audio = new AudioContext(), tone = audio.createOscillator(), volume = audio.createGain();
    volume.gain.value = 0.2;
    tone.connect(volume).connect(audio.destination);
    tone.start();
    tone.stop(audio.currentTime + 0.4);
    tone.onended = () => audio.close();
  };
  if (sound && window.AudioContext) {
    const button = sound.querySelector("button");
    button.setAttribute("aria-pressed", String(wantsSound()));
    sound.hidden = false;
    button.addEventListener("click", () => {
      try { localStorage.setItem("sound", wantsSound() ? "0" : "1"); } catch { return; }
      button.setAttribute("aria-pressed", String(wantsSound()));
      beep();
    });
  }
  poll();
})();

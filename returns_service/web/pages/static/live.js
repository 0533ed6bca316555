// Keeps a page true while it is looked at. The stream only says that something changed; the page is then fetched again,
// and its parts marked data-live are exchanged, except those that somebody is busy with. Lists (data-live="rows") only
// offer it: rows don't move under a finger. Without this script, or without a line, a page is as of its time.
"use strict";
(() => {
  const meta = document.querySelector("meta[name=live]"), bar = document.getElementById("live"), show = bar?.querySelector("button");
  if (!meta || !bar || !("EventSource" in window)) return;
  const FIRST_WAIT = 5000, LONGEST_WAIT = 60000, BETWEEN = 3000, SAID_AFTER = 30000;   // milliseconds
  const stream = new URL(meta.content, location.href);
  let source, wait = FIRST_WAIT, retry, due, reading = false, again = false, readAt = 0, cutAt = 0, over = false, newest = null;

  // ---- what a part says: its words and its moments, however long ago those are by now
  function said(part) {
    const copy = part.cloneNode(true);
    for (const time of copy.querySelectorAll("time")) time.textContent = time.dateTime;
    for (const button of copy.querySelectorAll("[data-copy]")) button.remove();
    return copy.textContent.replace(/\s+/g, " ").trim();
  }
  const parts = (page, kind) => [...page.querySelectorAll("[data-live]")].filter((e) => kind === undefined || e.dataset.live === kind);
  const changed = (field) => {
    if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
    if (field.tagName === "SELECT") return field.selectedIndex !== Math.max(0, [...field.options].findIndex((o) => o.defaultSelected));
    return field.type !== "hidden" && field.value !== field.defaultValue;
  };
  const typed = (part) => [...part.querySelectorAll("input, textarea, select")].some(changed);
  const busy = (part) => part.matches(":focus-within") || Boolean(part.querySelector("dialog[open], dialog:target, details.menu[open]")) || typed(part);
  const rowsOf = (part) => new Map([...part.querySelectorAll("tr, li")].map((row) => [row.querySelector("a[href]")?.pathname + (row.querySelector("a[href]")?.search ?? ""), said(row)]));
  function number(mine, theirs) {               // of rows that are new, gone or say something else
    const before = rowsOf(mine), after = rowsOf(theirs);
    return [...new Set([...before.keys(), ...after.keys()])].filter((row) => before.get(row) !== after.get(row)).length;
  }

  // ---- exchanging parts
  function exchange(mine, theirs) {             // what was opened or chosen in it stays so; new ones come on top
    const opened = [...mine.querySelectorAll("details")].reverse().map((e) => e.open), chosen = new Set([...mine.querySelectorAll(":checked")].map((e) => e.name + e.value));
    mine.replaceChildren(...document.importNode(theirs, true).childNodes);
    [...mine.querySelectorAll("details")].reverse().forEach((e, n) => { if (n < opened.length) e.open = opened[n]; });
    for (const box of mine.querySelectorAll("input[type=checkbox]")) box.checked = chosen.has(box.name + box.value) && !box.disabled;
    document.dispatchEvent(new CustomEvent("exchanged", { detail: mine }));
  }
  function exchangeActs(mine, theirs) {         // its dialogs one by one: one that is open, or was typed into, stays
    for (const mineToo of [...mine.children]) if (!mineToo.matches("[open], :target") && !typed(mineToo)) mineToo.remove();
    for (const one of theirs.children) if (!document.getElementById(one.id)) mine.append(document.importNode(one, true));
    document.dispatchEvent(new CustomEvent("exchanged", { detail: mine }));
  }
  function take(page, asked) {                  // asked: somebody pressed the button
    for (const drawing of page.querySelectorAll("symbol")) if (!document.getElementById(drawing.id)) document.querySelector("body > svg").append(document.importNode(drawing, true));
    let waiting = 0, done = 0;
    for (const mine of parts(document)) {
      const theirs = page.getElementById(mine.id), kind = mine.dataset.live;
      if (!theirs || kind === "acts" || said(mine) === said(theirs)) continue;
      if (kind === "rows" && !asked) waiting += Math.max(1, number(mine, theirs));
      else if (kind !== "rows" && !asked && busy(mine)) waiting += 1;
      else exchange(mine, theirs), done += 1;
    }
    if (done) for (const mine of parts(document, "acts")) { const theirs = page.getElementById(mine.id); if (theirs) exchangeActs(mine, theirs); }
    document.title = page.title;
    const names = (of) => parts(of).map((e) => e.id).join();
    newest = page;
    if (names(page) !== names(document)) say("This page changed: show", () => location.reload());
    else if (waiting) say(`${waiting} changed: show`, () => { take(newest, true); document.getElementById("main").focus({ preventScroll: true }); });
    else hush();
  }
  function say(words, work) { if (show.textContent !== words) show.textContent = words; show.onclick = work, show.hidden = false; }
  function hush() { show.hidden = true; }

  // ---- reading the page anew
  function soon() { due ??= setTimeout(read, Math.max(0, readAt + BETWEEN - Date.now()) + 200 + Math.random() * 500); }
  async function read() {
    due = undefined;
    if (over || document.hidden) return;
    if (reading) return void (again = true);
    reading = true;
    try {
      const case_ = document.querySelector("[data-live-case]")?.dataset.liveCase;
      const answer = await fetch(case_ || location.href, { headers: { Accept: "text/html", "X-Live": "1" }, cache: "no-store", signal: AbortSignal.timeout?.(15000) });
      if (answer.redirected) return end("You are signed out: sign in again");
      if (answer.status === 404 || answer.status === 403) return end("This page is gone: look again");
      const page = answer.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
      if (page?.querySelector("meta[name=live]")) take(page, false);       // a hotspot's page also answers 200
    } catch { /* the stream, or the next look, tries again */ } finally {
      reading = false, readAt = Date.now();
      if (again) again = false, soon();
    }
  }
  function end(words) { over = true, source?.close(), clearTimeout(retry), say(words, () => location.reload()); }

  // ---- the stream: only of a page in sight, since a browser holds few connections to one host
  function listen() {
    source?.close(), clearTimeout(retry);
    if (over || document.hidden) return;
    source = new EventSource(stream);
    const heard = (e) => { if (e.lastEventId) stream.searchParams.set("after", e.lastEventId); };
    source.addEventListener("ready", (e) => { heard(e), wait = FIRST_WAIT; if (cutAt) cutAt = 0, hush(), soon(); });
    source.addEventListener("change", (e) => { heard(e), soon(); });
    source.addEventListener("error", () => {
      cutAt ||= Date.now();
      if (Date.now() - cutAt > SAID_AFTER && show.hidden) say("No connection: look again", () => location.reload());
      if (source.readyState !== EventSource.CLOSED) return;                 // the browser tries again by itself
      retry = setTimeout(() => { soon(), listen(); }, wait * (0.5 + Math.random() / 2));
      wait = Math.min(wait * 2, LONGEST_WAIT);
    });
  }
  document.addEventListener("visibilitychange", () => { document.hidden ? source?.close() : (soon(), listen()); });
  addEventListener("pagehide", () => source?.close());
  addEventListener("pageshow", (e) => { if (e.persisted) soon(), listen(); });
  document.addEventListener("close", () => { if (!show.hidden && !over) soon(); }, true);   // a dialog that held a part is shut
  listen();
})();

// The dock's queue. Everything counted is first kept in this browser, then posted, one at a time and in order, and
// forgotten only when the server has answered for that very scan_id. Posting twice is harmless: the server counts an id once.
// One storage key per scan, so two tabs can't overwrite each other; one lock, so only one of them sends. Each scan
// carries the token of the person who made it: a session that ends, or the next person, neither loses nor signs it.
"use strict";
(() => {
  const form = document.getElementById("scan");
  if (!form) return;
  const byId = (id) => document.getElementById(id), meta = (name) => document.querySelector(`meta[name=${name}]`)?.content ?? "";
  const box = form.elements.q, net = byId("net"), last = byId("last"), receipt = byId("receipt"), cond = byId("condition"), undo = byId("undo");
  const page = form.dataset.return ?? "", made = [];   // made: ids of what was kept while this page is open
  const ours = (of) => of === page || Boolean(form.dataset.slip) && of === form.dataset.slip;
  let leads = "", idle, target = page, serial = 0, wait = 500, sending = false, asked = false, timer, flight, sound, now = null;
  const uuid = () => crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
  const stored = (work, otherwise) => { try { return work(); } catch { return otherwise; } };   // no storage, or no room in it
  const kept = (prefix = "scan:") => stored(() => Object.keys(localStorage).filter((k) => k.startsWith(prefix)).sort(), []);
  const read = (key) => stored(() => JSON.parse(localStorage.getItem(key)), null);
  navigator.storage?.persist?.().catch(() => {});

  // ---- the queue
  function keep(what) {                         // null: no room or no storage; the caller lets the form post itself
    const scan = { scan_id: uuid(), return: target, at: new Date().toISOString(), token: meta("scan"), ...what };
    const key = `scan:${Date.now()}:${String(serial++).padStart(6, "0")}:${scan.scan_id}`;
    if (!stored(() => (localStorage.setItem(key, JSON.stringify(scan)), true), false)) return null;
    made.push(scan.scan_id), badge(), send();
    return scan.scan_id;
  }
  const drop = (key) => { stored(() => localStorage.removeItem(key)); badge(); };
  const locked = (work) => navigator.locks ? navigator.locks.request("scans", { ifAvailable: true }, (lock) => lock ? work() : later()) : work();
  async function send() {
    if (sending) return void (asked = true);
    sending = true;
    try {                                       // the lock is given back a while after its last look: what came since is sent too
      do { asked = false; await locked(async () => { while (await one(kept()[0])) wait = 500; }); } while (asked);
    } finally { sending = false; }
  }
  async function one(key) {
    if (!key) return false;
    const scan = read(key);
    if (!scan) return stored(() => localStorage.getItem(key) === null, false);   // sent by another tab
    let reply, said;
    flight = new AbortController();
    const late = setTimeout(() => flight.abort(), 8000);
    try {
      reply = await fetch(form.dataset.queue, { method: "POST", body: JSON.stringify(scan), redirect: "manual", signal: flight.signal,
        headers: { "Content-Type": "application/json", Accept: "application/json", "X-CSRF-Token": meta("csrf") } });
      said = await reply.json().catch(() => ({}));
    } catch { return later(); } finally { clearTimeout(late); }
    const mine = said.scan_id === scan.scan_id;                // a hotspot's log-in page also answers 200
    if (reply.ok && mine) return drop(key), took(scan, said);
    if (reply.type === "opaqueredirect" || reply.status === 401) return badge("danger", "Sign in again: scans are kept"), false;
    if (reply.status === 403 && !mine) return badge("danger", "Open this page again: scans are kept"), false;
    if (mine && [400, 404, 409, 422].includes(reply.status)) { // refused for good: set aside, shown, never dropped
      if (!stored(() => (localStorage.setItem(key.replace("scan:", "refused:"), JSON.stringify({ ...scan, detail: said.detail })), true), false)) return later();
      drop(key);
      tell("danger", scan.done ? "Not done" : "Not taken", said.detail ?? "Scan it again or put the item aside.");
      if (scan.done) receipt?.removeAttribute("data-done");
      if (leads) follow();
      return true;
    }
    return later();
  }
  function took(scan, said) {                   // answered: what the server says is how it is
    if (scan.done) stored(() => localStorage.removeItem(`tally:${scan.return}`));
    const here = ours(scan.return) && made.includes(scan.scan_id), newest = made[made.length - 1] === scan.scan_id;
    if (said.url && here && newest) return location.assign(said.url), false;
    if (here && scan.code && scan.code === target) said.url ? (leads = said.url) : stay(scan, said);   // units came faster
    if (leads) follow();
    if (said.counts && scan.return) {
      stored(() => localStorage.setItem(`tally:${ours(scan.return) ? page : scan.return}`, JSON.stringify({ at: said.at, counts: said.counts, aside: said.aside })));
      const waiting = kept().some((k) => ours(read(k)?.return));
      correct(scan, said);
      if (ours(scan.return) && !waiting) show(said.counts, said.aside);
      if (said.message && here && newest) tell(said.kind, said.message, said.text, [said.icon, said.goes]);
    }
    return true;
  }
  function stay(scan, said) {                   // ten digits that are no slip's: what was scanned since is of this parcel
    target = page;
    for (const key of kept()) { const later = read(key); if (later?.return === scan.code) stored(() => localStorage.setItem(key, JSON.stringify({ ...later, return: page }))); }
    if (receipt && said.line === "") aside(scan, said.kind === "warn" ? "One too many" : "Not on this return");
  }
  function follow() {                           // once nobody scans: keys typed while a page opens would be lost
    clearTimeout(idle);
    idle = setTimeout(() => { if (!kept().length && !box.value) location.assign(leads); }, 1000);
  }
  function later() {
    clearTimeout(timer);
    timer = setTimeout(send, (wait = Math.min(wait * 2, 6000)) * (0.5 + Math.random() / 2));
    return badge(), false;
  }
  function badge(kind, text) {
    const n = kept().length, refused = kept("refused:").length, scans = n === 1 ? "1 scan" : `${n} scans`;
    net.dataset.kind = kind ?? (refused ? "danger" : n ? "warn" : "ok");
    const words = text ?? (n ? (navigator.onLine ? `Sending ${scans}` : `Offline, ${scans} kept`) : refused ? `${refused} not taken: ask an approver` : "All scans sent");
    if (net.lastElementChild.textContent !== words) net.lastElementChild.textContent = words;
    icon(net, n ? (navigator.onLine ? "sync" : "offline") : refused ? "failed" : "check");
  }

  // ---- what the page shows: a first guess at once, the server's answer in the end
  const icon = (e, name) => e.querySelector("use")?.setAttribute("href", `#i-${name}`);
  const ICON = { ok: "refunded", warn: "desk", danger: "stop" }, TONE = { ok: 880, warn: 440, danger: 220 };
  function tell(kind, head, text = "", goes = ["aside", "Put aside"]) {
    if (!last) return;
    last.dataset.kind = kind;
    icon(last.querySelector(".top"), ICON[kind]);
    last.querySelector(".said-now b").textContent = head;
    last.querySelector(".said-now span").textContent = text;
    byId("goes-said").textContent = goes ? `Goes to ${goes[1]}` : "";
    byId("goes").hidden = !goes;
    if (goes) icon(byId("goes"), goes[0]), byId("goes").querySelector("b").textContent = goes[1];
    cond.hidden = !now?.line, undo.hidden = !now;
  }
  function signal(kind) {
    navigator.vibrate?.(kind === "ok" ? 40 : [120, 60, 120]);
    try {
      sound ??= new AudioContext();
      const tone = new OscillatorNode(sound, { frequency: TONE[kind] });
      tone.connect(sound.destination); tone.start(); tone.stop(sound.currentTime + (kind === "ok" ? 0.08 : 0.3));
    } catch { /* a device without sound still shows and shakes */ }
  }
  const lines = receipt ? [...receipt.querySelectorAll("[data-line]")] : [];
  const numbers = (line) => [...line.querySelectorAll("input[type=number]")];
  const total = (line) => numbers(line).reduce((sum, u) => sum + Number(u.dataset.n), 0);
  const nameOf = (line) => line.querySelector("strong").textContent;
  const input = (line, condition) => receipt.elements[`${line.dataset.line}:${condition}`];
  const goesOf = (condition) => { const r = cond.querySelector(`[value=${condition}]`); return [r.dataset.icon, r.dataset.goes]; };
  const labelOf = (condition) => cond.querySelector(`[value=${condition}]`).parentElement.textContent.trim().toLowerCase();
  let asideUnits = Number(byId("aside-n")?.querySelector("span").textContent ?? 0);
  for (const line of lines) for (const u of numbers(line)) u.dataset.n = u.value;
  function draw() {
    for (const line of lines) {
      const n = total(line);
      line.querySelector("[data-n]").textContent = n;
      line.toggleAttribute("data-full", n === Number(line.dataset.open));
      const some = numbers(line).filter((u) => Number(u.dataset.n));
      line.querySelector("summary").textContent = some.map((u) => `${u.dataset.n} ${labelOf(u.name.split(":")[1])}`).join(", ") || "None counted. Count by hand";
    }
    const all = lines.reduce((sum, l) => sum + total(l), 0), open = lines.reduce((sum, l) => sum + Number(l.dataset.open), 0);
    byId("units").textContent = all;
    byId("fill").setAttribute("width", `${open ? Math.min(100, (100 * all) / open) : 0}%`);
    byId("aside-n").hidden = !asideUnits, byId("aside-n").querySelector("span").textContent = asideUnits;
  }
  function put(u, n) {                          // a number that somebody is typing stays theirs until they are done
    const typing = u === document.activeElement && u.value !== u.dataset.n;
    u.dataset.n = n;
    if (!typing) u.value = n;
  }
  function show(counts, aside) {
    for (const line of lines) for (const u of numbers(line)) put(u, counts[u.name] ?? 0);
    asideUnits = aside, draw();
  }
  function add(line, condition, by) {           // false: one too many, or less than none
    const u = input(line, condition);
    if (!u || Number(u.dataset.n) + by < 0 || (by > 0 && total(line) + by > Number(line.dataset.open))) return false;
    return put(u, Number(u.dataset.n) + by), draw(), true;
  }
  // What a scan means, as the server reads it: an SKU as it is, then any name of a line, as it is, without case, as a GTIN.
  const clean = (code) => code.normalize("NFKC").replace(/[\p{Cc}\p{Cf}\p{Z}]/gu, "");
  const READINGS = [(code) => code, (code) => code.toLowerCase(), (code) => /^(\d{8}|\d{12,14})$/.test(code) && code.padStart(14, "0")];
  const names = new Map(lines.map((l) => [l, JSON.parse(l.dataset.names).map(clean)]));
  function lineOf(code) {
    const open = (all) => all.find((l) => total(l) < Number(l.dataset.open)) ?? all[0];
    const exact = lines.filter((l) => l.dataset.sku === code);
    if (exact.length) return open(exact);
    for (const reading of READINGS) {
      const wanted = reading(clean(code)), all = wanted ? lines.filter((l) => names.get(l).some((name) => reading(name) === wanted)) : [];
      if (all.length) return new Set(all.map((l) => l.dataset.sku)).size === 1 ? open(all) : null;
    }
    return null;
  }
  const known = new Map();                      // scan_id -> what it counted, as far as this page knows
  function guess(scan) {                        // show at once what the server is going to say
    if (scan.code) {
      const line = lineOf(scan.code), counted = line && add(line, "new", 1);
      now = { id: scan.scan_id, line: counted ? line : null, condition: "new" }, known.set(scan.scan_id, now);
      if (!counted) asideUnits++, aside(scan, line ? "One too many" : "Not on this return"), draw();
      if (counted) cond.elements.condition.value = "new", tell("ok", `Counted: ${total(line)} of ${line.dataset.open}`, nameOf(line), goesOf("new"));
      else if (line) tell("warn", `One too many: ${line.dataset.open} expected`, nameOf(line));
      else tell("danger", "Not on this return", scan.code);
      undo.elements.scan_id.value = cond.elements.scan_id.value = scan.scan_id;
      return counted ? "ok" : line ? "warn" : "danger";
    }
    const was = known.get(scan.undo ?? scan.of);
    if (scan.step) {
      const line = lines.find((l) => l.dataset.line === scan.line);
      now = null;
      if (line && add(line, scan.condition, scan.step)) tell("ok", `Counted: ${total(line)} of ${line.dataset.open}`, nameOf(line), goesOf(scan.condition));
      else if (line) return tell("warn", scan.step > 0 ? `One too many: ${line.dataset.open} expected` : "None left to take away", nameOf(line)), "warn";
    } else if (scan.undo) {
      if (was?.line) add(was.line, was.condition, -1);
      else if (was) asideUnits = Math.max(0, asideUnits - 1), draw();
      byId("aside").querySelector(`[data-scan="${CSS.escape(scan.undo)}"]`)?.remove();
      known.delete(scan.undo), now = null, tell("ok", "Taken back", "", ["aside", "Back in the parcel"]);
    } else if (scan.of && was?.line) {
      add(was.line, was.condition, -1), add(was.line, scan.condition, 1), was.condition = scan.condition;
      tell("ok", `Counted: ${total(was.line)} of ${was.line.dataset.open}`, nameOf(was.line), goesOf(scan.condition));
    }
    return "ok";
  }
  function correct(scan, said) {                // where the guess was another than what the server did
    const was = known.get(scan.scan_id), line = lines.find((l) => l.dataset.line === said.line) ?? null;
    if (!receipt || !scan.code || !was || !("line" in said) || was.line === line) return;
    if (line) byId("aside").querySelector(`[data-scan="${CSS.escape(scan.scan_id)}"]`)?.remove();
    else aside(scan, said.kind === "warn" ? "One too many" : "Not on this return");
    was.line = line;
  }
  function aside(scan, why) {
    const row = byId("aside-row").content.cloneNode(true), item = row.firstElementChild;
    item.dataset.scan = scan.scan_id;
    item.querySelector("strong").textContent = scan.code, item.querySelector("[data-why]").textContent = why;
    item.querySelector("button").value = scan.scan_id, item.querySelector(".sr").textContent = ` ${scan.code}`;
    item.querySelector("[data-photo]").href = `/receive/${page}?last=${scan.scan_id}#aside`;   // there is its form, once it is sent
    const note = item.querySelector("input"), label = item.querySelector("label");
    note.name = `note:${scan.scan_id}`, note.id = label.htmlFor = `n-${scan.scan_id}`, label.textContent = `Note about ${scan.code}`;
    byId("aside").append(row);
  }

  // ---- what people do
  const opens = (code) => /^(ret_\w{26}$|https?:|[0-9]{10}$)/i.test(code) && !lineOf(code);
  form.addEventListener("submit", (e) => {
    const code = box.value.trim();
    if (!code) return receipt && e.preventDefault();
    if (receipt && ours(code)) return e.preventDefault(), box.value = leads = "", target = page, tell("ok", "This return is open", code, null);
    const slip = opens(code), before = target;
    if (slip) target = page;                    // it is looked up by itself; what comes after it is its
    const id = keep({ code });
    if (!id) return void (target = before);
    e.preventDefault(), box.value = "";
    if (slip) target = code, now = null;
    if (!receipt) return;
    if (slip) return tell("ok", "Slip read", "Scans count for it from now on.", ["sync", "the next parcel"]);
    if (target !== page) return tell("ok", "Kept for the next return", code, ["sync", "the next parcel"]);
    signal(guess({ scan_id: id, code }));
  });
  const press = (what, event) => {              // keep it, show it; without storage the form posts itself
    const id = keep({ return: page, ...what });
    if (!id) return;
    event.preventDefault(), guess({ scan_id: id, ...what }), box.focus({ preventScroll: true });
  };
  cond?.addEventListener("change", (e) => {
    const id = keep({ return: page, of: cond.elements.scan_id.value, condition: e.target.value });
    if (!id) return cond.submit();
    if (!known.has(cond.elements.scan_id.value)) {     // counted before this page was opened
      const line = lines.find((l) => l.dataset.line === cond.elements.scan_id.dataset.line), before = cond.dataset.was;
      known.set(cond.elements.scan_id.value, now = { id: cond.elements.scan_id.value, line, condition: before });
    }
    now = known.get(cond.elements.scan_id.value);
    guess({ scan_id: id, of: now.id, condition: e.target.value });
    box.focus({ preventScroll: true });
  });
  if (cond) {
    cond.dataset.was = cond.elements.condition.value;
    const line = lines.find((l) => l.dataset.line === cond.elements.scan_id.dataset.line);
    if (undo.elements.scan_id.value) now = { id: undo.elements.scan_id.value, line: line ?? null, condition: cond.dataset.was }, known.set(now.id, now);
  }
  undo?.addEventListener("submit", (e) => press({ undo: undo.elements.scan_id.value }, e));
  receipt?.addEventListener("submit", (e) => {
    const { name, value } = e.submitter ?? {};
    if (name === "step") {
      const [at, by] = value.split(" "), [line, condition] = at.split(":");
      return press({ line, condition, step: Number(by) }, e);
    }
    if (name === "remove") return press({ undo: value }, e);
    if (name !== "done") return e.preventDefault();
    if (!lines.reduce((sum, l) => sum + total(l), 0) && !asideUnits) return e.preventDefault(), tell("warn", "Nothing is counted yet", "Scan what is in the parcel.", null);
    if (receipt.hasAttribute("data-done")) return e.preventDefault();
    const notes = Object.fromEntries([...receipt.querySelectorAll('input[name^="note:"]')].filter((n) => n.value.trim()).map((n) => [n.name, n.value.trim()]));
    if (!keep({ return: page, done: 1, ...notes })) return;
    e.preventDefault(), receipt.setAttribute("data-done", ""), now = null;
    tell("ok", "Done", navigator.onLine ? "Writing the receipt." : "It is kept here, and sent by itself once the line is back.", ["sync", "the next parcel"]);
  });
  receipt?.addEventListener("change", (e) => {  // a number typed by hand
    if (e.target.type !== "number") return;
    const u = e.target, by = Math.trunc(Number(u.value)) - Number(u.dataset.n), [line, condition] = u.name.split(":");
    const of = u.closest("[data-line]");
    u.value = u.dataset.n;
    if (!by || !Number.isFinite(by)) return;
    if (by > 0 && total(of) + by > Number(of.dataset.open)) return tell("warn", `${of.dataset.open} expected`, `${nameOf(of)}: put the others aside.`);
    press({ line, condition, step: by }, e);
  });

  // ---- begin: counts as they were last heard of, then what still waits
  if (receipt) {
    const heard = read(`tally:${page}`);
    if (heard && heard.at > form.dataset.at) show(heard.counts, heard.aside);
    const waiting = kept().map(read).filter((s) => ours(s?.return)), before = now;
    for (const scan of waiting) guess(scan);
    if (waiting.some((s) => s.done)) receipt.setAttribute("data-done", "");
    if (!waiting.length) now = before;
  }
  const go = () => { wait = 500, clearTimeout(timer); if (kept().length) send(); };
  for (const name of ["online", "pageshow"]) addEventListener(name, () => { if (name === "online") flight?.abort(); badge(), go(); });
  addEventListener("offline", () => badge());
  addEventListener("storage", (e) => {          // another tab kept, sent or heard something
    const heard = e.key === `tally:${page}` && receipt && read(e.key);
    if (heard && !kept().some((k) => ours(read(k)?.return))) show(heard.counts, heard.aside);
    badge();
  });
  addEventListener("visibilitychange", () => document.visibilityState === "visible" && go());
  if (form.dataset.at || form.dataset.queue) navigator.serviceWorker?.ready.then((r) => r.active?.postMessage({ keep: location.pathname })).catch(() => {});

  // ---- hand scanners
  // A hand scanner types anywhere, and ends with Enter: bring it to the box, so that Enter can't press what has the focus.
  // Some firmware holds Alt down, and an input-method scanner (Zebra DataWedge) only reaches the field that has the focus:
  // so a tap gives it back, and the on-screen keyboard stays shut by inputmode, never by readonly or hidden.
  document.addEventListener("keydown", (e) => {
    if (/^[^ ]$/.test(e.key) && !e.ctrlKey && !e.metaKey && !document.querySelector("dialog[open], dialog:target")
      && !e.target.matches("textarea, select, input:not([type=radio], [type=checkbox])")) box.focus();
  });
  const wedge = byId("wedge"), typed = "textarea, select, summary, label, input:not([type=radio], [type=checkbox])";
  const shut = () => stored(() => localStorage.getItem("wedge") === "1", false);
  document.addEventListener("pointerup", (e) => {
    if (shut() && e.pointerType === "touch" && !e.target.closest(`dialog, ${typed}`)) setTimeout(() => box.focus({ preventScroll: true }));
  });
  if (wedge) {
    wedge.hidden = false;
    wedge.firstElementChild.checked = shut();
    wedge.addEventListener("change", (e) => { stored(() => localStorage.setItem("wedge", e.target.checked ? "1" : "0")); box.inputMode = e.target.checked ? "none" : "text"; });
  }
  if (shut()) box.inputMode = "none";
  const camera = byId("camera");
  if (camera && "BarcodeDetector" in window && "HTMLDialogElement" in window && navigator.mediaDevices) {
    camera.hidden = false;
    camera.addEventListener("click", async () => {
      const video = Object.assign(document.createElement("video"), { muted: true, playsInline: true }), shown = document.createElement("dialog");
      shown.append(video), document.body.append(shown), shown.showModal();
      const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } }).catch(() => null);
      const end = () => { stream?.getTracks().forEach((t) => t.stop()); shown.remove(); box.focus(); };
      shown.addEventListener("close", end);
      if (!stream) return shown.close();
      video.srcObject = stream, await video.play();
      const eye = new BarcodeDetector();
      while (shown.open) {
        const [found] = await eye.detect(video).catch(() => []);
        if (found) { box.value = found.rawValue, form.requestSubmit(), shown.close(); }
        await new Promise((r) => setTimeout(r, 120));
      }
    });
  }
})();

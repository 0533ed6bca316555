// What every page gains from JavaScript. Nothing here is needed: each action is a link or a form without it.
"use strict";
(() => {
  const off = () => { try { return localStorage.getItem("keys") === "off"; } catch { return false; } };
  const wake = (part) => { for (const e of part.querySelectorAll(`${navigator.clipboard ? "[data-copy], " : ""}[data-print], [data-all], [data-pin], [data-fill]${"HTMLDialogElement" in window ? ", button[data-dialog]" : ""}`)) e.hidden = false; };
  wake(document);
  const view = document.querySelector(".views [aria-current]"), strip = view?.closest(".views");  // the chosen view in sight
  if (strip) strip.scrollLeft += Math.max(0, view.getBoundingClientRect().right - strip.getBoundingClientRect().right + 16);
  document.addEventListener("exchanged", (e) => { wake(e.detail), nameAll(), tell(); });
  document.addEventListener("click", (e) => {
    const a = e.target.closest("[data-dialog], [data-close], [data-copy], [data-print], [data-pin] button, [data-fill] button");
    for (const menu of document.querySelectorAll("details.menu[open], details.places[open]")) if (!menu.contains(e.target)) menu.open = false;
    if (!a) return;
    const { dialog, copy } = a.dataset;
    if (dialog && document.getElementById(dialog)?.showModal) e.preventDefault(), document.getElementById(dialog).showModal();
    else if ("close" in a.dataset && a.closest("dialog[open]")) e.preventDefault(), a.closest("dialog").close();
    else if ("print" in a.dataset) print();
    else if (copy) navigator.clipboard.writeText(document.getElementById(copy).textContent.trim()).then(() => (a.lastChild.textContent = "Copied"));
    else if (a.closest("[data-pin]")) {
      const box = document.getElementById(a.closest("[data-pin]").dataset.pin);
      box.value = a.value === "clear" ? "" : a.value === "back" ? box.value.slice(0, -1) : box.value + a.value;
    } else if (a.closest("[data-fill]")) {
      const box = document.getElementById(a.closest("[data-fill]").dataset.fill);
      box.value = a.value, box.focus();
    }
  });
  // A question and a button name the amount that is typed, and the form says which they named: the server does no other.
  const nameAmount = (form) => {
    const { amount, currency, said } = form.elements, typed = amount.value.trim(), [units, part] = typed.split(".");
    const named = `${units.replace(/\B(?=(\d{3})+$)/g, ",")}${part === undefined ? "" : `.${part}`} ${currency.value.toUpperCase()}`;
    for (const says of form.querySelectorAll("[data-says]")) {
      says.dataset.plain ??= says.textContent;
      says.textContent = typed ? says.dataset.says.replace("{}", () => named) : says.dataset.plain;
    }
    said.value = typed;
  };
  const nameAll = () => { for (const said of document.querySelectorAll("input[name=said]")) nameAmount(said.form); };
  nameAll();
  document.addEventListener("input", (e) => { if (e.target.name === "amount" && e.target.form?.elements.said) nameAmount(e.target.form); });
  addEventListener("pageshow", nameAll);     // a browser may fill fields in again by itself
  // A form whose button moves money is sent once; the server's idempotency is what makes it safe, this only shows it.
  document.addEventListener("submit", (e) => {
    const once = e.submitter?.closest("[data-once]");
    if (once && !e.defaultPrevented) setTimeout(() => { once.disabled = true; once.textContent = "Sending…"; });
  });
  addEventListener("pageshow", (e) => { if (e.persisted && document.querySelector("[data-once]:disabled")) location.reload(); });
  // The sums of amounts as the page writes them, by currency: `1,234.50 EUR`. In whole units, so that no cent is rounded.
  const sumsOf = (amounts) => {
    const sums = new Map();
    for (const [number, currency] of amounts.map((text) => text.trim().split(/\s+/))) {
      const [units, places] = sums.get(currency) ?? [0, (number.split(".")[1] ?? "").length];
      sums.set(currency, [units + Number(number.replace(/[,.]/g, "")), places]);
    }
    return [...sums].map(([currency, [units, places]]) => `${(units / 10 ** places).toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places })} ${currency}`);
  };
  const picked = () => [...document.querySelectorAll("tbody .pick input:not(:disabled)")], all = document.querySelector("[data-all] input");
  const tell = () => {
    const picks = picked(), chosen = picks.filter((p) => p.checked), sums = document.querySelector("[data-sums]");
    if (all) all.checked = chosen.length === picks.length, all.indeterminate = chosen.length > 0 && !all.checked;
    const count = document.querySelector("[data-count]");
    if (count) count.textContent = `${chosen.length} chosen`;
    if (sums) sums.textContent = sumsOf(chosen.map((p) => p.closest("tr").querySelector(".money").textContent)).join(" and ");
  };
  document.addEventListener("change", (e) => {
    if (e.target === all) for (const p of picked()) p.checked = all.checked;
    if (e.target.matches("[data-keys-off]")) try { localStorage.setItem("keys", e.target.checked ? "off" : "on"); } catch { /* this tab only */ }
    if (all) tell();
  });
  // Single keys: only with the focus outside a field, and a person can turn them off (WCAG 2.1.4).
  document.addEventListener("keydown", (e) => {
    const typing = e.target.matches("input:not([type=checkbox], [type=radio]), textarea, select"), find = document.getElementById("find");
    if ((e.ctrlKey || e.metaKey) && e.key.toLowerCase() === "k" && find) return e.preventDefault(), find.focus(), find.select();
    if (typing || e.ctrlKey || e.metaKey || e.altKey || off() || document.querySelector("dialog[open], dialog:target") || document.body.classList.contains("dock")) return;
    const rows = [...document.querySelectorAll(".inbox a, .list .go, .list th[scope=row] > a")].filter((a) => a.offsetParent);
    const at = rows.findIndex((a) => (a.closest("tr") ?? a).contains(document.activeElement));
    if (e.key === "/" && find) e.preventDefault(), find.focus();
    else if (e.key === "?") document.getElementById("keys")?.showModal?.();
    else if (e.key === "j" || e.key === "k") rows[Math.max(0, Math.min(rows.length - 1, at < 0 ? 0 : at + (e.key === "j" ? 1 : -1)))]?.focus();
    else if (e.key === "x") (document.activeElement.closest("tr")?.querySelector(".pick input"))?.click();
  });
  if ("serviceWorker" in navigator && document.body.classList.contains("dock")) navigator.serviceWorker.register("/sw.js").catch(() => {});
  // The server writes every time in the reader's zone, once it knows it.
  try {
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (zone && !document.cookie.includes(`returns_zone=${zone}`)) document.cookie = `returns_zone=${zone}; path=/; max-age=31536000; samesite=lax`;
  } catch { /* then it says UTC */ }
  // Nobody is signed in: the dock's pages that this browser kept for want of a network are nobody's now. Scans stay.
  if ("caches" in window && location.pathname.startsWith("/sign-in")) caches.keys().then((names) => names.forEach(async (name) => {
    const cache = await caches.open(name);
    for (const kept of await cache.keys()) if (new URL(kept.url).pathname.startsWith("/receive")) cache.delete(kept);
  })).catch(() => {});
  const waiting = document.getElementById("waiting");
  if (waiting) try {
    const n = Object.keys(localStorage).filter((k) => k.startsWith("scan:")).length;
    waiting.hidden = !n, waiting.textContent = `${n === 1 ? "1 scan waits" : `${n} scans wait`} on this device. They are sent under the name of whoever made them.`;
  } catch { /* without storage nothing waits */ }
})();

// What the customer's pages gain from JavaScript: the amount at once, a state that stays fresh. All of it works without.
"use strict";
(() => {
  const AGAIN_MS = 15000;
  for (const e of document.querySelectorAll("[data-print]")) e.hidden = false;
  document.addEventListener("click", (e) => {
    const a = e.target.closest("[data-dialog], [data-close], [data-print]");
    for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(e.target)) menu.open = false;
    if (!a) return;
    const dialog = document.getElementById(a.dataset.dialog ?? "");
    if (dialog?.showModal) e.preventDefault(), dialog.showModal();
    else if ("close" in a.dataset && a.closest("dialog[open]")) e.preventDefault(), a.closest("dialog").close();
    else if ("print" in a.dataset) print();
  });
  // The server takes a return once, however often it is sent; a button that waits only shows it.
  document.addEventListener("submit", (e) => {
    if (e.submitter?.matches("[data-once]")) setTimeout(() => { for (const b of e.target.querySelectorAll("[data-once]")) b.disabled = true; });
  });
  addEventListener("pageshow", (e) => { if (e.persisted) location.reload(); });
  const takeFresh = (page) => {
    for (const here of document.querySelectorAll("[data-fresh]")) {
      const there = page.getElementById(here.id);
      if (there) here.replaceWith(document.adoptNode(there));
    }
  };
  const parse = (text) => new DOMParser().parseFromString(text, "text/html");
  // Each tick goes to the server, which alone knows the amount; the newest answer wins.
  const form = document.getElementById("ask");
  let newest = 0;
  form?.addEventListener("change", async () => {
    const mine = ++newest, body = new FormData(form);
    body.set("do", "update");
    try {
      const answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "text/html" } });
      const page = parse(await answer.text());
      if (mine !== newest || !page.getElementById("tally")) return;
      takeFresh(page);
      const tally = document.getElementById("tally"), heard = document.getElementById("heard");
      const amount = (tally.querySelector("[data-once]") ?? tally.querySelector(".muted")).textContent.trim();
      if (heard.textContent !== amount) heard.textContent = amount;        // read aloud; what is exchanged itself is not
      for (const file of form.querySelectorAll("input[type=file]")) if (file.value) file.value = "";
    } catch { /* without a network the button still sends the form, and says so */ }
  });
  // How far the return is: looked at while the page is seen.
  if (document.getElementById("state")) setInterval(async () => {
    if (document.hidden || document.querySelector("dialog[open], dialog:target")) return;
    try {
      const answer = await fetch(location.pathname + location.search, { headers: { Accept: "text/html" } });
      const page = answer.ok ? parse(await answer.text()) : null, there = page?.getElementById("state");
      const here = document.getElementById("state");
      if (page && (!there || there.dataset.version !== here.dataset.version)) location.reload();
    } catch { /* looked at again in a while */ }
  }, AGAIN_MS);
  try {
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (zone && !document.cookie.includes(`returns_zone=${zone}`)) document.cookie = `returns_zone=${zone}; path=/; max-age=31536000; samesite=lax`;
  } catch { /* then it says UTC */ }
})();

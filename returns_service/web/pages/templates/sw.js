// Keeps the dock usable when the network is gone: its pages and files from the cache, an honest page for all else.
// It never answers a POST and never caches an answer to one: what was counted lives in the page's own queue.
"use strict";
const CACHE = "dock-{{ static('') }}";
const FILES = ["{{ static('style.css') }}", "{{ static('app.js') }}", "{{ static('dock.js') }}", "{{ static('icon.svg') }}", "/offline"];
self.addEventListener("install", (e) => e.waitUntil(caches.open(CACHE).then((c) => c.addAll(FILES)).then(() => self.skipWaiting())));
self.addEventListener("activate", (e) => e.waitUntil(caches.keys().then((all) => Promise.all(all.filter((k) => k !== CACHE).map((k) => caches.delete(k)))).then(() => self.clients.claim())));
// A page of the dock asks to be kept, so that it opens again where there is no network.
self.addEventListener("message", (e) => {
  const path = e.data?.keep;
  if (!/^\/receive(\/[^/]*)?$/.test(path)) return;
  e.waitUntil(fetch(path, { headers: { Accept: "text/html" } }).then((answer) => answer.ok && !answer.redirected && caches.open(CACHE).then((c) => c.put(path, answer))).catch(() => {}));
});
self.addEventListener("fetch", (e) => {
  const url = new URL(e.request.url), page = e.request.mode === "navigate";
  if (e.request.method !== "GET" || url.origin !== location.origin) return;
  const dock = /^\/receive(\/[^/]*)?$/.test(url.pathname), file = url.pathname.startsWith("/static/");
  if (!page && !file) return;
  e.respondWith(fetch(e.request).then((answer) => {
    if (answer.ok && !answer.redirected && (file || dock)) { const copy = answer.clone(); e.waitUntil(caches.open(CACHE).then((c) => c.put(e.request, copy))); }
    return answer;
  }).catch(async () => (await caches.match(e.request, { ignoreSearch: dock })) ?? (page ? caches.match("/offline") : Response.error())));
});

// Brings the page up to date in place: what the reader opened stays open, and nothing scrolls.
"use strict";

const EVERY = 10_000; // ms
let shown = new Date();

async function refresh() {
  if (document.hidden || String(getSelection())) return;
  try {
    const answer = await fetch("/", { cache: "no-cache" });
    if (!answer.ok) throw new Error(String(answer.status));
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const before = new Map();
    for (const fold of document.querySelectorAll("details[data-key]")) {
      before.set(fold.dataset.key, fold.open);
    }
    for (const fold of fresh.querySelectorAll("details[data-key]")) {
      fold.open = before.get(fold.dataset.key) ?? fold.open;
    }
    document.getElementById("page").replaceWith(fresh.getElementById("page"));
    document.title = fresh.title;
    delete document.body.dataset.stale;
    shown = new Date();
  } catch {
    // Old health must not look like present health.
    document.body.dataset.stale = shown.toISOString().slice(0, 19).replace("T", " ") + " UTC";
  }
}

setInterval(refresh, EVERY);
document.addEventListener("visibilitychange", refresh);

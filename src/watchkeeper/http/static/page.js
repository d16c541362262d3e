// Keeps a page up to date in place: what the reader opened stays open, what has the focus keeps it.
"use strict";

document.documentElement.classList.add("js");

const EVERY = 10_000; // ms between two looks
const SPREAD = 2_000; // ms by which they differ, so that many viewers do not ask at once
let shown = new Date();

function reading() {
  return document.hidden || String(getSelection()) !== "";
}

function refresh() {
  if (!reading() && document.getElementById("live")) htmx.trigger("#live", "refresh");
}

function stale(is) {
  // Old health must not look like present health.
  const told = document.getElementById("stale");
  if (is) {
    const at = shown.toISOString().slice(0, 19).replace("T", " ");
    told.textContent = `This page has lost its connection; what it shows is from ${at} UTC.`;
  }
  told.hidden = !is;
}

function again() {
  setTimeout(() => { refresh(); again(); }, EVERY + Math.random() * SPREAD);
}

document.addEventListener("htmx:after:request", (event) => {
  const status = event.detail?.ctx?.response?.status;
  if (status && status < 500) { shown = new Date(); stale(false); } else if (status) stale(true);
});
document.addEventListener("htmx:error", () => stale(true));
document.addEventListener("visibilitychange", refresh);
if (document.getElementById("live")) again();

// Keeps a page up to date in place: what the reader opened stays open, what has the focus keeps it.
// The house says what changed (server-sent events); where it cannot, the page looks now and then.
"use strict";

document.documentElement.classList.add("js");

const ASKING = 10_000; // ms between two looks while nobody tells us what changed
const HEARING = 15_000; // ms between two looks while somebody does: only times and charts went on
const APART = 5_000; // ms between two looks at the least, however much changes
const SPREAD = 2_000; // ms by which viewers differ, so that they do not all ask at once
const AGAIN = 30_000; // ms until a refused stream is asked for once more

let shown = new Date(); // when what is shown was true
let looked = performance.now();
let due = 0; // timer of the next look
let dueAt = Infinity;
let stream = null;

const live = () => document.getElementById("live");
const hearing = () => stream !== null && stream.readyState === EventSource.OPEN;

function reading() {
  return document.hidden || String(getSelection()) !== "";
}

function look() {
  looked = performance.now();
  dueAt = Infinity;
  if (!reading() && live()) htmx.trigger("#live", "refresh");
  next(hearing() ? HEARING : ASKING);
}

// Looks again `wait` after the last look, unless it is about to anyway.
function next(wait) {
  const at = Math.max(looked + wait, performance.now()) + Math.random() * SPREAD;
  if (at >= dueAt) return;
  clearTimeout(due);
  dueAt = at;
  due = setTimeout(look, at - performance.now());
}

// Whether what changed shows on this page: `*` hears everything, `decisions` those, else an entity.
function concerns(told) {
  const hears = live()?.dataset.hears;
  if (!hears) return false;
  if (hears === "*") return told.decisions > 0 || told.entities.length > 0;
  return hears === "decisions" ? told.decisions > 0 : told.entities.includes(hears);
}

function listen() {
  if (stream || !live()?.dataset.hears || !window.EventSource) return;
  stream = new EventSource("/api/v1/events?brief=yes");
  stream.addEventListener("tick", (event) => { if (concerns(JSON.parse(event.data))) next(APART); });
  stream.addEventListener("reset", () => next(APART));
  stream.addEventListener("open", () => { document.documentElement.dataset.live = "yes"; });
  stream.addEventListener("error", () => {
    delete document.documentElement.dataset.live;
    next(ASKING);
    if (stream?.readyState === EventSource.CLOSED) { hush(); setTimeout(listen, AGAIN); }
  });
}

function hush() {
  stream?.close();
  stream = null;
  delete document.documentElement.dataset.live;
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

document.addEventListener("htmx:after:request", (event) => {
  const status = event.detail?.ctx?.response?.status;
  if (status && status < 500) { shown = new Date(); stale(false); } else if (status) stale(true);
});
document.addEventListener("htmx:error", () => stale(true));
document.addEventListener("visibilitychange", () => {
  // A browser opens few streams to one server: those that are looked at have them.
  if (document.hidden) hush(); else { listen(); look(); }
});
addEventListener("pagehide", hush);
addEventListener("pageshow", () => { if (live()) listen(); });
if (live()) next(ASKING);

// Draws what the page says in numbers: `data-chart` of a figure, again whenever it changes.
"use strict";

(() => {
  const drawn = new WeakMap(); // figure -> {said, plot}
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const faded = (hex, share) => hex + Math.round(share * 255).toString(16).padStart(2, "0");

  function short(value) {
    if (value == null) return "–";
    const size = Math.abs(value);
    if (size >= 10_000) {
      const power = Math.min(Math.floor(Math.log10(size) / 3), 6);
      return `${+(value / 1000 ** power).toPrecision(4)} ${" kMGTPE"[power]}`;
    }
    return size && size < 1e-3 ? value.toExponential(2) : String(+value.toPrecision(4));
  }

  const clock = (seconds, end = 16) => new Date(seconds * 1e3).toISOString().slice(11, end);
  const ticks = (splits) => splits.map((at) => clock(at, splits.every((one) => one % 60 === 0) ? 16 : 19));

  function axes() {
    const text = { stroke: colour("--soft"), font: "12px system-ui, sans-serif", grid: { stroke: colour("--faint"), width: 1 }, ticks: { show: false } };
    return [
      { ...text, space: 70, size: 26, values: (_, splits) => ticks(splits) },
      { ...text, size: 58, space: 28, values: (_, splits) => splits.map((v) => (v == null ? "" : short(v))) },
    ];
  }

  function frame(width, height, series, more) {
    return {
      width, height, series, axes: axes(), tzDate: (ts) => uPlot.tzDate(new Date(ts * 1e3), "UTC"),
      cursor: { points: { size: 6 }, drag: { x: true, y: false } }, padding: [8, 32, 0, 0], ...more,
    };
  }

  const time = { label: "UTC", value: (_, v) => (v == null ? "" : new Date(v * 1e3).toISOString().slice(5, 19).replace("T", " ")) };

  // Health is a line; each layer above it, up to 100, is what one signal took.
  function stack(said, width) {
    const layers = said.layers;
    const edges = [said.health.map((h) => (h == null ? null : 100))];
    for (const layer of layers) {
      const above = edges[edges.length - 1];
      edges.push(above.map((v, i) => (v == null ? null : Math.max(v - layer.lost[i], said.health[i]))));
    }
    const tint = (i) => colour(`--s${Math.min(i, 4) + 2}`);
    const of = layers.map((layer, i) => ({
      label: layer.name, stroke: "transparent", width: 0, points: { show: false }, fill: () => faded(tint(i), 0.55),
      value: (_, __, ___, at) => (at == null || layer.lost[at] == null ? "–" : `−${short(layer.lost[at])}`),
    }));
    const series = [
      time,
      { label: "all", stroke: "transparent", width: 0, points: { show: false }, class: "vh" },
      ...of.map(({ fill, ...one }) => one),
      { label: "health", stroke: colour("--line"), width: 2, points: { show: said.t.length < 30, size: 5 }, value: (_, v) => short(v) },
    ];
    const bands = layers.map((_, i) => ({ series: [i + 1, i + 2], fill: faded(tint(i), 0.55) }));
    const options = frame(width, 240, series, {
      bands, scales: { x: { time: true, range: (_, a, b) => [Math.min(a, said.from), b] }, y: { range: [0, 103] } },
      hooks: { draw: [(u) => marks(u, said.marks || [])] },
      legend: { live: true, markers: { width: 0, fill: (u, i) => (i === series.length - 1 ? colour("--line") : i > 1 ? tint(i - 2) : "transparent") } },
    });
    return [options, [said.t, ...edges, said.health]];
  }

  function signal(said, width, unit, from, to) {
    const odd = said.value.map((v, i) => (said.odd[i] ? v : null));
    const [lower, upper] = [said.lower, said.upper];
    const line = colour("--line");
    const quiet = { points: { show: false }, width: 0, stroke: "transparent" };
    const value = (_, v) => (v == null ? "–" : `${short(v)}${unit ? ` ${unit}` : ""}`);
    const series = [
      time,
      { ...quiet, label: "up to", value },
      { ...quiet, label: "from", value },
      { label: "expected", stroke: faded(line, 0.7), width: 1, dash: [4, 4], points: { show: false }, value },
      { label: "value", stroke: line, width: 1.75, points: { show: said.t.length < 30, size: 4, fill: line }, value },
      { label: "anomaly", stroke: colour("--fail"), width: 0, paths: () => null, points: { show: true, size: 7, fill: colour("--fail"), width: 0 }, value },
    ];
    const all = [...said.value, ...said.expected].filter((v) => v != null);
    const [low, high] = [Math.min(...all), Math.max(...all)];
    const room = Math.max(high - low, 1e-9 * Math.max(Math.abs(low), Math.abs(high)));
    const inside = (v) => v != null && v >= low - 2 * room && v <= high + 2 * room;
    const edges = [...lower, ...upper].filter(inside);
    const [floor, roof] = [Math.min(low, ...edges), Math.max(high, ...edges)];
    const margin = (roof - floor) * 0.08 || Math.abs(roof) * 0.1 || 1;
    const cut = (column, absent) => column.map((v, i) => (lower[i] == null && upper[i] == null ? null : v == null ? absent : v));
    const options = frame(width, 150, series, {
      bands: [{ series: [1, 2], fill: faded(line, 0.16) }],
      scales: { x: { time: true, range: [from, Math.max(to, from + 60)] }, y: { range: [floor - margin, roof + margin] } },
      legend: { show: false }, hooks: { setCursor: [(u) => under(u, said, unit)] },
    });
    return [options, [said.t, cut(upper, roof + margin), cut(lower, floor - margin), said.expected, said.value, odd]];
  }

  // Says in the caption what was under the cursor; what is now, when there is none.
  function under(u, said, unit) {
    const told = u.root.closest("figure").querySelector(".under");
    const at = u.cursor.idx;
    if (at == null || u.cursor.left < 0) { told.textContent = ""; return; }
    const [low, high] = [said.lower[at], said.upper[at]];
    const normal = low != null || high != null ? `, normal ${low != null ? short(low) : "any"} to ${high != null ? short(high) : "any"}` : "";
    told.textContent = `${clock(said.t[at])}: ${short(said.value[at])}${unit ? ` ${unit}` : ""}${normal}`;
  }

  function marks(u, list) {
    const { ctx, bbox } = u;
    ctx.save();
    for (const mark of list) {
      const x = Math.round(u.valToPos(mark.t, "x", true));
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.strokeStyle = ctx.fillStyle = colour(mark.phase === "firing" ? "--fail" : "--ok");
      ctx.setLineDash([3, 3]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      ctx.fillRect(x - 4, bbox.top + bbox.height - 8, 8, 8);
    }
    ctx.restore();
  }

  function draw(figure, force) {
    const text = figure.dataset.chart;
    const before = drawn.get(figure);
    const room = figure.querySelector(".canvas") || figure;
    const width = Math.floor(figure.clientWidth - 28);
    if (width < 50 || (!force && before && before.text === text && before.width === width)) return;
    const said = JSON.parse(text);
    const unit = figure.dataset.unit || "";
    const [options, data] = figure.dataset.kind === "stack"
      ? stack(said, width)
      : signal(said, width, unit, +figure.dataset.from, +figure.dataset.to);
    if (before) before.plot.destroy();
    room.replaceChildren();
    drawn.set(figure, { text, width, plot: new uPlot(options, data, room) });
  }

  const all = (force) => document.querySelectorAll("[data-chart]").forEach((figure) => draw(figure, force));
  let due = 0;
  const soon = (force) => { clearTimeout(due); due = setTimeout(() => all(force), 30); };

  all(false);
  document.addEventListener("htmx:after:swap", () => soon(false));
  document.addEventListener("htmx:after:settle", () => soon(false));
  addEventListener("resize", () => soon(false));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => soon(true));
})();

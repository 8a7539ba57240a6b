// Drawing of one trace, whose elements have ids that begin with AT: elements, scales, ticks, and numbers as people read them. Everything lives in one object, T.
"use strict";
const T = {};

T.data = JSON.parse(document.getElementById(AT + "data").textContent);

/** Makes an HTML element: make("p", {class: "note"}, "text", child). */
T.make = (tag, attributes = {}, ...children) => T.fill(document.createElement(tag), attributes, children);
/** Makes an SVG element. */
T.svg = (tag, attributes = {}, ...children) => T.fill(document.createElementNS("http" + "://www.w3.org/2000/svg", tag), attributes, children);
T.fill = (element, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  element.append(...children.flat().filter(c => c !== null && c !== undefined));
  return element;
};

/** Linear scale from [a, b] to [from, to]. */
T.linear = (a, b, from, to) => v => b === a ? (from + to) / 2 : from + (to - from) * (v - a) / (b - a);
/** Logarithmic above `knee`, linear below it, so that zero has a place. */
T.folded = (knee, b, from, to) => { const top = Math.log1p(b / knee); return v => from + (to - from) * Math.log1p(Math.max(v, 0) / knee) / (top || 1); };
/** Logarithmic scale. */
T.log = (a, b, from, to) => { const s = T.linear(Math.log(a), Math.log(b), from, to); return v => s(Math.log(Math.max(v, a))); };

/** About `count` round numbers within [a, b]. */
T.ticks = (a, b, count) => {
  const raw = (b - a) / Math.max(count, 1), power = 10 ** Math.floor(Math.log10(raw || 1));
  const step = [1, 2, 2.5, 5, 10].map(m => m * power).find(s => s >= raw) || power;
  const found = [];
  for (let i = Math.ceil(a / step - 1e-9); i * step <= b + step * 1e-9; i++) found.push(+(i * step).toPrecision(12));
  return found;
};
/** Numbers 1, 3, 10, 30 ... within (0, b], with zero. */
T.decades = b => {
  const found = [0];
  for (let p = -4; p < 9; p++) for (const m of [1, 3]) if (m * 10 ** p <= b * 1.0001) found.push(+(m * 10 ** p).toPrecision(3));
  return found;
};

/** A number with three significant digits, thousands kept whole. */
T.number = v => v === null || v === undefined || !isFinite(v) ? "–" : (Math.abs(v) >= 100 ? Math.round(v).toLocaleString("en") : String(+v.toPrecision(3))).replace("-", "−");
T.percent = v => v === null || v === undefined ? "–" : T.number(100 * v) + " %";
T.millis = v => v === null || v === undefined ? "–" : v >= 2 ? T.number(v) + " s" : T.number(1000 * v) + " ms";
/** Seconds as 1:02:30. */
T.clock = s => { const t = Math.round(s), h = Math.floor(t / 3600), m = Math.floor(t / 60) % 60; return `${h}:${String(m).padStart(2, "0")}:${String(t % 60).padStart(2, "0")}`; };
/** Trace time as "day 3, 14:30". */
T.moment = s => `day ${Math.floor(s / 86400) + 1}, ${String(Math.floor(s / 3600) % 24).padStart(2, "0")}:${String(Math.floor(s / 60) % 60).padStart(2, "0")}`;

/** One number of the results: {value, low, high}; the same rows as in the JSON record. */
T.row = (() => {
  const table = new Map(T.data.results.rows.map(r => [[r.figure, r.statistic, r.policy, r.peer || ""].join("\n"), r]));
  return (figure, policy, statistic = "mean", peer = "") => table.get([figure, statistic, policy, peer].join("\n"));
})();
T.tells = r => r.low !== null && (r.low > 0 || r.high < 0);

/** A place in the ramp of accuracy, 0 to 1, as a CSS colour. */
T.ramp = share => {
  const x = Math.min(Math.max(share, 0), 1) * 6, low = Math.min(Math.floor(x), 5), part = Math.round(100 * (x - low));
  return `color-mix(in oklab, var(--v${low + 1}) ${part}%, var(--v${low}))`;
};

/** Draws now and whenever the width changes. */
T.responsive = (holder, draw) => {
  let width = 0;
  const again = () => { const now = Math.round(holder.clientWidth); if (now && now !== width) { width = now; holder.replaceChildren(draw(now)); } };
  new ResizeObserver(again).observe(holder);
  again();
  return () => { width = 0; again(); };
};

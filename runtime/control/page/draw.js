// Drawing: elements, scales, ticks, and numbers as people read them. Everything lives in one object, T. Text is always text.
"use strict";
const T = {};

T.byId = id => document.getElementById(id);
/** Makes an HTML element: make("p", {class: "note"}, "text", child). `style` is an object. */
T.make = (tag, attributes = {}, ...children) => T.fill(document.createElement(tag), attributes, children);
/** Makes an SVG element. */
T.svg = (tag, attributes = {}, ...children) => T.fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
T.fill = (element, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "style") Object.assign(element.style, value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter(c => c !== null && c !== undefined));
  return element;
};
/** Sets a text only where it differs, so that nothing is announced or laid out anew in vain. */
T.say = (element, text) => { if (element.textContent !== text) element.textContent = text; };

/** Linear scale from [a, b] to [from, to]. */
T.linear = (a, b, from, to) => v => b === a ? (from + to) / 2 : from + (to - from) * (v - a) / (b - a);
/** Logarithmic above `knee`, linear below it, so that zero has a place. */
T.folded = (knee, b, from, to) => { const top = Math.log1p(b / knee); return v => from + (to - from) * Math.log1p(Math.max(v, 0) / knee) / (top || 1); };
/** Logarithmic scale. */
T.log = (a, b, from, to) => { const s = T.linear(Math.log(a), Math.log(b), from, to); return v => s(Math.log(Math.max(v, a))); };
/** The next number upwards that is round, so that an axis does not move with every value. */
T.roundUp = v => { const power = 10 ** Math.floor(Math.log10(v)); return [1, 1.5, 2, 3, 4, 5, 7.5, 10].map(m => m * power).find(s => s >= v * (1 - 1e-9)); };
/** About `count` round numbers within [a, b]. */
T.ticks = (a, b, count) => {
  const raw = (b - a) / Math.max(count, 1), power = 10 ** Math.floor(Math.log10(raw || 1));
  const step = [1, 2, 2.5, 5, 10].map(m => m * power).find(s => s >= raw) || power;
  const found = [];
  for (let i = Math.ceil(a / step - 1e-9); i * step <= b + step * 1e-9; i++) found.push(+(i * step).toPrecision(12));
  return found;
};
/** Numbers 1, 3, 10, 30 ... within [a, b]. */
T.decades = (a, b) => {
  const found = [];
  for (let p = -4; p < 9; p++) for (const m of [1, 3]) if (m * 10 ** p >= a && m * 10 ** p <= b * 1.0001) found.push(+(m * 10 ** p).toPrecision(3));
  return found;
};

/** A number with three significant digits, thousands kept whole. */
T.number = v => v === null || v === undefined || !isFinite(v) ? "–" : (Math.abs(v) >= 100 ? Math.round(v).toLocaleString("en") : String(+v.toPrecision(3))).replace("-", "−");
T.percent = v => v === null || v === undefined || !isFinite(v) ? "–" : T.number(100 * v) + " %";
T.millis = v => v === null || v === undefined || !isFinite(v) ? "–" : v >= 2 ? T.number(v) + " s" : T.number(1000 * v) + " ms";
/** A latency; the cluster's histograms end at 8 SLOs, and what is there may be more. */
T.latency = (v, slo) => (v >= 7.98 * slo ? "≥ " : "") + T.millis(v >= 7.98 * slo ? 8 * slo : v);
T.count = (n, one, many) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
/** Unix time as the time of day here. */
T.time = (t_s, seconds = true) => new Date(1000 * t_s).toLocaleTimeString("en-GB", {hour: "2-digit", minute: "2-digit", second: seconds ? "2-digit" : undefined});
/** How long: 12 s, 4:05 min, 2:10 h. */
T.span = s => {
  const t = Math.max(0, Math.round(s)), two = n => String(n).padStart(2, "0");
  return t < 100 ? `${t} s` : t < 3600 ? `${Math.floor(t / 60)}:${two(t % 60)} min` : `${Math.floor(t / 3600)}:${two(Math.floor(t / 60) % 60)} h`;
};

/** Colours of variants by rising accuracy: places in the ramp. */
T.colours = variants => {
  const ordered = Object.keys(variants).sort((a, b) => variants[a] - variants[b] || (a < b ? -1 : 1));
  const ramp = share => { const x = Math.min(share, 1) * 6, low = Math.min(Math.floor(x), 5); return `color-mix(in oklab, var(--v${low + 1}) ${Math.round(100 * (x - low))}%, var(--v${low}))`; };
  return {ordered, of: v => ordered.includes(v) ? ramp(ordered.length > 1 ? ordered.indexOf(v) / (ordered.length - 1) : 0.6) : "var(--other)"};
};

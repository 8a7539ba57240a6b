// The course: aligned panels over one stretch of time, drawn anew with each row, with a crosshair and the values beside it.
T.charts = (holder, readout, spoken) => {
  const LEFT = 46, MOST_VARIANTS = 7, LOSSES = ["failed", "not drained", "not stopped", "not fenced"];
  const svg = T.svg("svg", {tabindex: 0, role: "img"});
  let known = null, choice = {span_s: 300, application: ""}, cursor_s = null, drawn = null;

  /** Rows folded into bins that stay where they are while time goes on; the last of them is still filling. */
  const fold = width => {
    const {hello, at} = known, apps = Object.keys(hello.applications).filter(a => !choice.application || a === choice.application);
    const step_s = hello.step_s * Math.max(1, Math.ceil(choice.span_s / hello.step_s / Math.max(60, width / 2)));
    const end = Math.floor((known.rows.at(-1)?.t_s ?? known.now_s()) / step_s) + 1, count = Math.round(choice.span_s / step_s), start = end - count;
    const hosted = apps.flatMap(a => hello.applications[a].services).flatMap(s => hello.services[s]?.variants ?? []);
    const used = v => known.rows.at(-1)?.values[at.get("ready_units\n" + v)] || 0;
    let variants = T.colours(hello.variants).ordered.filter(v => hosted.includes(v));
    const kept = variants.length > MOST_VARIANTS ? [...variants].sort((a, b) => used(b) - used(a)).slice(0, MOST_VARIANTS) : variants;
    const slos = [...new Set(apps.map(a => hello.applications[a].slo_s))], relative = slos.length > 1;
    const groups = [...variants.filter(v => kept.includes(v)).map(v => [v, [v]]), ...(variants.length > kept.length ? [["others", variants.filter(v => !kept.includes(v))]] : [])];
    const empty = () => new Array(count).fill(null), add = (list, i, v) => { if (v !== null && v !== undefined) list[i] = (list[i] ?? 0) + v; };
    const most = (list, i, v) => { if (v !== null && v !== undefined) list[i] = Math.max(list[i] ?? 0, v); };
    const b = {step_s, apps: apps.length, start_s: start * step_s, count, groups, relative, slo: relative ? 1 : slos[0], seen: new Array(count).fill(0), seconds: new Array(count).fill(0), p50: empty(), p99: empty(), waiting: empty(), capacity: {}, units: {}};
    for (const name of ["offered", "settled", "violated", "pending_units", "leaving_units"]) b[name] = empty();
    for (const [name] of groups) { b.capacity[name] = empty(); b.units[name] = empty(); }
    for (const {t_s, values} of known.rows) {
      const i = Math.floor(t_s / step_s) - start;
      if (i < 0 || i >= count) continue;
      b.seen[i]++;
      const value = (measure, name) => values[at.get(measure + "\n" + name)] ?? null;
      b.seconds[i] += value("seconds", "");
      for (const name of ["offered", "settled", "violated"]) for (const a of apps) add(b[name], i, value(name, a));
      for (const name of ["pending_units", "leaving_units"]) add(b[name], i, value(name, ""));
      most(b.waiting, i, apps.reduce((sum, a) => sum + (value("waiting", a) ?? 0), 0));
      for (const a of apps) for (const [list, name] of [[b.p50, "p50_s"], [b.p99, "p99_s"]]) { const v = value(name, a); most(list, i, v === null ? null : relative ? v / hello.applications[a].slo_s : v); }
      for (const [name, members] of groups) for (const v of members) { add(b.capacity[name], i, value("capacity_rps", v)); add(b.units[name], i, value("ready_units", v)); }
    }
    const mean = list => list.forEach((v, i) => { if (v !== null) list[i] = v / b.seen[i]; });
    [b.pending_units, b.leaving_units, ...Object.values(b.capacity), ...Object.values(b.units)].forEach(mean);
    b.offered_rps = b.offered.map((n, i) => n === null ? null : n / b.seconds[i]);
    b.violation_ratio = b.settled.map((n, i) => n ? b.violated[i] / n : null);
    b.chain = apps.some(a => hello.applications[a].services.length > 1);
    return b;
  };

  const stack = (b, layers, x, y) => {
    const below = new Array(b.count).fill(0);
    return layers.map(([values, look]) => {
      let d = "";
      for (let i = 0; i < b.count; i++) if (values[i]) { d += `M${x(i)},${y(below[i])}V${y(below[i] + values[i])}H${x(i + 1)}V${y(below[i])}Z`; below[i] += values[i]; }
      return T.svg("path", {d, ...look, "shape-rendering": "crispEdges"});
    });
  };
  const line = (values, x, y) => {
    let d = "", pen = false;
    values.forEach((v, i) => { if (v === null) { pen = false; return; } d += `${pen ? "L" : "M"}${x(i + .5)},${y(v)}`; pen = true; });
    return d;
  };
  const area = (values, x, y, floor) => values.map((v, i) => v ? `M${x(i)},${floor}V${y(v)}H${x(i + 1)}V${floor}Z` : "").join("");
  const top = (floor, ...lists) => T.roundUp(Math.max(floor, ...lists.flat().filter(v => v !== null && isFinite(v))));

  const draw = width => {
    const b = fold(width - LEFT), {hello} = known, colours = T.colours(hello.variants), narrow = width < 520, right = width - 2;
    const round = scale => v => +scale(v).toFixed(1), x = round(T.linear(0, b.count, LEFT, right)), total = b.seen.map((n, i) => n ? b.groups.reduce((s, [g]) => s + (b.capacity[g][i] || 0), 0) : null);
    let at = 18;
    svg.replaceChildren();
    svg.setAttribute("aria-label", `The last ${T.span(choice.span_s)}: load and capacity, latency, violations, waiting requests, ${hello.unit} held. Use the arrow keys.`);
    const panel = (height, label, ticks, y, shown) => {
      svg.append(T.svg("text", {x: LEFT, y: at - 6}, label));
      for (const v of ticks) svg.append(T.svg("line", {class: "grid", x1: LEFT, x2: right, y1: y(v), y2: y(v)}), T.svg("text", {x: LEFT - 6, y: y(v) + 4, "text-anchor": "end"}, shown(v)));
      svg.append(T.svg("line", {class: "axis", x1: LEFT, x2: right, y1: at + height, y2: at + height}));
      const floor = at + height;
      at = floor + 27;
      return floor;
    };
    const scale = (kind, high, height, low) => round(kind(low, high, at + height, at));
    const loadTop = top(1, b.offered_rps), capTop = b.chain ? loadTop : T.roundUp(Math.max(loadTop, Math.min(top(1, total), 2.5 * loadTop)));
    let y = scale(T.linear, capTop, 190, 0);
    svg.append(T.svg("clipPath", {id: "clip"}, T.svg("rect", {x: LEFT, y: at, width: right - LEFT, height: 190})));
    const loadFloor = panel(190, b.chain ? "offered load, req/s" : narrow ? "load (line), ready capacity (areas), req/s" : "offered load (line) and capacity that is ready (areas, by variant), req/s", T.ticks(0, capTop, 3), y, T.number);
    svg.append(T.svg("g", {"clip-path": "url(#clip)"}, b.chain ? [] : stack(b, b.groups.map(([g]) => [b.capacity[g], {style: {fill: colours.of(g)}}]), x, y),
      T.svg("path", {class: "load-halo", d: line(b.offered_rps, x, y)}), T.svg("path", {class: "load", d: line(b.offered_rps, x, y)})));
    const seenLow = Math.min(b.slo, ...b.p50.filter(v => v > 0)), low = T.decades(1e-4, seenLow * .999).at(-1) ?? 1e-4, high = top(b.slo * 1.25, b.p99);
    y = scale(T.log, high, 110, low);
    const unit = b.relative ? v => `${T.number(v)}×` : v => v >= 1 ? v + " s" : T.number(1000 * v) + " ms", decades = T.decades(low, high);
    const latencyTop = at, whose = b.relative ? " of the worst application, × its SLO" : b.apps > 1 ? " of the worst application" : "";
    panel(110, narrow ? `p50 (grey), p99 (dark)${whose}` : `latency p50 (grey) and p99 (dark)${whose}, logarithmic`, decades.length > 4 ? decades.filter(v => /^1|\.0*1$/.test(String(v))) : decades, y, unit);
    svg.append(T.svg("path", {class: "p50", d: line(b.p50, x, y)}), T.svg("path", {class: "p99", d: line(b.p99, x, y)}),
      T.svg("line", {class: "slo", x1: LEFT, x2: right, y1: y(b.slo), y2: y(b.slo)}), T.svg("text", {class: "slo-text halo", x: LEFT + 4, y: y(b.slo) + (y(b.slo) < latencyTop + 16 ? 13 : -4)}, b.relative ? "SLO" : `SLO ${T.millis(b.slo)}`));
    const worst = Math.max(top(.02, b.violation_ratio)), waitTop = top(4, b.waiting);
    y = round(T.folded(.01, worst, at + 44, at));
    let floor = panel(44, "violations, % of requests", [0, worst], y, v => T.number(100 * v));
    svg.append(T.svg("path", {class: "bad-area", d: area(b.violation_ratio, x, y, floor)}));
    y = round(T.folded(1, waitTop, at + 44, at));
    floor = panel(44, "waiting requests", [0, waitTop], y, T.number);
    svg.append(T.svg("path", {class: "queue-area", d: area(b.waiting, x, y, floor)}));
    const budget = Object.values(hello.devices).reduce((s, d) => s + d.budget, 0), held = b.seen.map((n, i) => b.groups.reduce((s, [g]) => s + (b.units[g][i] || 0), 0) + (b.pending_units[i] || 0) + (b.leaving_units[i] || 0));
    const heldTop = Math.max(budget || 1, ...held);
    y = scale(T.linear, heldTop, 80, 0);
    floor = panel(80, narrow ? `${hello.unit} held; pale: starting, leaving` : `${hello.unit} held, by variant; pale: starting, or leaving`, [...new Set([0, budget || heldTop])], y, T.number);
    svg.append(...stack(b, [...b.groups.map(([g]) => [b.units[g], {style: {fill: colours.of(g)}}]), [b.pending_units, {class: "starting"}], [b.leaving_units, {class: "leaving"}]], x, y));
    if (budget) svg.append(T.svg("line", {class: "budget", x1: LEFT, x2: right, y1: y(budget), y2: y(budget)}));
    const place = t_s => x((t_s - b.start_s) / b.step_s), minutes = Math.ceil(choice.span_s / 60 / (narrow ? 3 : 6)), each_s = 60 * ([1, 2, 3, 5, 10, 15, 20].find(m => m >= minutes) ?? 30);
    for (let t = Math.ceil(b.start_s / each_s) * each_s; t < b.start_s + choice.span_s; t += each_s) if (place(t) > LEFT + 14 && place(t) < right - 34)
      svg.append(T.svg("line", {class: "axis", x1: place(t), x2: place(t), y1: floor, y2: floor + 4}), T.svg("text", {x: place(t), y: floor + 17, "text-anchor": "middle"}, T.time(t, false)));
    svg.append(T.svg("text", {x: right, y: floor + 17, "text-anchor": "end"}, "now"));
    for (const e of known.events) if (e.t_s > b.start_s && (e.what === "deployment" && !e.shares || LOSSES.includes(e.what))) {
      const loss = e.what !== "deployment";
      if (loss) svg.append(T.svg("line", {class: "loss-line", x1: place(e.t_s), x2: place(e.t_s), y1: 18, y2: floor}));
      svg.append(T.svg("path", {class: loss ? "loss" : "mark", d: `M${place(e.t_s)},${loadFloor + 1}l3.5,7h-7z`}, T.svg("title", {}, `${T.time(e.t_s)} ${e.what}: ${e.why}`)));
    }
    const cross = T.svg("line", {class: "cross", y1: 18, y2: floor});
    svg.append(cross);
    svg.setAttribute("viewBox", `0 0 ${width} ${floor + 22}`);
    svg.setAttribute("height", floor + 22);
    return {b, cross, x, total, right};
  };

  const move = t_s => { cursor_s = t_s; tell(); };
  const timeAt = event => {
    const {b, right} = drawn, box = svg.getBoundingClientRect(), place = (event.clientX - box.left) / box.width * (right + 2);
    return b.start_s + Math.max(0, Math.min(b.count - .01, (place - LEFT) / (right - LEFT) * b.count)) * b.step_s;
  };
  svg.addEventListener("pointermove", e => move(timeAt(e)));
  svg.addEventListener("pointerdown", e => move(timeAt(e)));
  svg.addEventListener("pointerleave", () => move(null));
  svg.addEventListener("blur", () => move(null));
  svg.addEventListener("keydown", e => {
    const {b} = drawn, first = b.start_s + .5 * b.step_s, last = b.start_s + (b.count - .5) * b.step_s, here = cursor_s ?? last;
    const to = {ArrowLeft: here - b.step_s, ArrowRight: here + b.step_s, Home: first, End: last, Escape: null}[e.key];
    if (to === undefined) return;
    e.preventDefault();
    move(to === null ? null : Math.max(first, Math.min(last, to)));
    if (to !== null) T.say(spoken, [...readout.children].map(item => item.textContent).join(", "));
  });
  const tell = () => {
    if (!drawn) return;
    const {b, cross, x, total} = drawn, {hello} = known, colours = T.colours(hello.variants);
    if (cursor_s !== null && cursor_s < b.start_s) cursor_s = null;
    const i = cursor_s === null ? b.seen.findLastIndex(n => n > 0) : Math.floor((cursor_s - b.start_s) / b.step_s);
    cross.setAttribute("visibility", cursor_s === null ? "hidden" : "visible");
    for (const end of ["x1", "x2"]) cross.setAttribute(end, x(i + .5));
    const item = (key, name, value) => T.make("li", {}, key, `${name} `, T.make("b", {}, value)), swatch = fill => T.make("span", {class: "key", style: {background: fill}}), stroke = ink => T.make("span", {class: "key line", style: {borderColor: ink}});
    const latency = v => b.relative ? (v === null || v === undefined ? "–" : `${v >= 7.98 ? "≥ 8" : T.number(v)}× SLO`) : T.latency(v, b.slo);
    readout.replaceChildren(T.make("li", {class: "when"}, cursor_s === null ? "now" : T.time(b.start_s + i * b.step_s)), item(stroke("var(--ink)"), "load", `${T.number(b.offered_rps[i])} req/s`),
      ...(b.chain ? [] : [item(null, "ready for", `${T.number(total[i])} req/s`)]), ...b.groups.map(([g]) => item(swatch(colours.of(g)), g, `${T.number(b.units[g][i] ?? null)} ${hello.unit}`)),
      item(stroke("var(--faint)"), "p50", latency(b.p50[i])), item(stroke("var(--ink)"), "p99", latency(b.p99[i])), item(swatch("var(--bad)"), "violations", T.percent(b.violation_ratio[i])), item(swatch("var(--soft)"), "waiting", T.number(b.waiting[i])));
  };

  const again = () => {
    const width = Math.round(holder.clientWidth);
    if (!known?.hello || !width) return;
    drawn = draw(width);
    if (!svg.isConnected) holder.replaceChildren(svg);
    tell();
  };
  new ResizeObserver(again).observe(holder);
  return {show: now => { known = now; again(); }, choose: change => { Object.assign(choice, change); again(); }};
};

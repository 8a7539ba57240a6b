// What happened: for each policy five aligned panels over one window, a crosshair through all of them, and the values beside.
T.timelines = (holder, spoken, onMove) => {
  const {courses, order, results} = T.data, variants = courses.variants;
  const slos = [], unit = courses.unit;
  for (const [name, slo] of Object.entries(results.scenario.slo_s)) {  // one line for all applications with the same SLO
    const same = slos.find(s => s[1] === slo);
    if (same) same[0] += ", " + name;
    else slos.push([name, slo]);
  }
  const colour = v => v === "others" ? "var(--other)" : T.ramp(variants.length > 1 ? variants.filter(n => n !== "others").indexOf(v) / Math.max(variants.filter(n => n !== "others").length - 1, 1) : 0.6);
  let window_ = 0, cursor = null, lanes = [];

  const stack = (course, names, x, y) => {
    const below = new Array(course.t_s.length + 1).fill(0);
    return names.map(([values, style]) => {
      const top = [], bottom = [];
      values.forEach((v, i) => { bottom.push([x(i), y(below[i])], [x(i + 1), y(below[i])]); below[i] += v || 0; top.push([x(i), y(below[i])], [x(i + 1), y(below[i])]); });
      return T.svg("path", {d: "M" + [...top, ...bottom.reverse()].map(p => p.map(c => c.toFixed(1)).join(",")).join("L") + "Z", style});
    });
  };
  const steps = (values, x, y) => {
    let d = "", pen = false;
    values.forEach((v, i) => { if (v === null) { pen = false; return; } d += `${pen ? "L" : "M"}${x(i).toFixed(1)},${y(v).toFixed(1)}L${x(i + 1).toFixed(1)},${y(v).toFixed(1)}`; pen = true; });
    return d;
  };
  const area = (values, x, y, floor) => {
    let d = "";
    values.forEach((v, i) => { if (v) d += `M${x(i).toFixed(1)},${floor}L${x(i).toFixed(1)},${y(v).toFixed(1)}L${x(i + 1).toFixed(1)},${y(v).toFixed(1)}L${x(i + 1).toFixed(1)},${floor}Z`; });
    return d;
  };
  const most = pick => Math.max(...order.flatMap(p => pick(courses.windows[window_].policies[p])).filter(v => v !== null && isFinite(v)), 1e-9);

  const chart = (policy, course, width) => {
    const narrow = width < 520, left = 44, right = width - 4, count = course.t_s.length, x = i => left + (right - left) * i / count;
    const total = i => variants.reduce((s, v) => s + (course.capacity[v][i] || 0), 0);
    const panels = [], svg = T.svg("svg", {tabindex: 0, role: "img", "aria-label": `Timelines of ${policy}: load and capacity, latency, queue, violations, ${unit} held. Use the arrow keys.`});
    let top = 18;
    const panel = (height, label, ticks, y, shown) => {
      const floor = top + height;
      svg.append(T.svg("text", {x: left, y: top - 5}, label));
      for (const v of ticks) svg.append(T.svg("line", {class: "grid", x1: left, x2: right, y1: y(v), y2: y(v)}), T.svg("text", {x: left - 6, y: y(v) + 4, "text-anchor": "end"}, shown(v)));
      svg.append(T.svg("line", {class: "axis", x1: left, x2: right, y1: floor, y2: floor}));
      panels.push([top, floor]);
      top = floor + 26;
      return floor;
    };
    const loadTop = most(c => c.offered_rps) * 1.05, capTop = courses.chain ? loadTop : Math.max(loadTop, Math.min(most(c => c.t_s.map((_, i) => variants.reduce((s, v) => s + (c.capacity[v][i] || 0), 0))), 1.6 * loadTop));
    let y = T.linear(0, capTop, top + 130, top), clip = `${AT}clip-${policy.replace(/\W/g, "-")}`;
    svg.append(T.svg("clipPath", {id: clip}, T.svg("rect", {x: left, y: top, width: right - left, height: 130})));
    panel(130, courses.chain ? "offered load, req/s" : narrow ? "load (line), ready capacity (areas), req/s" : "offered load (line) and capacity that is ready (areas, by variant), req/s", T.ticks(0, capTop, 3), y, T.number);
    const load = T.svg("g", {"clip-path": `url(#${clip})`});
    if (!courses.chain) load.append(...stack(course, variants.map(v => [course.capacity[v], `fill:${colour(v)}`]), x, y));
    load.append(T.svg("path", {class: "load-halo", d: steps(course.offered_rps, x, y)}), T.svg("path", {class: "load", d: steps(course.offered_rps, x, y)}));
    svg.append(load);
    const step = course.per_point * courses.interval_s, start = course.t_s[0];
    for (const d of course.decisions) if (d.change_text || d.notes_text) {
      const at = left + (right - left) * (d.t_s - start) / (count * step), base = panels[0][1];
      svg.append(T.svg("path", {class: d.notes_text ? "mark noted" : "mark", d: `M${at.toFixed(1)},${base + 1}l3,6h-6z`}));
    }
    const low = Math.min(...order.flatMap(p => courses.windows[window_].policies[p].p50_s).filter(v => v), ...slos.map(s => s[1])) * 0.8, high = Math.max(most(c => c.p99_s), ...slos.map(s => s[1])) * 1.1;
    top += 6;
    y = T.log(low, high, top + 76, top);
    const decades = T.decades(high).filter(v => v >= low);
    panel(76, narrow ? "latency p50 (grey), p99 (dark), log." : "latency p50 (grey) and p99 (dark), logarithmic", decades.length > 4 ? decades.filter(v => /^1|\.0*1$/.test(String(v))) : decades, y, v => v >= 1 ? v + " s" : T.number(1000 * v) + " ms");
    svg.append(T.svg("path", {class: "p50", d: steps(course.p50_s, x, y)}), T.svg("path", {class: "p99", d: steps(course.p99_s, x, y)}));
    for (const [name, slo] of slos.slice(0, 3)) svg.append(T.svg("line", {class: "slo", x1: left, x2: right, y1: y(slo), y2: y(slo)}), T.svg("text", {class: "slo-text halo", x: right, y: y(slo) - 4, "text-anchor": "end"}, `SLO ${T.millis(slo)}${slos.length > 1 ? " " + name : ""}`));
    const queueTop = Math.max(most(c => c.queue), 3);
    y = T.folded(1, queueTop, top + 38, top);
    const waiting = T.decades(queueTop).filter(v => v === 0 || v >= 1 && /^1/.test(String(v)));
    let floor = panel(38, "waiting requests, logarithmic", waiting.length > 3 ? [0, waiting[waiting.length - 1]] : waiting, y, T.number);
    svg.append(T.svg("path", {class: "queue-area", d: area(course.queue, x, y, floor)}));
    const worst = Math.max(most(c => c.violation_ratio), 0.02);
    y = T.folded(0.01, worst, top + 38, top);
    const shares = [0, 0.01, 0.1, 1].filter(v => v <= worst && (v !== 0.01 || worst < 0.06));
    floor = panel(38, "violations, % of requests, logarithmic above 1", shares, y, v => T.number(100 * v));
    svg.append(T.svg("path", {class: "bad-area", d: area(course.violation_ratio, x, y, floor)}));
    const heldTop = Math.max(courses.budget, most(c => c.t_s.map((_, i) => variants.reduce((s, v) => s + (c.ready[v][i] || 0), 0) + (c.pending[i] || 0) + (c.draining[i] || 0)))) * 1.02;
    y = T.linear(0, heldTop, top + 70, top);
    panel(70, narrow ? `${unit} held; pale: starting, draining` : `${unit} held at the end of each interval, by variant; pale: starting or draining`, [0, courses.budget], y, T.number);
    svg.append(...stack(course, [...variants.map(v => [course.ready[v], `fill:${colour(v)}`]), [course.pending, "fill:var(--other);opacity:.75"], [course.draining, "fill:var(--other);opacity:.45"]], x, y));
    svg.append(T.svg("line", {class: "budget", x1: left, x2: right, y1: y(courses.budget), y2: y(courses.budget)}));
    const span = count * step;
    for (const s of T.ticks(0, span / 60, width < 500 ? 4 : 8)) svg.append(T.svg("text", {x: left + (right - left) * s * 60 / span, y: top - 8, "text-anchor": s === 0 ? "start" : s * 60 > 0.97 * span ? "end" : "middle"}, T.clock(s * 60).replace(/:00$/, "")));
    const cross = T.svg("line", {class: "cross", y1: 18, y2: top - 26, visibility: "hidden"});
    svg.append(cross);
    svg.setAttribute("viewBox", `0 0 ${width} ${top - 2}`);
    svg.setAttribute("height", top - 2);
    const index = event => { const box = svg.getBoundingClientRect(); return Math.max(0, Math.min(count - 1, Math.floor(((event.clientX - box.left) / box.width * width - left) / (right - left) * count))); };
    svg.addEventListener("pointermove", e => move(index(e)));
    svg.addEventListener("pointerdown", e => move(index(e)));
    svg.addEventListener("pointerleave", () => { if (document.activeElement !== svg) move(null); });
    svg.addEventListener("blur", () => move(null));
    svg.addEventListener("keydown", e => {
      const here = cursor ?? 0, changes = course.decisions.filter(d => d.change_text).map(d => Math.floor((d.t_s - start) / step));
      const to = {ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: count - 1, PageDown: changes.find(c => c > here), PageUp: [...changes].reverse().find(c => c < here)}[e.key];
      if (to === undefined || Number.isNaN(to)) return;
      e.preventDefault();
      move(Math.max(0, Math.min(count - 1, to)));
      spoken.textContent = `${policy} at ${T.clock(cursor * step)}: load ${T.number(course.offered_rps[cursor])} requests per second, capacity ${T.number(total(cursor))}, p99 ${T.millis(course.p99_s[cursor])}, violations ${T.percent(course.violation_ratio[cursor])}`;
    });
    return {svg, cross: i => { cross.setAttribute("visibility", i === null ? "hidden" : "visible"); if (i !== null) { const at = x(i + 0.5); cross.setAttribute("x1", at); cross.setAttribute("x2", at); } }};
  };

  const readout = (course, told, box) => i => {
    const mean = values => { const seen = values.filter(v => v !== null); return seen.length ? seen.reduce((a, b) => a + b, 0) / seen.length : null; };
    const at = values => i === null ? mean(values) : values[i];
    const step = course.per_point * courses.interval_s;
    const rows = [], line = (key, name, value) => rows.push(T.make("dt", {}, key, name), T.make("dd", {}, value));
    const swatch = style => T.make("span", {class: "key", style: `background:${style}`}), stroke = style => T.make("span", {class: "key line", style: `border-color:${style}`});
    line(stroke("var(--ink)"), "load", T.number(at(course.offered_rps)) + " req/s");
    for (const v of [...variants].reverse()) {
      const n = at(course.count[v]), r = at(course.ready[v]);
      line(swatch(colour(v)), v, i === null ? `${T.number(r)} ${unit}` : n ? `${T.number(n)} replica${n === 1 ? "" : "s"}, ${T.number(r)} ${unit}` : "none");
    }
    if (!courses.chain) line("", "capacity ready", T.number(at(course.capacity_rps)) + " req/s");
    line(stroke("var(--faint)"), "p50", T.millis(i === null ? told.p50_s : course.p50_s[i]));
    line(stroke("var(--ink)"), "p99", T.millis(i === null ? told.p99_s : course.p99_s[i]));
    line("", "waiting", T.number(at(course.queue)));
    line(swatch("var(--bad)"), "violations", T.percent(i === null ? told.violation_ratio : course.violation_ratio[i]));
    line("", "cost", T.percent(at(course.cost)));
    const parts = [T.make("div", {class: "when"}, i === null ? "the whole window" : `at ${T.clock(i * step)}`), T.make("dl", {}, rows)];
    const until = i === null ? -1 : course.t_s[i] + step - 1e-6, made = course.decisions.filter(d => d.t_s <= until);
    const d = made[made.length - 1];
    if (i !== null && d) parts.push(T.make("div", {class: "decided"}, T.make("b", {}, d.change_text || "no change"), T.make("div", {}, `${d.reason_text} (${T.clock(d.t_s - course.t_s[0])})`), d.notes_text ? T.make("div", {class: "noted"}, d.notes_text) : null));
    else parts.push(T.make("div", {class: "decided"}, T.make("span", {class: "level"}, "▲ under the first panel: the deployment changed.")));
    box.replaceChildren(...parts);
  };

  const move = i => { cursor = i; for (const lane of lanes) lane(i); onMove(i); };
  const show = at => {
    window_ = at;
    lanes = [];
    const shown = courses.windows[at];
    holder.replaceChildren(...order.map(policy => {
      const course = shown.policies[policy];
      const told = results.episodes.find(e => e.policy === policy && e.trace === shown.trace && e.start_s === shown.start_s && e.seed === courses.seed);
      const plot = T.make("div"), side = T.make("div", {class: "readout"}), say = readout(course, told, side);
      let cross = () => {};
      lanes.push(i => { cross(i); say(i); });
      say(null);
      requestAnimationFrame(() => T.responsive(plot, width => { const drawn = chart(policy, course, width); cross = drawn.cross; return drawn.svg; }));
      return T.make("div", {class: "policy"}, T.make("div", {class: "policy-head"}, T.make("h3", {}, policy),
        T.make("span", {}, `reward ${T.number(told.reward)}, violations ${T.percent(told.violation_ratio)}, accuracy ${T.percent(told.accuracy)}, cost ${T.percent(told.cost)}, p99 ${T.millis(told.p99_s)}`)),
        T.make("div", {class: "lanes"}, plot, side));
    }));
  };
  return {show, move};
};

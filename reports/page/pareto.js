// Cost against violations; accuracy is the colour. Means with intervals, single windows as small dots, labels beside the points.
T.pareto = holder => {
  const policies = T.data.order, results = T.data.results;
  const means = policies.map(p => ({policy: p, x: T.row("violations", p), y: T.row("cost", p), accuracy: T.row("accuracy", p).value}));
  const dots = [];
  for (const p of policies) {
    const windows = new Map();
    for (const e of results.episodes) if (e.policy === p) {
      const key = e.trace + e.start_s, sum = windows.get(key) || [0, 0, 0];
      windows.set(key, [sum[0] + e.violation_ratio, sum[1] + e.cost, sum[2] + 1]);
    }
    for (const [x, y, n] of windows.values()) dots.push({policy: p, x: x / n, y: y / n});
  }
  const accuracies = means.map(m => m.accuracy), least = Math.min(...accuracies), most = Math.max(...accuracies);
  const shade = a => T.ramp(most > least ? 0.12 + 0.88 * (a - least) / (most - least) : 0.6);
  const colour = Object.fromEntries(means.map(m => [m.policy, shade(m.accuracy)]));
  const right = Math.max(...dots.map(d => d.x), ...means.map(m => m.x.high || m.x.value), 0.001) * 1.15;
  const ys = [...dots.map(d => d.y), ...means.flatMap(m => [m.y.low ?? m.y.value, m.y.high ?? m.y.value])];
  const spread = Math.max(Math.max(...ys) - Math.min(...ys), 0.05), low = Math.max(Math.min(...ys) - 0.08 * spread, 0), high = Math.max(...ys) + 0.08 * spread;

  T.responsive(holder, width => {
    const height = Math.min(Math.max(width * 0.72, 280), 400), left = 44, bottom = height - 44, end = width - 14;
    const x = T.folded(0.001, right, left, end), y = T.linear(low, high, bottom, 14);
    const svg = T.svg("svg", {viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label":
      "Cost against violations: " + means.map(m => `${m.policy} ${T.percent(m.x.value)} violations at ${T.percent(m.y.value)} of the budget, accuracy ${T.percent(m.accuracy)}`).join("; ")});
    let last = -99;
    for (const v of T.decades(right).filter(v => v === 0 || v >= 0.001)) {
      if (x(v) - last < 34) continue;
      last = x(v);
      svg.append(T.svg("line", {class: "grid", x1: x(v), x2: x(v), y1: 14, y2: bottom}),
        T.svg("text", {x: x(v), y: bottom + 17, "text-anchor": "middle"}, T.number(100 * v)));
    }
    for (const v of T.ticks(low, high, 5)) svg.append(T.svg("line", {class: "grid", x1: left, x2: end, y1: y(v), y2: y(v)}),
      T.svg("text", {x: left - 7, y: y(v) + 4, "text-anchor": "end"}, T.number(100 * v)));
    svg.append(T.svg("text", {x: end, y: bottom + 36, "text-anchor": "end"}, "violations, % of requests (logarithmic above 0.1) →"),
      T.svg("text", {x: 0, y: 8}, "↑ cost, % of budget"));
    const front = means.filter(m => !means.some(o => o !== m && o.x.value <= m.x.value && o.y.value <= m.y.value && (o.x.value < m.x.value || o.y.value < m.y.value)))
      .sort((a, b) => a.x.value - b.x.value);
    svg.append(T.svg("polyline", {class: "front", points: front.map(m => `${x(m.x.value)},${y(m.y.value)}`).join(" ")}));
    for (const d of dots) svg.append(T.svg("circle", {cx: x(d.x), cy: y(d.y), r: 2.6, opacity: 0.55, style: `fill:${colour[d.policy]};stroke:var(--soft);stroke-width:.4`}));
    for (const m of means) {
      if (m.x.low !== null) svg.append(T.svg("line", {class: "whisker", x1: x(m.x.low), x2: x(m.x.high), y1: y(m.y.value), y2: y(m.y.value)}));
      if (m.y.low !== null) svg.append(T.svg("line", {class: "whisker", x1: x(m.x.value), x2: x(m.x.value), y1: y(m.y.low), y2: y(m.y.high)}));
    }
    const taken = means.map(m => [x(m.x.value) - 9, y(m.y.value) - 9, x(m.x.value) + 9, y(m.y.value) + 9]);
    for (const m of means) {
      const cx = x(m.x.value), cy = y(m.y.value), wide = 7.2 * m.policy.length;
      svg.append(T.svg("circle", {cx, cy, r: 8, style: `fill:${colour[m.policy]};stroke:var(--ink);stroke-width:1.4`},
        T.svg("title", {}, `${m.policy}: ${T.percent(m.x.value)} violations, ${T.percent(m.y.value)} of the budget, accuracy ${T.percent(m.accuracy)}`)));
      const places = [[cx + 13, cy - 9], [cx - 13 - wide, cy - 9], [cx + 13, cy + 18], [cx - 13 - wide, cy + 18], [cx - wide / 2, cy - 15], [cx - wide / 2, cy + 25], [cx + 13, cy - 26], [cx + 13, cy + 36]];
      const clash = ([a, b]) => a < left || a + wide > width || b < 12 || b > bottom ? 9 : taken.filter(t => a < t[2] && a + wide > t[0] && b - 12 < t[3] && b + 3 > t[1]).length;
      const [tx, ty] = places.reduce((best, p) => clash(p) < clash(best) ? p : best);
      taken.push([tx, ty - 12, tx + wide, ty + 3]);
      svg.append(T.svg("text", {class: "strong halo", x: tx, y: ty}, m.policy));
    }
    return svg;
  });
  const bar = T.make("span", {class: "ramp", style: `background:linear-gradient(90deg, ${[0, .25, .5, .75, 1].map(s => shade(least + s * (most - least))).join(", ")})`});
  holder.after(T.make("div", {class: "legend"}, T.make("span", {}, `accuracy ${T.percent(least)}`), bar, T.make("span", {}, T.percent(most))));
};

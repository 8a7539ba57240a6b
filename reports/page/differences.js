// Paired differences to one policy, measure by measure, each on its own scale around zero. A policy that is far off all others
// would squash them: it is drawn at the edge, with an arrow and its number.
T.differences = (holder, choice) => {
  const policies = T.data.order;
  const measures = [["reward", 1, 1, ""], ["violations", -1, 100, "points"], ["accuracy", 1, 100, "points"], ["cost", -1, 100, "points"]];
  for (const p of policies) choice.append(T.make("option", {value: p, selected: p === T.data.reference}, p));
  const draw = width => {
    const reference = choice.value, others = policies.filter(p => p !== reference);
    const across = width < 460 ? 1 : 2, gap = 28, wide = (width - gap * (across - 1)) / across, names = Math.min(8 + 7 * Math.max(...others.map(p => p.length)), 130);
    const tall = 60 + 44 * others.length, height = tall * Math.ceil(measures.length / across);
    const svg = T.svg("svg", {viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": `Paired differences against ${reference}`});
    measures.forEach(([name, better, times, unit], i) => {
      const left = (i % across) * (wide + gap), top = Math.floor(i / across) * tall;
      const rows = others.map(p => ({policy: p, gap: T.row(name, p, "paired difference", reference), wins: T.row(name, p, "probability of improvement", reference)}));
      const sizes = rows.map(r => Math.abs(r.gap.value)).sort((a, b) => b - a);
      const far = sizes.length > 1 && sizes[0] > 6 * sizes[1] && sizes[1] > 0 ? 6 * sizes[1] : Infinity;
      const near = rows.filter(r => Math.abs(r.gap.value) <= far);
      const ends = near.flatMap(r => [r.gap.value, r.gap.low ?? r.gap.value, r.gap.high ?? r.gap.value, 0]).map(v => v * times);
      for (const r of rows) if (!near.includes(r)) ends.push(Math.sign(r.gap.value) * 1.3 * Math.max(...ends.map(Math.abs)));
      const digits = Math.max(0, 3 - Math.floor(Math.log10(Math.max(...ends.map(Math.abs)) || 1)));
      const written = v => String(+(v * times).toFixed(digits)).replace("-", "−");  // as fine as the axis deserves
      const pad = 0.08 * (Math.max(...ends) - Math.min(...ends) || 1);
      const x = T.linear(Math.min(...ends) - pad, Math.max(...ends) + pad, left + names, left + wide - 6), floor = top + tall - 34;
      svg.append(T.svg("text", {class: "strong", x: left, y: top + 13}, name), T.svg("text", {x: left + wide, y: top + 13, "text-anchor": "end"}, `${better > 0 ? "right" : "left"} is better`));
      let last = -99;
      for (const v of T.ticks(Math.min(...ends) - pad, Math.max(...ends) + pad, 3)) if (x(v) - last > 40) {
        last = x(v);
        svg.append(T.svg("line", {class: v ? "grid" : "zero", x1: x(v), x2: x(v), y1: top + 22, y2: floor}), T.svg("text", {x: x(v), y: floor + 15, "text-anchor": "middle"}, T.number(v)));
      }
      svg.append(T.svg("line", {class: "zero", x1: x(0), x2: x(0), y1: top + 22, y2: floor}));
      if (unit) svg.append(T.svg("text", {x: left, y: floor + 15}, unit));
      rows.forEach((r, j) => {
        const y = top + 46 + 44 * j, mood = T.tells(r.gap) ? (r.gap.value * better > 0 ? "good" : "bad") : "soft";
        const said = `${r.policy}: ${T.number(r.gap.value * times)} [${T.number(r.gap.low === null ? NaN : r.gap.low * times)}, ${T.number(r.gap.high === null ? NaN : r.gap.high * times)}] ${unit}; better in ${T.percent(r.wins.value)} of windows and seeds`;
        const line = T.svg("g", {}, T.svg("title", {}, said), T.svg("text", {x: left, y: y + 4}, r.policy.length > 17 ? r.policy.slice(0, 16) + "…" : r.policy));
        if (!near.includes(r)) {
          const side = Math.sign(r.gap.value), edge = side < 0 ? left + names + 2 : left + wide - 8;
          line.append(T.svg("path", {d: `M${edge},${y}l${-8 * side},-5v10z`, style: `fill:var(--${mood})`}),
            T.svg("text", {x: edge - 13 * side, y: y + 4, "text-anchor": side < 0 ? "start" : "end", class: "halo"}, `${T.number(r.gap.value * times)}, off the scale`));
          svg.append(line);
          return;
        }
        if (r.gap.low !== null) line.append(T.svg("line", {x1: x(r.gap.low * times), x2: x(r.gap.high * times), y1: y, y2: y, style: `stroke:var(--${mood});stroke-width:2.5`}));
        line.append(T.svg("circle", {cx: x(r.gap.value * times), cy: y, r: 4.5, style: `fill:var(--${mood})`}),
          T.svg("text", {x: Math.min(Math.max(x(r.gap.value * times), left + names + 14), left + wide - 3.6 * written(r.gap.value).length), y: y - 8, "text-anchor": "middle", class: "halo"}, written(r.gap.value)));
        svg.append(line);
      });
    });
    return svg;
  };
  const again = T.responsive(holder, draw);
  choice.addEventListener("change", again);
};

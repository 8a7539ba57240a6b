// One row per window: its load as a sparkline, and the violations of every policy. A row chooses what the timelines show.
T.windows = (table, chosen) => {
  const {results, courses, order} = T.data;
  const courseOf = w => courses.windows.findIndex(c => c.trace === w.trace && c.start_s === w.start_s);
  const traces = new Set(results.evaluation.windows.map(w => w.trace)).size > 1;
  const head = T.make("tr", {}, T.make("th", {scope: "col"}, "window begins"), T.make("th", {scope: "col"}, "load"), T.make("th", {scope: "col"}, "mean", T.make("small", {}, "req/s")),
    order.map(p => T.make("th", {scope: "col"}, p, T.make("small", {}, "violations"))));
  const rows = results.evaluation.windows.map(w => {
    const at = courseOf(w), cells = order.map(p => {
      const seeds = results.episodes.filter(e => e.policy === p && e.trace === w.trace && e.start_s === w.start_s);
      return seeds.reduce((sum, e) => sum + e.violation_ratio, 0) / seeds.length;
    });
    const label = (traces ? w.trace + ", " : "") + T.moment(w.start_s);
    const row = T.make("tr", {"data-at": at}, T.make("td", {}, at >= 0 ? T.make("a", {href: `#${AT}timelines`}, label) : label), T.make("td", {}), T.make("td", {}),
      cells.map(v => T.make("td", {class: "hot", style: `--heat:${Math.min(Math.round(55 * Math.log1p(v / 0.002) / Math.log1p(0.3 / 0.002)), 55)}`}, T.percent(v))));
    if (at >= 0) {
      const load = courses.windows[at].policies[order[0]].offered_rps, top = Math.max(...courses.windows.flatMap(c => c.policies[order[0]].offered_rps));
      const y = T.linear(0, top, 21, 2), x = T.linear(0, load.length - 1, 1, 119);
      row.children[1].append(T.svg("svg", {width: 120, height: 22, viewBox: "0 0 120 22", "aria-hidden": "true"},
        T.svg("polyline", {points: load.map((v, i) => `${x(i).toFixed(1)},${y(v).toFixed(1)}`).join(" "), style: "fill:none;stroke:var(--ink);stroke-width:1.1"})));
      row.children[2].append(T.number(load.reduce((a, b) => a + b, 0) / load.length));
      row.addEventListener("click", event => { if (event.target.tagName !== "A") chosen(at); });
      row.querySelector("a").addEventListener("click", () => chosen(at));
    }
    return row;
  });
  table.append(T.make("thead", {}, head), T.make("tbody", {}, rows));
  return at => rows.forEach(r => r.setAttribute("aria-current", String(+r.dataset.at === at)));
};

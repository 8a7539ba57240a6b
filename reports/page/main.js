// Puts a trace together.
(() => {
  const byId = id => document.getElementById(AT + id), {courses, order, results} = T.data;
  for (const w of courses.windows) for (const c of Object.values(w.policies)) for (const d of c.decisions)
    for (const name of ["change", "deployment", "reason", "notes"]) d[name + "_text"] = courses.texts[d[name]];

  T.pareto(byId("pareto"));
  if (order.length > 1) T.differences(byId("differences"), byId("peer"));
  else byId("differences").closest("figure").hidden = true;

  const timelines = T.timelines(byId("lanes"), byId("spoken"), () => {});
  const why = T.why(byId("why-tools"), byId("why-rows"), byId("more"), i => { timelines.move(i); byId("lanes").scrollIntoView({block: "start"}); });
  const pick = T.make("select", {"aria-label": "Window"}, courses.windows.map((w, i) => T.make("option", {value: i}, `${w.trace}, ${T.moment(w.start_s)}`)));
  const choose = at => { pick.value = at; mark(at); timelines.show(at); why(at); };
  const mark = T.windows(byId("window-table"), choose);
  const go = by => choose((+pick.value + by + courses.windows.length) % courses.windows.length);
  const button = (text, label, by) => { const b = T.make("button", {class: "plain", type: "button", "aria-label": label}, text); b.addEventListener("click", () => go(by)); return b; };
  if (courses.windows.length > 1) byId("timeline-tools").append(button("←", "window before", -1), T.make("label", {}, "window", pick), button("→", "next window", 1));
  pick.addEventListener("change", () => choose(+pick.value));
  const spreads = courses.windows.map(w => {
    const shares = results.episodes.filter(e => e.trace === w.trace && e.start_s === w.start_s && e.seed === courses.seed).map(e => e.violation_ratio);
    return Math.max(...shares) - Math.min(...shares);
  });
  if (courses.windows.length) choose(spreads.indexOf(Math.max(...spreads)));  // where policies differ most

  const table = byId("results"), heads = [...table.querySelectorAll("thead th")];
  heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") !== "descending", rows = [...table.tBodies[0].rows];
    const key = row => row.cells[column].dataset.value === undefined ? row.cells[column].textContent : +row.cells[column].dataset.value;
    rows.sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0) * (down ? -1 : 1));
    heads.forEach(h => h.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    table.tBodies[0].append(...rows);
  }));
})();

// The decisions of the chosen window in order of time, filtered; a row moves the crosshair of the timelines.
T.why = (tools, holder, more, onPick) => {
  const {courses, order} = T.data;
  const who = T.make("select", {"aria-label": "Policy"}, T.make("option", {value: ""}, "all policies"), order.map(p => T.make("option", {value: p}, p)));
  const only = T.make("input", {type: "checkbox", checked: "checked"}), find = T.make("input", {type: "search", placeholder: "search reasons", "aria-label": "Search reasons"});
  const count = T.make("span");
  tools.append(T.make("label", {}, "show ", who), T.make("label", {}, only, "only changes and corrections"), find, count);
  let at = 0, limit = 30;

  const draw = () => {
    const shown = courses.windows[at], words = find.value.toLowerCase();
    const rows = order.filter(p => !who.value || p === who.value).flatMap(policy => shown.policies[policy].decisions.map(d => ({policy, course: shown.policies[policy], d})))
      .filter(({d}) => !only.checked || d.change_text || d.notes_text)
      .filter(({d, policy}) => !words || [policy, d.reason_text, d.change_text, d.notes_text].join(" ").toLowerCase().includes(words))
      .sort((a, b) => a.d.t_s - b.d.t_s);
    const body = rows.slice(0, limit).map(({policy, course, d}) => {
      const start = course.t_s[0], step = course.per_point * courses.interval_s, i = Math.min(Math.floor((d.t_s - start) / step), course.t_s.length - 1);
      const numbers = Object.entries(d.details).map(([name, v]) => `${name.replace(/_/g, " ")} ${T.number(v)}`).join(", ");
      const row = T.make("tr", {}, T.make("td", {}, T.make("a", {href: `#${AT}lanes`}, T.clock(d.t_s - start))), T.make("td", {}, policy),
        T.make("td", {class: "number", "data-name": "load"}, i > 0 ? T.number(course.offered_rps[i - 1]) : "–"),
        T.make("td", {}, d.change_text || (d.t_s === start ? "starts with " + d.deployment_text : `no change${d.held > 1 ? ` (${d.held} times)` : ""}`)),
        T.make("td", {}, d.reason_text, d.notes_text ? T.make("div", {class: "noted"}, "envelope: " + d.notes_text) : null),
        T.make("td", {}, numbers), T.make("td", {class: "number", "data-name": "decided in, ms"}, T.number(d.decision_ms)));
      row.addEventListener("click", event => { event.preventDefault(); onPick(i); });
      return row;
    });
    const heads = [["time"], ["policy"], ["load before", "number", "req/s"], ["change"], ["reason"], ["numbers behind it"], ["took", "number", "ms"]];
    holder.replaceChildren(T.make("table", {}, T.make("thead", {}, T.make("tr", {}, heads.map(([name, kind, unit]) => T.make("th", {scope: "col", class: kind}, name, unit ? T.make("small", {}, unit) : null)))), T.make("tbody", {}, body)));
    count.textContent = `${rows.length} rows`;
    more.hidden = rows.length <= limit;
  };
  for (const input of [who, only, find]) input.addEventListener("input", () => { limit = 30; draw(); });
  more.addEventListener("click", () => { limit += 100; draw(); });
  return i => { at = i; limit = 30; draw(); };
};

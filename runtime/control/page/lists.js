// Beside the course: key figures, applications, replicas, decisions with their reasons, and events.
T.lists = (byId, onApplication) => {
  const LOSSES = ["failed", "back-off", "not drained", "not stopped", "not fenced", "not remembered"], GHOST_S = 15;
  const tiles = new Map();

  /** Sums over the last seconds: of requests of some applications. */
  const recent = (known, apps, seconds) => {
    const {at, rows} = known, from = (rows.at(-1)?.t_s ?? 0) - seconds, found = {seconds: 0, offered: 0, settled: 0, violated: 0, accuracy: 0};
    for (let r = rows.length - 1; r >= 0 && rows[r].t_s > from; r--) for (const name of Object.keys(found)) for (const a of name === "seconds" ? [""] : apps) found[name] += rows[r].values[at.get(name + "\n" + a)] || 0;
    return {...found, offered_rps: found.seconds ? found.offered / found.seconds : null, violation_ratio: found.settled ? found.violated / found.settled : null, accuracy: found.settled ? found.accuracy / found.settled : null};
  };
  const last = (known, measure, name = "") => known.rows.at(-1)?.values[known.at.get(measure + "\n" + name)] ?? null;
  /** p50, p99 and SLO of the application whose p99 is the worst against its SLO. */
  const latency = (known, apps) => apps.map(a => ({name: a, p50: last(known, "p50_s", a), p99: last(known, "p99_s", a), slo: known.hello.applications[a].slo_s}))
    .reduce((worst, l) => worst === null || (l.p99 ?? -1) / l.slo > (worst.p99 ?? -1) / worst.slo ? l : worst, null);

  const figures = known => {
    const {hello} = known, apps = Object.keys(hello.applications), minute = recent(known, apps, 60), now = recent(known, apps, 5), slow = latency(known, apps);
    const ready = Object.keys(hello.variants).reduce((sum, v) => sum + (last(known, "capacity_rps", v) || 0), 0), waiting = apps.reduce((sum, a) => sum + (last(known, "waiting", a) || 0), 0);
    const chain = apps.some(a => hello.applications[a].services.length > 1), cost = last(known, "cost_ratio"), held = Object.keys(hello.variants).reduce((sum, v) => sum + (last(known, "ready_units", v) || 0), 0) + (last(known, "pending_units") || 0) + (last(known, "leaving_units") || 0);
    const budget = Object.values(hello.devices).reduce((sum, d) => sum + d.budget, 0), split = text => { const [value, unit] = text.split(" "); return [value, unit || ""]; };
    const whole = Object.values(hello.devices).reduce((sum, d) => sum + d.budget * d.price, 0);
    const money = hello.currency && cost !== null ? [T.number(cost * whole), `${hello.currency}/h`] : split(T.percent(cost));
    const show = [
      ["Load", [T.number(now.offered_rps), "req/s"], chain ? "offered" : `of ${T.number(ready)} that is ready`, !chain && now.offered_rps > ready],
      ["Violations", split(T.percent(minute.violation_ratio)), `${minute.violated.toLocaleString("en")} of ${minute.settled.toLocaleString("en")} in the last minute`, minute.violation_ratio >= .01],
      ["Latency p99", split(T.latency(slow?.p99, slow?.slo).replace("≥ ", "≥")), `SLO ${T.millis(slow?.slo)}, p50 ${T.latency(slow?.p50, slow?.slo)}${apps.length > 1 ? `, ${slow.name}` : ""}`, slow?.p99 > slow?.slo],
      ["Accuracy", split(T.percent(minute.accuracy)), "of all requests, late and lost ones as 0", false],
      ["Waiting", [T.number(waiting), ""], "requests", false],
      ["Cost", money, `${hello.currency ? `${T.percent(cost)} of all, ` : ""}${T.number(held)} of ${budget} ${hello.unit} held`, cost > 1]];
    const shown = hello.operator ? show : show.slice(0, 5);
    if (byId("figures").children.length !== shown.length) byId("figures").replaceChildren(...shown.map(([name]) => T.make("div", {}, T.make("dt", {}, name), T.make("dd", {class: "value"}, T.make("span"), T.make("small")), T.make("dd", {class: "under"}))));
    shown.forEach(([, [value, unit], under, bad], i) => {
      const box = byId("figures").children[i];
      [[".value span", value], [".value small", unit && ` ${unit}`], [".under", under]].forEach(([part, text]) => T.say(box.querySelector(part), text));
      box.classList.toggle("bad", Boolean(bad));
    });
    const worst = apps.map(name => [recent(known, [name], 60).violated, name]).sort(([a], [b]) => b - a)[0];
    return {...minute, most: apps.length > 1 && worst[0] > minute.violated / 2 ? worst[1] : ""};
  };

  const applications = (known, chosen) => {
    const {hello} = known, names = Object.keys(hello.applications), box = byId("applications"), tenants = new Set(Object.values(hello.services).map(s => s.tenant)).size > 1;
    box.hidden = names.length < 2;
    if (box.hidden) return;
    const heads = ["Application", ...(tenants ? ["Tenant"] : []), "Load", "Violations", "p99", "SLO", "Accuracy", "Waiting"];
    if (!box.firstChild) box.append(T.make("table", {}, T.make("caption", {class: "unseen"}, "Applications, over the last minute"), T.make("thead", {}, T.make("tr", {}, heads.map(h => T.make("th", {scope: "col"}, h)))), T.make("tbody")));
    const body = box.querySelector("tbody");
    if (body.rows.length !== names.length) body.replaceChildren(...names.map(name => {
      const pick = T.make("button", {type: "button"}, name);
      pick.addEventListener("click", () => onApplication(name));
      return T.make("tr", {}, T.make("th", {scope: "row"}, pick), heads.slice(1).map(() => T.make("td")));
    }));
    names.forEach((name, i) => {
      const minute = recent(known, [name], 60), p99 = last(known, "p99_s", name), {slo_s, services} = hello.applications[name];
      const cells = [...(tenants ? [[hello.services[services[0]].tenant]] : []), [`${T.number(minute.offered_rps)} req/s`], [T.percent(minute.violation_ratio), minute.violation_ratio >= .01], [T.latency(p99, slo_s), p99 > slo_s], [T.millis(slo_s)], [T.percent(minute.accuracy)], [T.number(last(known, "waiting", name))]];
      const row = body.rows[i];
      row.classList.toggle("chosen", chosen === name);
      row.querySelector("button").setAttribute("aria-pressed", chosen === name);
      cells.forEach(([text, bad], c) => { T.say(row.cells[c + 1], text); row.cells[c + 1].classList.toggle("bad", Boolean(bad)); });
    });
  };

  const replicas = known => {
    const now_s = known.now_s(), {hello} = known, colours = T.colours(hello.variants), byKind = new Map(), alive = new Set(known.replicas.map(r => r.number));
    const lost = known.events.filter(e => e.what === "failed" && now_s - e.t_s < GHOST_S && !alive.has(e.replica) && e.kind).map(e => ({number: e.replica, kind: kindName(e.kind), variant: e.kind.variants[0], state: "failed", started_s: null}));
    const shown = [...known.replicas, ...lost], place = v => colours.ordered.indexOf(v);
    for (const r of shown.sort((a, b) => place(b.variant) - place(a.variant) || (a.kind < b.kind ? -1 : a.kind > b.kind ? 1 : a.number - b.number))) byKind.set(r.kind, [...(byKind.get(r.kind) || []), r]);
    const keep = new Set(shown.map(r => r.number));
    for (const number of tiles.keys()) if (!keep.has(number)) tiles.delete(number);
    const tile = r => {
      if (!tiles.has(r.number)) tiles.set(r.number, T.make("li", {}, T.make("b"), T.make("span")));
      const item = tiles.get(r.number);
      if (item.className !== r.state) item.className = r.state;
      T.say(item.firstChild, `#${r.number} `);
      T.say(item.lastChild, r.started_s === null ? "failed" : `${r.state === "ready" ? "" : r.state + " "}${T.span(now_s - r.started_s)}`);
      return item;
    };
    const order = [...byKind.keys()].join("\n") + shown.map(r => r.number).join(","), box = byId("replicas");
    if (box.dataset.order !== order) {
      box.dataset.order = order;
      box.replaceChildren(...[...byKind].map(([kind, rows]) => T.make("div", {class: "kind"}, T.make("h3", {}, T.make("span", {class: "key", style: {background: colours.of(rows[0].variant)}}), kind), T.make("ul", {class: "tiles", "aria-label": kind}, rows.map(tile)))));
      if (!shown.length) box.replaceChildren(T.make("p", {class: "note"}, "There are none."));
    } else shown.forEach(tile);
    const counts = ["ready", "pending", "draining", "failed"].map(s => [shown.filter(r => r.state === s).length, s === "pending" ? "starting" : s]).filter(([n]) => n);
    T.say(byId("replicas-note"), counts.map(([n, s]) => `${n} ${s}`).join(", "));
  };
  const kindName = k => `${k.variants.join("+")} @${k.shape.device === "cpu" ? `${k.shape.cores}c` : `${k.shape.inter_op}x${k.shape.intra_op} ${k.shape.device}`}${k.batch > 1 ? ` batch ${k.batch}${k.max_wait_s ? ` wait ${k.max_wait_s}s` : ""}` : ""}`;

  const row = (t_s, quiet, ...parts) => T.make("li", {class: quiet && "quiet"}, T.make("time", {}, T.time(t_s)), T.make("div", {}, parts));
  const part = (name, text) => text ? T.make("div", {class: name}, text) : null;
  /** Decisions, the newest first; those in a row that changed nothing are one. */
  const decisions = known => {
    const found = [], all = known.decisions;
    for (let n = all.length - 1; n >= 0; n--) {
      const d = all[n], quiet = d.status === "unchanged" && !d.bounds.length && !d.trouble, before = found.at(-1), shares = all[n - 1]?.deployment === d.deployment ? "other shares for " : "";
      if (quiet && before?.quiet && before.d.policy === d.policy) { before.times++; before.since_s = d.t_s; } else found.push({d, quiet, shares, times: 1, since_s: d.t_s});
    }
    const said = {applied: "", unchanged: "no change", advised: "would be ", conflict: "not done: ", refused: "refused: ", unknown: "no answer: ", abandoned: "abandoned: "};
    byId("decisions").replaceChildren(...found.slice(0, 100).map(({d, quiet, shares, times, since_s}) => row(d.t_s, quiet,
      T.make("div", {}, T.make("b", {}, d.status === "unchanged" ? said.unchanged : said[d.status] + shares + d.deployment), times > 1 ? T.make("span", {class: "why"}, `, ${times} times since ${T.time(since_s)}`) : null, T.make("span", {class: "why"}, ` · ${d.policy}`)),
      part("why", d.reason), ...d.bounds.map(b => part("bound", b)), part("trouble", d.trouble))));
    if (!found.length) byId("decisions").replaceChildren(T.make("li", {class: "quiet"}, T.make("span"), T.make("div", {class: "why"}, known.hello.operator ? "None was told yet." : "The operator's to see.")));
  };

  const events = known => byId("events").replaceChildren(...known.events.slice(-150).reverse().map(e => row(e.t_s, !LOSSES.includes(e.what) && !["pin", "pause"].includes(e.what) && (e.what !== "deployment" || e.shares),
    T.make("div", {}, T.make("b", {class: LOSSES.includes(e.what) && "alarm"}, e.what), e.replica === null ? "" : ` replica ${e.replica}, ${kindName(e.kind)}`, T.make("span", {class: "why"}, e.why ? ` · ${e.shares ? `version ${e.version}: other shares` : e.why}` : ""),
      e.what === "deployment" ? T.make("span", {class: "why"}, ` · ${e.policy || e.reason || "by hand"}`) : null))));

  return {figures, applications, replicas, decisions, events, LOSSES};
};

// Puts the page together: what comes is shown at once, and what does not come is said.
(() => {
  const {byId} = T, STALE_S = 4, SPANS = [[300, "5 min"], [900, "15 min"], [3600, "1 h"]];
  let application = "", minute = null, wasStale = false, drawing = false, fresh = {events: [], decisions: []};
  const stream = T.stream({
    onNews: (now, news) => {
      fresh.events.push(...news.events);
      fresh.decisions.push(...news.decisions);
      if (!drawing && !document.hidden) { drawing = true; requestAnimationFrame(draw); }
    },
    onToken: wrong => { byId("token-form").hidden = false; byId("main").hidden = true; T.say(byId("headline"), "Who asks?"); T.say(byId("token-note"), wrong ? "This token is not valid." : ""); byId("token").focus(); },
  });
  const {known} = stream, charts = T.charts(byId("chart"), byId("readout"), byId("spoken"));
  const choose = name => { application = application === name ? "" : name; byId("application").value = application; charts.choose({application}); lists.applications(known, application); };
  const lists = T.lists(byId, choose);

  const draw = () => {
    drawing = false;
    const names = Object.keys(known.hello.applications), pick = byId("application");
    byId("main").hidden = false;
    byId("token-form").hidden = true;
    byId("forget").hidden = !stream.hasToken();
    T.say(byId("name"), ` · ${known.hello.name}`);
    document.title = `${known.hello.name} · Tidal live`;
    byId("application-label").hidden = names.length < 2;
    if (pick.options.length !== names.length + 1) pick.replaceChildren(T.make("option", {value: ""}, "all applications"), ...names.map(a => T.make("option", {value: a}, a)));
    minute = lists.figures(known);
    charts.show(known);
    lists.applications(known, application);
    lists.replicas(known);
    if (fresh.decisions.length || !byId("decisions").firstChild) lists.decisions(known);
    if (fresh.events.length || !byId("events").firstChild) lists.events(known);
    const news = [...fresh.events.filter(e => lists.LOSSES.includes(e.what)).map(e => `replica ${e.replica} ${e.what}: ${e.why}`), ...fresh.decisions.filter(d => d.status !== "unchanged").map(d => `${d.policy}: ${d.deployment}`)];
    if (news.length) T.say(byId("spoken"), news.slice(-3).join(". "));
    fresh = {events: [], decisions: []};
    state();
  };

  /** The headline and the facts under it. */
  const state = () => {
    if (!known.hello) { if (known.trouble) T.say(byId("headline"), known.trouble); return; }
    const ago_s = known.heardAgo_s(), stale = ago_s > STALE_S, now_s = known.now_s(), scaler = known.autoscaler;
    document.body.classList.toggle("stale", stale);
    if (stale !== wasStale) T.say(byId("spoken"), stale ? "The cluster is silent; what is shown is old." : "The cluster is heard again.");
    wasStale = stale;
    T.say(byId("headline"), stale ? `No word from the cluster for ${T.span(ago_s)}.`
      : !known.replicas.some(r => r.state === "ready") ? "No replica is ready."
      : !minute?.settled ? "No requests in the last minute."
      : !minute.violated ? `All ${T.count(minute.settled, "request", "requests")} of the last minute were answered in time.`
      : `${T.percent(minute.violation_ratio)} of the last minute's requests were late or lost${minute.most ? `, most of them of ${minute.most}` : ""}.`);
    const facts = [[stale ? `last update ${T.span(ago_s)} ago${known.trouble ? `: ${known.trouble}` : ", trying again"}` : `updated ${T.span(ago_s)} ago`, stale, true], [`version ${known.version}, ${known.settled ? "settled" : "changing"}`, false]];
    if (known.hello.operator) {
      const silent_s = scaler ? now_s - scaler.at_s : 0, late = scaler && silent_s > 2 * scaler.interval_s + 3, mode = scaler && scaler.mode !== "act" ? ` (${scaler.mode})` : "";
      facts.push(scaler ? [late ? `no decision since ${T.span(silent_s)}; ${scaler.policy}${mode} decides every ${T.span(scaler.interval_s)}` : `${scaler.policy}${mode} decides every ${T.span(scaler.interval_s)}, last ${T.span(silent_s)} ago`, late] : ["no autoscaler has told of a decision", false]);
    }
    for (const [word, hold] of [["pinned", known.pin], ["paused", known.pause]]) if (hold && hold.until_s > now_s) facts.push([`${word} for another ${T.span(hold.until_s - now_s)}: ${hold.why}`, true]);
    if (known.restarts) facts.push([`the cluster process was restarted ${known.restarts > 1 ? `${known.restarts} times ` : ""}while you watched`, true]);
    const list = byId("facts");
    if (list.children.length !== facts.length) list.replaceChildren(...facts.map(([, , dot]) => T.make("li", {}, dot ? T.make("span", {class: "dot"}) : null, T.make("span"))));
    facts.forEach(([text, alarm], i) => { T.say(list.children[i].lastChild, text); list.children[i].classList.toggle("alarm", Boolean(alarm)); });
  };

  for (const [span_s, text] of SPANS) {
    const input = T.make("input", {type: "radio", name: "span", value: span_s, checked: span_s === 300});
    input.addEventListener("change", () => charts.choose({span_s}));
    byId("spans").append(T.make("label", {}, input, text));
  }
  byId("application").addEventListener("change", () => { application = byId("application").value; charts.choose({application}); lists.applications(known, application); });
  byId("token-form").addEventListener("submit", event => {
    event.preventDefault();
    stream.useToken(byId("token").value.trim());
    byId("token").value = "";
    T.say(byId("headline"), "Connecting …");
    stream.connect();
  });
  byId("forget").addEventListener("click", () => { stream.useToken(""); location.reload(); });
  document.addEventListener("visibilitychange", () => { if (!document.hidden && known.hello) draw(); });
  setInterval(() => { state(); if (known.hello && !document.hidden) lists.replicas(known); }, 1000);
  stream.connect();
})();

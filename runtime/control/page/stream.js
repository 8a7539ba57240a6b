// What is known of the cluster, kept up by the stream of the control API; it comes back by itself, and goes on where it was.
T.stream = ({onNews, onToken}) => {
  const SILENT_MS = 10000, LONGEST_MS = 8000, TEXTS = 500;
  const known = {hello: null, rows: [], events: [], decisions: [], replicas: [], trouble: "", heard_ms: 0, offset_s: 0, restarts: 0};
  let lastId = "", token = "", pause_ms = 1000, controller = null, waiting = null;
  try { token = sessionStorage.getItem("token") || ""; } catch { /* not allowed here: the token lives as long as the page */ }

  /** Time of the cluster's clock. */
  known.now_s = () => Date.now() / 1000 + known.offset_s;
  known.heardAgo_s = () => (Date.now() - known.heard_ms) / 1000;

  const take = (event, data) => {
    known.heard_ms = Date.now();
    known.trouble = "";
    pause_ms = 1000;
    if (event === "hello") {
      if (known.hello && known.hello.run !== data.run) known.restarts++;
      if (!known.hello || JSON.stringify(known.hello.columns) !== JSON.stringify(data.columns)) known.rows = [];
      known.at = new Map(data.columns.map(([measure, name], i) => [measure + "\n" + name, i]));
      Object.assign(known, {hello: data, replicas: [], autoscaler: null});
      return;
    }
    known.offset_s = data.now_s - Date.now() / 1000;
    data.rows.forEach((values, i) => known.rows.push({t_s: data.t_s[i], values}));
    known.rows.splice(0, known.rows.length - known.hello.rows_kept);
    const add = (name, fresh) => { known[name].push(...fresh); known[name].splice(0, known[name].length - TEXTS); };
    for (const e of data.events) if (e.what === "deployment") {
      const wanted = e.why.slice(e.why.indexOf(":") + 2);
      e.shares = wanted === known.wanted;  // the same replicas: only routes or thresholds differ
      known.wanted = wanted;
    }
    const first = known.events.length === 0 && known.decisions.length === 0;
    add("events", data.events);
    add("decisions", data.decisions);
    for (const name of ["version", "settled", "pin", "pause", "replicas", "autoscaler"]) if (name in data) known[name] = data[name];
    onNews(known, first ? {events: [], decisions: []} : data);
  };

  const read = async body => {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const {value, done} = await reader.read();
      if (done) return;
      text += value;
      for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
        const fields = Object.fromEntries(text.slice(0, end).split("\n").map(line => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]));
        take(fields.event, JSON.parse(fields.data));
        lastId = fields.id;
      }
    }
  };

  const connect = async () => {
    clearTimeout(waiting);
    controller?.abort();
    const mine = controller = new AbortController();
    try {
      const headers = {Accept: "text/event-stream"};
      if (token) headers.Authorization = `Bearer ${token}`;
      if (lastId) headers["Last-Event-ID"] = lastId;
      const response = await fetch("v1/live", {headers, signal: mine.signal, cache: "no-store", credentials: "omit"});
      if (response.status === 401) { onToken(Boolean(token)); return; }
      if (response.ok) await read(response.body);
      else known.trouble = (await response.json().catch(() => ({}))).error || `the control API answers ${response.status}`;
    } catch (error) {
      if (mine !== controller) return;
      if (!(error instanceof TypeError || error.name === "AbortError")) throw error;
    }
    if (mine !== controller) return;
    waiting = setTimeout(connect, pause_ms);
    pause_ms = Math.min(2 * pause_ms, LONGEST_MS);
  };

  const useToken = text => {
    token = text;
    lastId = "";
    try { text ? sessionStorage.setItem("token", text) : sessionStorage.removeItem("token"); } catch { /* as above */ }
  };
  setInterval(() => { if (known.heard_ms && Date.now() - known.heard_ms > SILENT_MS && pause_ms === 1000) connect(); }, 1000);
  return {connect, known, hasToken: () => Boolean(token), useToken};
};

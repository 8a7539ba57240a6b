// Which trace is shown, drawn when it is first looked at; light or dark; everything before it is printed.
(() => {
  const traces = [...document.querySelectorAll("article.trace")], tabs = [...document.querySelectorAll("#tabs [role=tab]")], drawn = new Set();
  const draw = i => { if (!drawn.has(i)) { drawn.add(i); drawTrace(i ? `t${i}-` : ""); } };
  const open = i => {
    traces.forEach((trace, j) => { trace.hidden = j !== i; });
    tabs.forEach((tab, j) => { tab.setAttribute("aria-selected", j === i); tab.tabIndex = j === i ? 0 : -1; });
    draw(i);
  };
  document.documentElement.classList.add("js");
  for (const button of document.querySelectorAll(".opens")) button.addEventListener("click", () => {
    open(+button.dataset.trace);
    document.getElementById("tabs").scrollIntoView();
  });
  tabs.forEach((tab, i) => tab.addEventListener("keydown", event => {
    const to = {ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: tabs.length - 1}[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = (to + tabs.length) % tabs.length;
    open(next);
    tabs[next].focus();
  }));
  if (tabs.length) document.getElementById("tabs").hidden = false;
  open(0);
  addEventListener("beforeprint", () => traces.forEach((trace, i) => { trace.hidden = false; draw(i); }));
  addEventListener("afterprint", () => open(Math.max(0, tabs.findIndex(tab => tab.getAttribute("aria-selected") === "true"))));

  const theme = document.getElementById("theme"), system = matchMedia("(prefers-color-scheme: dark)");
  const rule = [...document.styleSheets].flatMap(sheet => [...sheet.cssRules]).find(r => r.media && r.media.mediaText.includes("prefers-color-scheme"));
  let dark = system.matches;
  const paint = () => { rule.media.mediaText = dark ? "all" : "not all"; document.documentElement.style.colorScheme = dark ? "dark" : "light"; theme.textContent = dark ? "light" : "dark"; };
  theme.addEventListener("click", () => { dark = !dark; paint(); });
  theme.textContent = dark ? "light" : "dark";
  theme.hidden = false;
})();

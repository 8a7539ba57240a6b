"""The report as one page of HTML that needs nothing else: no network, no other file.

The results are embedded exactly as they stand in the JSON record; tables are made here, so that they can be read without
JavaScript, and charts are drawn by the scripts in ``page/``.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from reports.comparison import Comparison
from reports.html_tables import results_table, reward_cell, sensitivity_table
from reports.measures import REWARD
from reports.overview import Overview, overview, trace_of
from reports.verdict import Verdict, tied_for_best
from runtime import palette

PAGE = Path(__file__).parent / "page"
SCRIPTS = ("draw.js", "pareto.js", "differences.js", "windows.js", "timelines.js", "why.js", "main.js")


class Part(NamedTuple):
    """One trace of a report.

    Attributes:
        comparison: the numbers.
        results: the JSON record, as `reports.results.results` makes it.
        courses: what the timelines show, as `reports.courses.courses` makes it.
    """

    comparison: Comparison
    results: Mapping[str, Any]
    courses: Mapping[str, Any]

    @property
    def runs(self) -> str:
        """Windows and seeds, in words."""
        windows, seeds = len(self.comparison.windows), len(self.comparison.seeds)
        return (
            f"{windows} {'window' if windows == 1 else 'windows'} of {_duration(self.results['evaluation']['window_s'])}"
            f" × {seeds} {'seed' if seeds == 1 else 'seeds'}"
        )


def page(parts: Sequence[Part]) -> str:
    """The page: of one trace, or an overview of several with each of them behind it."""
    first, several = parts[0], len(parts) > 1
    said: Any = overview([p.comparison for p in parts]) if several else Verdict(**first.results["verdict"])
    facts = _facts(first.results, first.runs)
    return filled("page.html", {
        "title": html.escape(f"{first.results['scenario']['name']}: {', '.join(first.comparison.policies)}"),
        "scenario": html.escape(first.results["scenario"]["name"]),
        "headline": html.escape(said.headline),
        "evidence": html.escape(said.evidence),
        "facts": "".join(f"<li>{html.escape(fact)}</li>" for fact in (facts[1:] if several else facts)),
        "overview": _overview(parts, said) if several else "",
        "articles": "".join(_article(part, _at(i), several) for i, part in enumerate(parts)),
        "command": html.escape(first.results["command"]),
        "provenance": "" if several else _provenance(first.results),
        "script": "const drawTrace = AT => {\n" + "\n".join(map(_text, SCRIPTS)) + "\n};\n" + _text("traces.js"),
    })  # fmt: skip


def _at(i: int) -> str:
    """How the ids of a trace's elements begin."""
    return f"t{i}-" if i else ""


def _article(part: Part, at: str, several: bool) -> str:
    """One trace; `at` begins the ids of its elements."""
    comparison, results, courses = part
    said, name = results["verdict"], html.escape(trace_of(comparison))
    words = html.escape(f"{said['headline']} {said['evidence']}")
    intro = f'<h2 class="name">{name}</h2><p class="evidence">{words}</p>'
    return Template(_text("trace.html")).substitute({
        "at": at,
        "trace": name,
        "intro": intro if several else "",
        "findings": _list("findings", said["findings"]),
        "caveats": _list("caveats", said["caveats"]),
        "runs": html.escape(part.runs),
        "table": results_table(comparison, at),
        "own_weight": f"{comparison.weights.slo:g}",
        "sensitivity": sensitivity_table(comparison),
        "timeline_note": html.escape(courses["note"]),
        "why_note": html.escape(courses["why_note"]),
        "own_provenance": _provenance(results) if several else "",
        "data": embed(
            {"results": results, "courses": courses, "order": comparison.ranking(REWARD), "reference": comparison.reference}
        ),
    })  # fmt: skip


def _overview(parts: Sequence[Part], said: Overview) -> str:
    """Rewards by policy and trace; a trace's name opens it."""
    tied = [tied_for_best(p.comparison, REWARD) for p in parts]
    orders = [p.comparison.ranking(REWARD) for p in parts]
    ranks = {policy: [order.index(policy) for order in orders] for policy in orders[0]}
    names = [html.escape(trace_of(p.comparison)) for p in parts]
    heads = "".join(
        f'<th scope="col"><button type="button" class="opens" data-trace="{i}">{name}</button>'
        f"<small>{html.escape(part.results['evaluation']['load'].partition(', ')[2])}</small></th>"
        for i, (name, part) in enumerate(zip(names, parts))
    )
    body = "".join(
        f'<tr><th scope="row">{html.escape(policy)}</th>'
        + "".join(reward_cell(p.comparison, policy, policy in best) for p, best in zip(parts, tied))
        + "</tr>"
        for policy in sorted(parts[0].comparison.policies, key=lambda p: sum(ranks[p]))
    )
    tabs = "".join(
        f'<button type="button" role="tab" class="plain opens" data-trace="{i}" aria-controls="{_at(i)}trace">{name}</button>'
        for i, name in enumerate(names)
    )
    return (
        f'<section id="overview">{_list("findings", said.findings)}<h2>Reward, trace by trace</h2>'
        '<p class="note">Bold: the best of a trace and all that are not told apart from it. Under each: 95 % interval, '
        "violations, cost. Traces are never pooled.</p>"
        '<div class="scroll" tabindex="0" role="region" aria-label="Rewards by trace">'
        f'<table><thead><tr><th scope="col">Policy</th>{heads}</tr></thead><tbody>{body}</tbody></table></div></section>'
        f'<nav id="tabs" role="tablist" aria-label="Trace" hidden>{tabs}</nav>'
    )


def filled(name: str, fields: Mapping[str, str]) -> str:
    """A template of `PAGE` with these fields, and the style that all of them have."""
    return Template(_text(name)).substitute(fields, css=palette.CSS + _text("page.css"))


def publish(text: str, path: Path) -> None:
    """Writes a page, and tells where it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    print(f"the page, for any browser: {path}")


def framed(name: str, fields: Mapping[str, str]) -> str:
    """A page without scripts: the template `name`.html in the frame that these share, with `name`.css where there is one."""
    own = _text(f"{name}.css") if (PAGE / f"{name}.css").exists() else ""
    body = Template(_text(f"{name}.html")).substitute(fields)
    return Template(_text("frame.html")).substitute(fields, body=body, css=palette.CSS + _text("page.css") + own)


def _text(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8")


def made_by(document: Mapping[str, Any]) -> str:
    """The machine and the versions of a JSON record, in a line."""
    machine, versions = document["machine"], document["versions"]
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    return html.escape(f"{machine['processor']}, {machine['cores']} cores, {machine['system']}; {told}")


def embed(data: Mapping[str, Any]) -> str:
    """JSON that cannot end its script element."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False).replace("<", "\\u003c")


def _facts(results: Mapping[str, Any], runs: str) -> list[str]:
    evaluation = results["evaluation"]
    return [
        f"load: {evaluation['load']}",
        runs,
        f"interval {results['scenario']['interval_s']:g} s",
        ", ".join(
            f"SLO {slo_s:g} s{f' ({name})' if len(results['scenario']['slo_s']) > 1 else ''}"
            for name, slo_s in list(results["scenario"]["slo_s"].items())[:4]
        ),
        *([f"made {evaluation['made']}"] if evaluation.get("made") else []),
    ]


def _list(name: str, sentences: Sequence[str]) -> str:
    return f'<ul class="{name}">{"".join(f"<li>{html.escape(s)}</li>" for s in sentences)}</ul>' if sentences else ""


def _provenance(results: Mapping[str, Any]) -> str:
    scenario, evaluation, machine = results["scenario"], results["evaluation"], results["machine"]
    weights = ", ".join(f"{name} {value:g}" for name, value in scenario["weights"].items())
    rows = {
        "Scenario": f"{scenario['name']}, digest {scenario['digest'][:16]}",
        "Source": scenario["source"],
        "Reward weights": weights,
        "Load": evaluation["load"],
        "Windows": ", ".join(f"{w['trace']} from {w['start_s']:g} s" for w in evaluation["windows"])
        + f", {evaluation['window_s']:g} s each",
        "Seeds": ", ".join(map(str, evaluation["seeds"])),
        "Intervals": f"95 %, {evaluation['bootstrap']['resamples']} bootstrap draws of whole windows within their trace, "
        f"expanded percentiles, generator seed {evaluation['bootstrap']['seed']}; none widened for the number of comparisons",
        "Versions": ", ".join(f"{name} {version}" for name, version in results["versions"].items()),
        "Machine": f"{machine['processor']}, {machine['cores']} cores, {machine['system']}",
    }
    return f'<dl class="keys">{"".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in rows.items())}</dl>'


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:g} h" if seconds >= 3600 else f"{seconds / 60:g} min"

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
from typing import Any

from reports.comparison import Comparison, slo_figure
from reports.measures import ACCURACY, COST, DECISION_P50, DECISION_P99, LATENCY_P99, REWARD, VIOLATIONS, Measure
from reports.table import calibration
from reports.verdict import tied_for_best
from runtime import palette

PAGE = Path(__file__).parent / "page"
SCRIPTS = ("draw.js", "pareto.js", "differences.js", "windows.js", "timelines.js", "why.js", "main.js")
COLUMNS = (REWARD, VIOLATIONS, ACCURACY, COST, LATENCY_P99)


def page(comparison: Comparison, results: Mapping[str, Any], courses: Mapping[str, Any]) -> str:
    """The page.

    Args:
        comparison: the numbers.
        results: the JSON record, as `reports.results.results` makes it.
        courses: what the timelines show, as `reports.courses.courses` makes it.
    """
    said, scenario = results["verdict"], results["scenario"]
    windows, seeds = len(comparison.windows), len(comparison.seeds)
    runs = (
        f"{windows} {'window' if windows == 1 else 'windows'} of {_duration(results['evaluation']['window_s'])}"
        f" × {seeds} {'seed' if seeds == 1 else 'seeds'}"
    )
    fields = {
        "title": html.escape(f"{scenario['name']}: {', '.join(comparison.policies)}"),
        "scenario": html.escape(scenario["name"]),
        "headline": html.escape(said["headline"]),
        "evidence": html.escape(said["evidence"]),
        "facts": "".join(f"<li>{html.escape(fact)}</li>" for fact in _facts(results, runs)),
        "findings": _list("findings", said["findings"]),
        "caveats": _list("caveats", said["caveats"]),
        "runs": html.escape(runs),
        "table": _table(comparison),
        "own_weight": f"{comparison.weights.slo:g}",
        "sensitivity": _sensitivity(comparison),
        "timeline_note": html.escape(courses["note"]),
        "why_note": html.escape(courses["why_note"]),
        "command": html.escape(results["command"]),
        "provenance": _provenance(results),
        "data": embed(
            {"results": results, "courses": courses, "order": comparison.ranking(REWARD), "reference": comparison.reference}
        ),
        "script": "\n".join(map(_text, SCRIPTS)),
    }
    return filled("page.html", fields)


def filled(name: str, fields: Mapping[str, str]) -> str:
    """A template of `PAGE` with these fields, and the style that all of them have."""
    return Template(_text(name)).substitute(fields, css=palette.CSS + _text("page.css"))


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


def _table(comparison: Comparison) -> str:
    several = len(comparison.policies) > 1
    heads = ['<th scope="col"><button type="button">Policy</button></th>']
    heads += [f'<th scope="col"><button type="button">{m.label}</button><small>{_unit(m)}</small></th>' for m in COLUMNS]
    if several:
        heads.append(f'<th scope="col">Reward against<small>{html.escape(comparison.reference)}</small></th>')
    heads.append('<th scope="col"><button type="button">Decision time</button><small>p50, p99</small></th>')
    ends = {m.name: _ends(comparison, m) for m in COLUMNS}
    best = {m.name: set(tied_for_best(comparison, m)) if several else set() for m in COLUMNS}
    body = []
    for policy in comparison.ranking(REWARD):
        cells = [f'<th scope="row">{html.escape(policy)}<small>{calibration(comparison, policy)}</small></th>']
        cells += [_cell(comparison, m, policy, policy in best[m.name], ends[m.name]) for m in COLUMNS]
        if several:
            cells.append(_against(comparison, policy))
        fast, slow = (comparison.estimate(m.name, policy).value for m in (DECISION_P50, DECISION_P99))
        cells.append(
            f'<td data-value="{fast!r}"><span class="value">{DECISION_P50.show(fast)}</span>'
            f"<small>{DECISION_P99.show(slow)}</small></td>"
        )
        body.append(f"<tr>{''.join(cells)}</tr>")
    return f'<table id="results"><thead><tr>{"".join(heads)}</tr></thead><tbody>{"".join(body)}</tbody></table>'


def _unit(measure: Measure) -> str:
    return {"violations": "% of requests", "cost": "% of budget", "latency p99": "ms"}.get(measure.name, measure.shown_unit)


def _cell(comparison: Comparison, measure: Measure, policy: str, best: bool, ends: tuple[float, float]) -> str:
    found = comparison.estimate(measure.name, policy)
    low, high = ends

    def at(value: float) -> float:
        return round(4 + 92 * (value - low) / (high - low), 1) if high > low else 50.0

    drawn = '<line class="track" x1="4" x2="96" y1="5" y2="5"/>'
    if found.low <= found.high:
        drawn += f'<line class="whisker" x1="{at(found.low)}" x2="{at(found.high)}" y1="5" y2="5"/>'
    drawn += f'<circle class="dot" cx="{at(found.value)}" cy="5" r="3"/>' if found.value == found.value else ""
    middle = comparison.estimate(measure.name, policy, "iqm")
    title = f"interquartile mean {measure.show(middle.value)} {measure.interval(middle.low, middle.high)}".strip()
    return (
        f'<td{" class=best" if best else ""} data-value="{found.value!r}" title="{title}">'
        f'<span class="value">{measure.show(found.value, unit=False)}</span>'
        f"<small>{measure.interval(found.low, found.high) or '&nbsp;'}</small>"
        f'<svg width="100" height="10" viewBox="0 0 100 10" aria-hidden="true">{drawn}</svg></td>'
    )


def _ends(comparison: Comparison, measure: Measure) -> tuple[float, float]:
    found = [comparison.estimate(measure.name, p) for p in comparison.policies]
    values = [v for e in found for v in (e.value, e.low, e.high) if v == v]
    return (min(values), max(values)) if values else (0.0, 0.0)


def _against(comparison: Comparison, policy: str) -> str:
    if policy == comparison.reference:
        return "<td><small>reference</small></td>"
    gap = comparison.estimate(REWARD.name, policy, "paired difference", comparison.reference)
    wins = comparison.estimate(REWARD.name, policy, "probability of improvement", comparison.reference)
    mood = ("better" if gap.value > 0 else "worse") if gap.excludes_zero else "level"
    return (
        f'<td><span class="value {mood}">{REWARD.show(gap.value, sign=True)}</span>'
        f"<small>{REWARD.interval(gap.low, gap.high, sign=True)}</small>"
        f"<small>better in {100 * wins.value:.0f} %</small></td>"
    )


def _sensitivity(comparison: Comparison) -> str:
    weights, several = comparison.slo_weights, len(comparison.policies) > 1
    best = {w: set(tied_for_best(comparison, REWARD, slo_figure(w)) if several else ()) for w in weights}
    ranks = {w: comparison.ranking(REWARD, slo_figure(w)) for w in weights}
    own = {comparison.weights.slo: "<small>of the scenario</small>"}
    heads = "".join(f'<th scope="col">w_slo {w:g}{own.get(w, "")}</th>' for w in weights)
    body = ""
    for policy in comparison.ranking(REWARD):
        cells = ""
        for w in weights:
            found = comparison.estimate(slo_figure(w), policy)
            cells += (
                f'<td{" class=best" if policy in best[w] else ""}><span class="value">{REWARD.show(found.value)}</span>'
                f"<small>{_ordinal(ranks[w].index(policy) + 1)} {REWARD.interval(found.low, found.high)}</small></td>"
            )
        body += f'<tr><th scope="row">{html.escape(policy)}</th>{cells}</tr>'
    return f'<table><thead><tr><th scope="col">Policy</th>{heads}</tr></thead><tbody>{body}</tbody></table>'


def _ordinal(rank: int) -> str:
    return f"{rank}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(rank if rank < 20 else rank % 10, 'th') }"


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

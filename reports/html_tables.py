"""The tables of the report as HTML, made here so that they can be read without scripts."""

from __future__ import annotations

import html

from reports.comparison import Comparison, slo_figure
from reports.measures import ACCURACY, COST, DECISION_P50, DECISION_P99, LATENCY_P99, REWARD, VIOLATIONS, Measure
from reports.table import calibration
from reports.verdict import tied_for_best


def results_table(comparison: Comparison, at: str) -> str:
    """Every measure of every policy with its interval, best reward first. `at` begins its id."""
    several, columns = len(comparison.policies) > 1, (REWARD, VIOLATIONS, ACCURACY, comparison.cost, LATENCY_P99)
    heads = ['<th scope="col"><button type="button">Policy</button></th>']
    heads += [f'<th scope="col"><button type="button">{m.label}</button><small>{_unit(m)}</small></th>' for m in columns]
    if several:
        heads.append(f'<th scope="col">Reward against<small>{html.escape(comparison.reference)}</small></th>')
    heads.append('<th scope="col"><button type="button">Decision time</button><small>p50, p99</small></th>')
    ends = {m.name: _ends(comparison, m) for m in columns}
    best = {m.name: set(tied_for_best(comparison, m)) if several else set() for m in columns}
    body = []
    for policy in comparison.ranking(REWARD):
        cells = [f'<th scope="row">{html.escape(policy)}<small>{calibration(comparison, policy)}</small></th>']
        cells += [_cell(comparison, m, policy, policy in best[m.name], ends[m.name]) for m in columns]
        if several:
            cells.append(_against(comparison, policy))
        fast, slow = (comparison.estimate(m.name, policy).value for m in (DECISION_P50, DECISION_P99))
        cells.append(
            f'<td data-value="{fast!r}"><span class="value">{DECISION_P50.show(fast)}</span>'
            f"<small>{DECISION_P99.show(slow)}</small></td>"
        )
        body.append(f"<tr>{''.join(cells)}</tr>")
    return f'<table id="{at}results"><thead><tr>{"".join(heads)}</tr></thead><tbody>{"".join(body)}</tbody></table>'


def _unit(measure: Measure) -> str:
    return {VIOLATIONS: "% of requests", COST: "% of budget"}.get(measure, measure.shown_unit)


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


def sensitivity_table(comparison: Comparison) -> str:
    """Rewards at other weights of violations, and the ranks that they give."""
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


def reward_cell(comparison: Comparison, policy: str, best: bool) -> str:
    """One policy on one trace of an overview: reward with its interval, violations, cost."""
    reward, violations, cost = (comparison.estimate(m.name, policy) for m in (REWARD, VIOLATIONS, comparison.cost))
    return (
        f'<td{" class=best" if best else ""}><span class="value">{REWARD.show(reward.value)}</span>'
        f"<small>{REWARD.interval(reward.low, reward.high) or '&nbsp;'}</small>"
        f"<small>{VIOLATIONS.show(violations.value)}, {comparison.cost.show(cost.value)}</small></td>"
    )

"""The verdict in words: who is ahead on what, by how much, and how sure that is.

A policy is said to be ahead only where the interval of the paired difference excludes zero. Each interval stands for itself;
none is widened for the number of comparisons.
"""

from __future__ import annotations

from dataclasses import dataclass

from baselines.settings_file import OUTDATED
from reports.comparison import Comparison, slo_figure
from reports.measures import ACCURACY, COST, REWARD, VIOLATIONS, Measure

MOST_NAMED = 3  # policies in one sentence
FEW_WINDOWS = 6  # below, bootstrap intervals are narrower than they say, whatever the correction


@dataclass(frozen=True)
class Verdict:
    """Sentences.

    Attributes:
        headline: who is ahead on reward, without numbers.
        evidence: the numbers behind it.
        findings: violations, cost, trade-offs, the weight of violations.
        caveats: what a reader must know before believing it.
    """

    headline: str
    evidence: str
    findings: tuple[str, ...]
    caveats: tuple[str, ...]


def verdict(comparison: Comparison) -> Verdict:
    """Says what the numbers say, and no more."""
    if len(comparison.policies) == 1:
        alone = f"{comparison.policies[0]}, with nothing to compare it with."
        return Verdict(alone, _alone(comparison), (), _caveats(comparison))
    findings = [
        " ".join(_on(comparison, measure, word))
        for measure, word in (
            (VIOLATIONS, "has the fewest violations"), (comparison.cost, "costs least"), (ACCURACY, "is most accurate"))
    ]
    findings += [*_dominated(comparison), _sensitivity(comparison)]
    return Verdict(*_on(comparison, REWARD, "earns the most reward"), tuple(findings), _caveats(comparison))


def tied_for_best(comparison: Comparison, measure: Measure, figure: str = "") -> list[str]:
    """The best policy, and after it those whose paired difference from it is not told from zero, best first."""
    figure = figure or measure.name
    best, *others = comparison.ranking(measure, figure)
    return [best, *(p for p in others if not comparison.estimate(figure, best, "paired difference", p).excludes_zero)]


def _alone(comparison: Comparison) -> str:
    policy = comparison.policies[0]
    parts = [f"{m.name} {_with_interval(comparison, m, policy)}" for m in (REWARD, VIOLATIONS, ACCURACY, comparison.cost)]
    return f"{', '.join(parts).capitalize()}."


def _on(comparison: Comparison, measure: Measure, claim: str) -> tuple[str, str]:
    """A claim, and its numbers: the best, and how far the others are behind it, those that are not told apart first."""
    best, *others = comparison.ranking(measure)
    own = f"{measure.label} {_with_interval(comparison, measure, best)}"
    if all(comparison.estimate(measure.name, best, "paired difference", p).value == 0 for p in others):
        return f"On {measure.name} all are equal.", f"{own}."
    tied = tied_for_best(comparison, measure)[1:]
    behind = next((p for p in others if p not in tied), None)
    if not tied:
        return (
            f"{best} {claim}.",
            f"{own}, {_ahead(comparison, measure, best, others[0])}{', the next' if others[1:] else ''}.",
        )
    shown = ", ".join(f"{p} {_behind(comparison, measure, p, best)}" for p in tied[:MOST_NAMED])
    rest = f"; told apart from {behind}, {_behind(comparison, measure, behind, best)}" if behind else ""
    if not behind:
        return (
            f"On {measure.name} no policy is told apart from the best, {best}.",
            f"{own}; against it {shown}{_points(measure)}.",
        )
    return f"{best} {claim}, but is not told apart from {_some(tied)}.", f"{own}; against it {shown}{_points(measure)}{rest}."


def _ahead(comparison: Comparison, measure: Measure, best: str, other: str) -> str:
    """'0.021 [0.015, 0.027] more than hpa'."""
    gap = comparison.estimate(measure.name, best, "paired difference", other)
    low, high = sorted((abs(gap.low), abs(gap.high)))
    size = f"{measure.show(abs(gap.value), unit=False)} {measure.interval(low, high)}{_points(measure)}"
    return f"{size} {'more' if gap.value > 0 else 'less'} than {other}"


def _behind(comparison: Comparison, measure: Measure, policy: str, best: str) -> str:
    """'−0.021 [−0.027, +0.001]'."""
    gap = comparison.estimate(measure.name, policy, "paired difference", best)
    return f"{measure.show(gap.value, sign=True, unit=False)} {measure.interval(gap.low, gap.high, sign=True)}".strip()


def _points(measure: Measure) -> str:
    return {"ratio": " points", "": ""}.get(measure.unit, f" {measure.shown_unit}")


def _with_interval(comparison: Comparison, measure: Measure, policy: str) -> str:
    found = comparison.estimate(measure.name, policy)
    return f"{measure.show(found.value)} {measure.interval(found.low, found.high)}".strip()


def _dominated(comparison: Comparison) -> list[str]:
    """Policies that another beats on violations, accuracy and cost alike, or ties on some and beats on the rest."""
    sentences = []
    for policy in comparison.policies:
        for peer in comparison.ranking(REWARD):
            if peer == policy:
                continue
            gaps = [(m, comparison.estimate(m.name, peer, "paired difference", policy)) for m in (VIOLATIONS, ACCURACY, COST)]
            if all(m.better * g.value >= 0 for m, g in gaps) and any(g.excludes_zero for _, g in gaps):
                better = [m.name for m, g in gaps if g.excludes_zero]
                sentences.append(f"{policy} is dominated by {peer}: worse on {_list(better)}, and better on nothing.")
                break
    return sentences


def _sensitivity(comparison: Comparison) -> str:
    """How the ranking moves with the weight of violations."""
    leaders = {w: tied_for_best(comparison, REWARD, slo_figure(w)) for w in comparison.slo_weights}
    first = {w: tied[0] for w, tied in leaders.items()}
    span = f"w_slo {comparison.slo_weights[0]:g} to {comparison.slo_weights[-1]:g}"
    if len(set(first.values())) == 1:
        policy = next(iter(first.values()))
        ties = [w for w, tied in leaders.items() if len(tied) > 1]
        note = f" (not told apart from the next at {', '.join(f'{w:g}' for w in ties)})" if ties else ""
        return f"Whatever the price of a violation, from {span}, {policy} is first{note}."
    parts: list[tuple[list[float], str]] = []
    for weight, tied in leaders.items():
        words = tied[0] if len(tied) == 1 else f"{tied[0]} (not told apart from {_some(tied[1:])})"
        if parts and parts[-1][1] == words:
            parts[-1][0].append(weight)
        else:
            parts.append(([weight], words))
    told = "; ".join(f"at w_slo {', '.join(f'{w:g}' for w in weights)} {words}" for weights, words in parts)
    return f"The leader hangs on the price of a violation: {told}."


def _caveats(comparison: Comparison) -> tuple[str, ...]:
    caveats = list(comparison.notes)
    windows, traces = len(comparison.windows), comparison.runs["trace"].nunique()
    if windows == traces:
        caveats.append(
            "One window per trace: intervals, if any, tell of the randomness of requests, not of other hours of load."
        )
    elif windows - traces + 1 < 3:
        caveats.append(f"Only {windows} windows: too few for intervals; use 8 or more.")
    elif windows - traces + 1 < FEW_WINDOWS:
        caveats.append(f"Only {windows} windows: the intervals cover less than 95 % (3 windows 75 %, 4 88 %); use 8 or more.")
    plain = [p for p in comparison.policies if comparison.calibrated(p) is False]
    if plain:
        caveats.append(
            f"{_list(plain)} {'runs' if len(plain) == 1 else 'run'} with uncalibrated settings: "
            "not a comparison with the method at its best."
        )
    outdated = [p for p in comparison.policies if comparison.calibrated(p) == OUTDATED]
    if outdated:
        caveats.append(
            f"{_list(outdated)} {'runs' if len(outdated) == 1 else 'run'} with settings that were calibrated for another form "
            "of the scenario; calibrate again (evaluate.py --calibrate)."
        )
    if comparison.left_out:
        caveats.append(
            f"Episodes left out: {comparison.left_out}; the evaluation was interrupted before every policy had "
            "played their window and seed."
        )
    return tuple(caveats)


def _list(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _some(words: list[str]) -> str:
    """The first few, and how many more."""
    more = len(words) - MOST_NAMED
    return _list(words) if more <= 0 else _list([*words[:MOST_NAMED], f"{more} more"])

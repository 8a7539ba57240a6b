"""Several traces in one report: who earns most on each. Traces are never pooled; each keeps its own windows and intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.comparison import Comparison
from reports.measures import REWARD, VIOLATIONS
from reports.verdict import tied_for_best


@dataclass(frozen=True)
class Overview:
    """Sentences over traces.

    Attributes:
        headline: who is among the best on how many traces.
        evidence: which trace is whose, and by how much.
        findings: where most is violated.
    """

    headline: str
    evidence: str
    findings: tuple[str, ...]


def overview(comparisons: Sequence[Comparison]) -> Overview:
    """Says what the traces say one by one, and no more."""
    tied = {trace_of(c): tied_for_best(c, REWARD) for c in comparisons}
    count = len(comparisons)
    evidence = "; ".join(_one(c, tied[trace_of(c)]) for c in comparisons) + "."
    often = {p: sum(p in names for names in tied.values()) for p in comparisons[0].policies}
    most = max(often.values())
    leaders = [p for p in often if often[p] == most]
    held = f"all {count}" if most == count else f"{most} of {count}"
    if all(names == leaders[:1] for names in tied.values()):
        headline = f"{leaders[0]} earns the most reward on all {count} traces."
    else:
        verb = "is" if len(leaders) == 1 else "are"
        headline = f"{_list(leaders)} {verb} best, or not told apart from the best, on {held} traces."
    hardest = max(comparisons, key=lambda c: min(c.estimate(VIOLATIONS.name, p).value for p in c.policies))
    fewest = min(hardest.policies, key=lambda p: hardest.estimate(VIOLATIONS.name, p).value)
    least = VIOLATIONS.show(hardest.estimate(VIOLATIONS.name, fewest).value)
    hard = f"The hardest trace is {trace_of(hardest)}: the fewest violations there are {least}, of {fewest}."
    return Overview(headline, evidence, (hard,))


def trace_of(comparison: Comparison) -> str:
    """The one trace of a comparison."""
    return str(comparison.runs["trace"].iloc[0])


def _one(comparison: Comparison, tied: Sequence[str]) -> str:
    best, *others = tied
    value = REWARD.show(comparison.estimate(REWARD.name, best).value)
    return f"{trace_of(comparison)}: {best} {value}" + (f" (not told apart from {', '.join(others[:3])})" if others else "")


def _list(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"

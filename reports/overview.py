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
        headline: who earns most on how many traces.
        evidence: which trace is whose, and by how much.
        findings: who is never told apart from the best, and where most is violated.
    """

    headline: str
    evidence: str
    findings: tuple[str, ...]


def overview(comparisons: Sequence[Comparison]) -> Overview:
    """Says what the traces say one by one, and no more."""
    tied = {trace_of(c): tied_for_best(c, REWARD) for c in comparisons}
    firsts = [names[0] for names in tied.values()]
    leader = max(dict.fromkeys(firsts), key=firsts.count)
    count = len(comparisons)
    held = f"{firsts.count(leader)} of {count}" if firsts.count(leader) < count else f"all {count}"
    headline = f"{leader} earns the most reward on {held} traces."
    evidence = "; ".join(_one(c, tied[trace_of(c)]) for c in comparisons) + "."
    safe = [p for p in comparisons[0].policies if all(p in names for names in tied.values())]
    findings = []
    if safe:
        findings.append(f"On no trace told apart from the best: {', '.join(safe)}.")
    hardest = max(comparisons, key=lambda c: min(c.estimate(VIOLATIONS.name, p).value for p in c.policies))
    fewest = min(hardest.policies, key=lambda p: hardest.estimate(VIOLATIONS.name, p).value)
    least = VIOLATIONS.show(hardest.estimate(VIOLATIONS.name, fewest).value)
    findings.append(f"The hardest trace is {trace_of(hardest)}: the fewest violations there are {least}, of {fewest}.")
    return Overview(headline, evidence, tuple(findings))


def trace_of(comparison: Comparison) -> str:
    """The one trace of a comparison."""
    return str(comparison.runs["trace"].iloc[0])


def _one(comparison: Comparison, tied: Sequence[str]) -> str:
    best, *others = tied
    value = REWARD.show(comparison.estimate(REWARD.name, best).value)
    return f"{trace_of(comparison)}: {best} {value}" + (f" (not told apart from {', '.join(others[:3])})" if others else "")

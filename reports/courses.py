"""What the timelines of a page show: which windows, at which resolution, within a budget of bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from envs.contract import CPU
from envs.episode import Episode
from envs.scenario import Scenario
from reports.comparison import Comparison
from reports.series import decisions, timeline, variant_order

MOST_WINDOWS = 12
MOST_NUMBERS = 240_000  # about 1.2 MB of JSON
MOST_DECISIONS = 5000  # about 0.8 MB


def courses(comparison: Comparison, episodes: Sequence[Episode], scenario: Scenario, traces: int = 1) -> dict[str, Any]:
    """The course of every policy on the windows shown, first seed; text that comes again is stored once, in ``texts``.

    Args:
        comparison: the numbers.
        episodes: all that was played.
        scenario: what was played.
        traces: how many share the page, and its bytes.
    """
    windows, seed = _windows(comparison), comparison.seeds[0]
    shown = {(e.policy, e.trace, e.start_s): e for e in episodes if e.seed == seed}
    chosen = [
        [shown[p, trace, start_s] for p in comparison.policies]
        for trace, start_s in windows
        if all((p, trace, start_s) in shown for p in comparison.policies)
    ]
    played = [e for row in chosen for e in row]
    variants = variant_order(scenario, played)
    columns = 12 + 3 * len(variants)
    most_points = max(60, MOST_NUMBERS // max(columns * len(played) * traces, 1))
    most_rows = max(20, MOST_DECISIONS // max(len(played) * traces, 1))
    texts: dict[str, int] = {}
    found, folded, kept, asked = [], 1, 0, 0
    for row in chosen:
        by_policy = {}
        for episode in row:
            course = timeline(episode, variants, scenario.interval_s, most_points)
            rows = decisions(episode, most_rows, scenario.initial_deployment)
            folded, kept, asked = (
                max(folded, course["per_point"]),
                kept + sum(r["held"] for r in rows),
                asked + len(episode.decisions),
            )
            for r in rows:
                for name in ("change", "deployment", "reason", "notes"):
                    r[name] = texts.setdefault(r[name], len(texts))
            by_policy[episode.policy] = {**course, "decisions": rows}
        found.append({"trace": row[0].trace, "start_s": row[0].start_s, "policies": by_policy})
    return {
        "windows": found,
        "variants": variants,
        "texts": list(texts),
        "seed": seed,
        "interval_s": scenario.interval_s,
        "chain": any(len(a.services) > 1 for a in scenario.applications.values()),
        "unit": "cores" if set(scenario.devices) == {CPU} else "devices",
        "budget": sum(d.budget for d in scenario.devices.values()),
        "note": _note(comparison, len(chosen), seed, folded),
        "why_note": _why_note(kept, asked),
    }


def _windows(comparison: Comparison) -> list[tuple[str, float]]:
    """All windows, or `MOST_WINDOWS` spread evenly with the one of most violations among them."""
    windows = list(comparison.windows.itertuples(index=False, name=None))
    if len(windows) <= MOST_WINDOWS:
        return windows
    violations = comparison.runs.groupby(["trace", "start_s"])["violation_ratio"].mean()
    worst = windows[int(np.argmax([violations[w] for w in windows]))]
    for even in (MOST_WINDOWS, MOST_WINDOWS - 1):
        shown = {windows[round(i * (len(windows) - 1) / (even - 1))] for i in range(even)} | {worst}
        if len(shown) <= MOST_WINDOWS:
            break
    return sorted(shown)


def _note(comparison: Comparison, shown: int, seed: int, folded: int) -> str:
    parts = [f"Simulated truth, not the scraped view of the policies; seed {seed}. A latency of 8 SLOs stands for 8 or more."]
    if shown < len(comparison.windows):
        parts.append(f"{shown} of {len(comparison.windows)} windows are shown, the one with most violations among them.")
    if folded > 1:
        parts.append(
            f"One point is up to {folded} intervals: latencies and queues are the highest of them, "
            "violations the share of all their requests, everything else their mean."
        )
    return " ".join(parts)


def _why_note(kept: int, asked: int) -> str:
    text = "What each policy met, what it changed and why. Decisions in a row that changed nothing are folded into one."
    if kept >= asked:
        return text
    return f"{text} To keep the page small {asked - kept} of {asked} decisions are left out, those that changed nothing first."

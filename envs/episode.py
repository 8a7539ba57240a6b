"""One policy on one stretch of load: `run_episode` plays it in the simulated cluster and keeps what a report needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd


@dataclass
class Episode:
    """What happened, un-smoothed (the simulator's truth, not the policy's scraped view).

    Attributes:
        policy, scenario, trace: names.
        seed: of the randomness; the same seed means the same requests and noise for every policy.
        start_s: where the window begins in the trace.
        intervals: one row per interval, columns ``t_s`` (start), ``offered_rps``, ``settled``, ``violation_ratio``,
            ``late_ratio``, ``rejected_ratio``, ``dropped_ratio``, ``failed_ratio``, ``accuracy``, ``cost``, ``change``, ``reward``,
            ``p50_s``, ``p95_s``, ``p99_s``, ``queue``, ``capacity_rps`` (of ready replicas), ``held_units``.
        replicas: long table ``t_s, kind, variant, state ("ready", "pending", "draining"), count, units, capacity_rps``,
            at the end of each interval, only rows with count > 0.
        decisions: one row per decision, ``t_s, deployment, reason, decision_s`` (wall time), ``notes`` (what the envelope
            changed, "" for nothing) and one column ``detail_<name>`` per number that the policy gave.
        totals: ``settled, good, late, rejected, dropped, failed`` (whole numbers), ``violation_ratio``, ``accuracy``,
            ``cost``, ``change``, ``reward`` (mean per interval), ``p50_s, p95_s, p99_s`` (over all answers), ``decision_p50_s``,
            ``decision_p99_s``.
    """

    policy: str
    scenario: str
    trace: str
    seed: int
    start_s: float
    intervals: pd.DataFrame
    replicas: pd.DataFrame
    decisions: pd.DataFrame
    totals: dict[str, float]
    meta: dict[str, Any] = field(default_factory=dict)

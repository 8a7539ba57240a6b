"""One policy on one stretch of load: `run_episode` plays it in the simulated cluster and keeps what a report needs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from envs import state as st
from envs.cluster import SimulatedCluster
from envs.contract import Policy, ReplicaKind
from envs.envelope import History, Limits, guard
from envs.reward import Pricing, pricing, reward, terms
from envs.scenario import Scenario
from envs.scrape import quantiles
from traces.samplers import Load


@dataclass
class Episode:
    """What happened, un-smoothed (the simulator's truth, not the policy's scraped view).

    Attributes:
        policy, scenario, trace: names.
        seed: of the randomness; the same seed means the same requests and noise for every policy.
        start_s: where the window begins in the trace.
        intervals: one row per interval, columns ``t_s`` (start), ``offered_rps``, ``settled``, ``violation_ratio``,
            ``late_ratio``, ``rejected_ratio``, ``dropped_ratio``, ``failed_ratio``, ``accuracy``, ``cost``, ``change``,
            ``reward``, ``p50_s``, ``p95_s``, ``p99_s``, ``queue``, ``capacity_rps`` (of ready replicas), ``held_units``.
        replicas: long table ``t_s, kind, variant, state ("ready", "pending", "draining"), count, units, capacity_rps``,
            at the end of each interval, only rows with count > 0.
        decisions: one row per decision, ``t_s, deployment, reason, decision_s`` (wall time), ``notes`` (what the envelope
            changed, "" for nothing) and one column ``detail_<name>`` per number that the policy gave.
        totals: ``settled, good, late, rejected, dropped, failed`` (whole numbers), ``violation_ratio``, ``accuracy``,
            ``cost``, ``change``, ``reward`` (mean per interval), ``p50_s, p95_s, p99_s`` (over all answers),
            ``decision_p50_s``, ``decision_p99_s``.
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


def run_episode(
    scenario: Scenario,
    policy: Policy,
    loads: Mapping[str, Load],
    *,
    seed: int,
    start_s: float = 0.0,
    intervals: int | None = None,
    policy_name: str = "",
    trace_name: str = "",
    limits: Limits | None = None,
    told: Scenario | None = None,
) -> Episode:
    """Plays one policy, inside the envelope, on one window of the loads.

    Args:
        scenario: the problem.
        policy: reset first.
        loads: by application; their time 0 is the start of the trace.
        seed: the same seed means the same requests and noise for every policy.
        start_s: where the window begins in the trace, seconds.
        intervals: length of the window, the scenario's episode where None.
        policy_name: for the report.
        trace_name: for the report.
        limits: the operator's limits, for the envelope; None: the budget only.
        told: what the policy and the envelope are told, where what is played differs from it (a profile that is wrong, say).
    """
    n = scenario.episode_intervals if intervals is None else intervals
    cluster = SimulatedCluster(scenario, loads, seed=seed, offset_s=start_s)
    told = told or scenario
    policy.reset(told)
    prices = pricing(scenario, cluster.kinds)
    observation = cluster.first_observation
    history: History = ()
    rows: list[dict[str, float]] = []
    states: list[tuple[float, str, str, str, int, int, float]] = []
    decisions: list[dict[str, Any]] = []
    for _ in range(n):
        began = time.perf_counter()
        wanted = policy.decide(observation)
        decision_s = time.perf_counter() - began
        decision, notes, history = guard(wanted, observation, told, limits or Limits(), history)
        decisions.append(
            {
                "t_s": cluster.t_s,
                "deployment": str(decision.deployment),
                "reason": decision.reason,
                "decision_s": decision_s,
                "notes": "; ".join(notes),
                **{f"detail_{name}": value for name, value in decision.details.items()},
            }
        )
        known = len(cluster.kinds)
        cluster.apply(decision.deployment)
        if len(cluster.kinds) != known:
            prices = pricing(scenario, cluster.kinds)
        t_s = cluster.t_s
        observation = cluster.advance()
        rows.append(_interval(cluster, prices, t_s))
        states.extend(_replicas(cluster))
    cluster.finish()
    frame = pd.DataFrame(rows)
    return Episode(
        policy_name or type(policy).__name__,
        scenario.name,
        trace_name,
        seed,
        start_s,
        frame,
        pd.DataFrame(states, columns=["t_s", "kind", "variant", "state", "count", "units", "capacity_rps"]),
        pd.DataFrame(decisions),
        _totals(cluster, frame, [d["decision_s"] for d in decisions]),
    )


def _interval(cluster: SimulatedCluster, prices: Pricing, t_s: float) -> dict[str, float]:
    """One row of `Episode.intervals`."""
    scenario, truth = cluster.scenario, cluster.last_truth
    found = terms(prices, truth, cluster.change_load_s, scenario.interval_s)
    settled = truth.settled.sum()
    fates = (truth.settled[:, None] * np.nan_to_num(truth.fate_ratio)).sum(0) / settled if settled else np.full(5, np.nan)
    worst = int(np.argmax(np.nan_to_num(truth.quantiles_s[:, 2])))
    return {
        "t_s": t_s,
        "offered_rps": float(truth.offered_rps.sum()),
        "settled": int(settled),
        "violation_ratio": float(1 - fates[0]),
        "late_ratio": float(fates[1]),
        "rejected_ratio": float(fates[2]),
        "dropped_ratio": float(fates[3]),
        "failed_ratio": float(fates[4]),
        "accuracy": float(found.accuracy) if settled else np.nan,
        "cost": float(found.cost),
        "change": float(found.change),
        "reward": float(reward(scenario.weights, found)),
        **dict(zip(("p50_s", "p95_s", "p99_s"), (float(q) for q in truth.quantiles_s[worst]))),
        "queue": float(truth.service_waiting.sum()),
        "capacity_rps": sum(float(n) * _capacity_rps(scenario, kind) for kind, n in zip(cluster.kinds, truth.ready) if n),
        "held_units": sum(float(n) * kind.shape.units for kind, n in zip(cluster.kinds, truth.held_s)) / scenario.interval_s,
    }


def _replicas(cluster: SimulatedCluster) -> list[tuple[float, str, str, str, int, int, float]]:
    """Rows of `Episode.replicas` at the end of an interval."""
    truth = cluster.last_truth
    return [
        (
            cluster.t_s,
            str(kind),
            "+".join(kind.variants),
            state,
            int(count[k]),
            int(count[k]) * kind.shape.units,
            float(count[k]) * _capacity_rps(cluster.scenario, kind),
        )
        for state, count in (("ready", truth.ready), ("pending", truth.pending), ("draining", truth.draining))
        for k, kind in enumerate(cluster.kinds)
        if count[k] > 0
    ]


def _capacity_rps(scenario: Scenario, kind: ReplicaKind) -> float:
    return scenario.capacity_rps(kind, kind.variants[0])


def _totals(cluster: SimulatedCluster, intervals: pd.DataFrame, decision_s: list[float]) -> dict[str, float]:
    """Over all requests, those that settled after the last interval included."""
    sample = cluster.totals()
    count = sample.app_count.sum(0)
    settled = int(count[st.GOOD : st.FAILED + 1].sum())
    fates = {name: int(count[st.GOOD + i]) for i, name in enumerate(st.FATES[1:])}
    slo = np.array([a.slo_s for a in cluster.scenario.applications.values()])
    latency = quantiles(sample.histogram, (0.5, 0.95, 0.99)) * (slo / st.BINS_PER_SLO)[:, None]
    worst = latency[int(np.argmax(np.nan_to_num(latency[:, 2])))]
    return {
        "settled": settled,
        **fates,
        "violation_ratio": 1 - fates["good"] / settled if settled else np.nan,
        "accuracy": float(count[st.ACCURACY_PPB]) * 1e-9 / settled if settled else np.nan,
        "cost": float(intervals["cost"].mean()),
        "change": float(intervals["change"].mean()),
        "reward": float(intervals["reward"].mean()),
        **dict(zip(("p50_s", "p95_s", "p99_s"), (float(q) for q in worst))),
        "decision_p50_s": float(np.median(decision_s)),
        "decision_p99_s": float(np.quantile(decision_s, 0.99)),
    }

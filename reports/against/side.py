"""What one side, the simulated or a live cluster, did with the same requests; and the figures of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from envs.contract import Deployment, ReplicaKind
from envs.scenario import Scenario

READY, PENDING, DRAINING = STATES = ("ready", "pending", "draining")
Standing = Mapping[ReplicaKind, int]


@dataclass(frozen=True)
class Side:
    """One run of one side. Interval k is the time from decision k to decision k + 1.

    Attributes:
        requests: one row each, ``application``, ``latency_s`` (nan: not answered), ``in_time``.
        span_s: how long load came.
        accuracy: mean of answers in time over all requests.
        cost: share of the budget that was held, by price.
        decisions: the deployments wanted, by interval.
        ready: replicas ready at the end of each interval.
        starts_s: of replicas that a decision brought, from the decision to ready.
    """

    requests: pd.DataFrame
    span_s: float
    accuracy: float
    cost: float
    decisions: Sequence[Deployment]
    ready: Sequence[Standing]
    starts_s: Sequence[float]

    def figures(self) -> dict[str, float]:
        """Numbers by `FIGURES`' names."""
        latency_s = self.requests["latency_s"].to_numpy()
        answered_s = latency_s[np.isfinite(latency_s)]
        p50_s, p95_s, p99_s = np.quantile(answered_s, (0.5, 0.95, 0.99)) if answered_s.size else (np.nan,) * 3
        in_time = self.requests["in_time"].to_numpy()
        return {
            "attainment": float(in_time.mean()), "p50": p50_s, "p95": p95_s, "p99": p99_s,
            "goodput": float(in_time.sum()) / self.span_s, "cost": self.cost, "accuracy": self.accuracy,
            "start": float(np.mean(self.starts_s)) if self.starts_s else np.nan,
        }  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """A number that both sides have.

    Attributes:
        label: for a table.
        unit, factor: it is shown in, and what a number is multiplied with for it.
        relative: whether the difference is told in percent of the simulator's number; else in the unit.
        most: how much the live number may differ, in that; None: nothing was set.
    """

    label: str
    unit: str
    factor: float
    relative: bool
    most: float | None = None


FIGURES = {
    "attainment": Figure("answered within the SLO", "%", 100, False, 2.0),
    "p50": Figure("latency p50", "ms", 1e3, True),
    "p95": Figure("latency p95", "ms", 1e3, True),
    "p99": Figure("latency p99", "ms", 1e3, True, 10.0),
    "goodput": Figure("answers within the SLO", "1/s", 1, True),
    "cost": Figure("cost", "% of budget", 100, True, 1.0),
    "accuracy": Figure("accuracy", "%", 100, False),
    "start": Figure("decision to ready", "s", 1, True),
}


def same_decisions(a: Sequence[Deployment], b: Sequence[Deployment]) -> float:
    """Share of the intervals in which both want the same replicas."""
    return float(np.mean([x.replicas == y.replicas for x, y in zip(a, b, strict=True)]))


def counts_within(a: Sequence[Standing], b: Sequence[Standing], most: int = 1) -> float:
    """Share of the intervals at whose end every kind has as many ready replicas in both, or differs by so many at most."""
    return float(np.mean([all(abs(x.get(kind, 0) - y.get(kind, 0)) <= most for kind in {*x, *y})
                          for x, y in zip(a, b, strict=True)]))  # fmt: skip


def units_within(a: Sequence[Standing], b: Sequence[Standing], most: int = 1) -> float:
    """The same of cores or devices that a variant's ready replicas have: a pod of another size is another kind."""
    return counts_within([_units(x) for x in a], [_units(x) for x in b], most)  # type: ignore[misc]


def _units(standing: Standing) -> Counter[tuple[str, ...]]:
    found: Counter[tuple[str, ...]] = Counter()
    for kind, count in standing.items():
        found[kind.variants] += count * kind.shape.units
    return found


def cost_of(held_s: Iterable[tuple[ReplicaKind, float]], span_s: float, scenario: Scenario) -> float:
    """Price x units x seconds held, over that of the whole budget all the time."""
    whole = scenario.whole_price * span_s
    return sum(scenario.devices[k.shape.device].price * k.shape.units * s for k, s in held_s) / whole

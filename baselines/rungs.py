"""What a schedule in hindsight chooses from: the deployments of a scenario that are worth playing, of every family.

One service or pipeline: its ladder. A cascade: CascadeServe's gears for rising loads. Several services: every deployment of
the candidates, where these are few, else those that Proteus's program makes for the loads that come.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from baselines.cascadeserve import CascadeServe
from baselines.ladder import LOADS, ladder_of
from baselines.proteus import LEAST_LOAD_RPS, Proteus
from envs.envelope import project
from envs.routes import ROUTE_MARGIN, Hosting, hosting_of, share_out
from envs.scenario import Scenario

MOST = 256  # deployments that are enumerated
MARGINS = (0.7, 1.0, 1.4, 2.0)  # on the loads that come, where they are not


@dataclass(frozen=True, eq=False)
class Rungs:
    """R deployments.

    Attributes:
        scenario: whose.
        levels: (R, C) level of each candidate.
        thresholds: of each, in a cascade; none: the scenario's.
        loads_rps: (R,) the greatest load that each was planned for, rising; none: several services, each with its own.
    """

    scenario: Scenario
    levels: np.ndarray
    thresholds: tuple[Mapping[tuple[str, int], float], ...] = ()
    loads_rps: np.ndarray | None = None

    def carrying(self, needed_rps: np.ndarray) -> np.ndarray:
        """(T,) the rung for each of the loads (T, Z) that services need."""
        if self.loads_rps is not None:
            return np.minimum(np.searchsorted(self.loads_rps, needed_rps.max(1)), len(self.loads_rps) - 1)
        hosting = hosting_of(self.scenario)
        return np.array([self._worth(hosting, rps).argmax() for rps in needed_rps])

    def _worth(self, hosting: Hosting, rps: np.ndarray) -> np.ndarray:
        """(R,) the reward for a steady load (Z,), without queues: what the replicas carry is answered, the rest violated."""
        weights = self.scenario.weights
        shares = share_out(hosting, self.levels, np.tile(rps / ROUTE_MARGIN, (len(self.levels), 1)))
        capacity = hosting.capacity_rps[:, np.arange(self.levels.shape[1]), self.levels].transpose(1, 0, 2)  # (R, Z, C)
        asked = shares * rps[None, :, None]
        used = (asked / np.where(capacity > 0, capacity, np.inf)).sum(1)  # (R, C): of what each candidate can do
        answered = asked / np.maximum(used, 1.0)[:, None]
        services = self.scenario.services.values()
        accuracy = np.array([[next((self.scenario.variants[v].accuracy for v in s.variants if v in c.variants), 0.0)
                              for c in self.scenario.candidates] for s in services])
        total = max(float(rps.sum()), LEAST_LOAD_RPS)
        held = [self.scenario.price_of(self.scenario.deployment(row)) for row in self.levels]
        cost = np.array(held) / self.scenario.whole_price
        good = answered.sum((1, 2)) / total
        return (weights.accuracy * (answered * accuracy).sum((1, 2)) / total - weights.slo * (1 - good)
                - weights.cost * cost)


def rungs_of(scenario: Scenario, coming_rps: np.ndarray) -> Rungs:
    """The rungs of a scenario.

    Args:
        scenario: the problem.
        coming_rps: (T, Z) loads that come.

    Raises:
        ValueError: several services, and a candidate that hosts several variants of one; or the family's planner has no plan.
    """
    if len(scenario.applications) > 1:
        return _of_several(scenario, coming_rps)
    if next(iter(scenario.applications.values())).cascade:
        return _of_cascade(scenario)
    ladder = ladder_of(scenario)
    return Rungs(scenario, ladder.levels, loads_rps=ladder.loads_rps)


def _of_cascade(scenario: Scenario) -> Rungs:
    """CascadeServe's gears, on capacities as measured."""
    planner = CascadeServe(ranges=LOADS, capacity_ratio=1.0)
    planner.reset(scenario)
    gears = zip(planner.gears, planner.deployments)
    found = {(scenario.levels(d), d.thresholds): gear.load_rps for gear, d in gears}  # the last one stays: the greatest load
    ordered = sorted(found.items(), key=lambda item: item[1])
    return Rungs(scenario, np.array([levels for (levels, _), _ in ordered]), tuple(t for (_, t), _ in ordered),
                 np.array([rps for _, rps in ordered]))


def _of_several(scenario: Scenario, coming_rps: np.ndarray) -> Rungs:
    if any(sum(v in c.variants for v in s.variants) > 1 for c in scenario.candidates for s in scenario.services.values()):
        raise ValueError(f"scenario '{scenario.name}': of several services none may have two variants on one candidate")
    sizes = [c.levels for c in scenario.candidates]
    if np.prod(sizes, dtype=float) <= MOST:
        rows = [row for row in itertools.product(*map(range, sizes))
                if any(row) and not project(scenario.deployment(row), scenario)[1]]
        return Rungs(scenario, np.array(rows))
    planner = Proteus(capacity_ratio=1.0, ratio=1.0)
    planner.reset(scenario)
    plans = (planner.plan(np.maximum(margin * rps, LEAST_LOAD_RPS)) for margin in MARGINS for rps in coming_rps)
    found = dict.fromkeys(scenario.levels(project(plan[0], scenario)[0]) for plan in plans if plan is not None)
    if not found:
        raise ValueError(f"scenario '{scenario.name}': its program has no plan for the loads that come")
    return Rungs(scenario, np.array(list(found)))

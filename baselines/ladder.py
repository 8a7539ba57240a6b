"""The ladder: the planner's best deployments for rising loads, so that a level of capacity is one number.

InfAdapter's program makes that of one service with variants, IPA's that of a pipeline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from baselines.infadapter_ilp import solve
from baselines.infadapter_tables import choices_of, deployment_of, hosts_of, measured_capacity_rps
from baselines.ipa import IPA
from envs.contract import Deployment
from envs.envelope import project
from envs.scenario import Scenario

Plans = Callable[[float], Deployment]

LOADS = 96  # geometric, from a hundredth of what the budget carries on


@dataclass(frozen=True, eq=False)
class Ladder:
    """R deployments of one service or pipeline.

    Attributes:
        levels: (R, C) level of each candidate.
        loads_rps: (R,) the greatest load that each was planned for, ascending.
    """

    levels: np.ndarray
    loads_rps: np.ndarray

    def rung(self, load_rps: float) -> int:
        """The rung planned for a load; the last one where none is."""
        return min(int(np.searchsorted(self.loads_rps, load_rps)), len(self.loads_rps) - 1)


def ladder_of(scenario: Scenario, loads: int = LOADS) -> Ladder:
    """The ladder of a scenario's only application, on capacities as measured.

    Raises:
        ValueError: several applications, a cascade, or a candidate that hosts several variants.
    """
    if len(scenario.applications) != 1 or any(len(c.variants) > 1 for c in scenario.candidates):
        raise ValueError(f"scenario '{scenario.name}': a ladder is of one service or pipeline, with candidates of one variant")
    application = next(iter(scenario.applications.values()))
    if application.cascade:
        raise ValueError(f"scenario '{scenario.name}': a cascade has no ladder: its thresholds are no level of capacity")
    plan, most_rps = (_service_plans if len(application.services) == 1 else _pipeline_plans)(scenario)
    rungs: dict[tuple[int, ...], float] = {}
    for load_rps in np.geomspace(0.01, 1.0, loads) * most_rps:
        deployment, _ = project(plan(float(load_rps)), scenario)
        rungs[scenario.levels(deployment)] = float(load_rps)  # a later load overwrites: the greatest stays
    ordered = sorted(rungs.items(), key=lambda item: item[1])
    return Ladder(np.array([levels for levels, _ in ordered]), np.array([rps for _, rps in ordered]))


def _service_plans(scenario: Scenario) -> tuple[Plans, float]:
    """InfAdapter's plans by load, and the greatest load that it carries."""
    service = next(iter(scenario.services))
    hosts = hosts_of(scenario, service)
    choices = choices_of(scenario, hosts, lambda k, v: measured_capacity_rps(scenario, k, v))
    nothing: Sequence[int] = [0] * len(hosts)

    def plan(load_rps: float) -> Deployment:
        return deployment_of(scenario, service, hosts, solve(choices, load_rps, nothing))

    return plan, sum(solve(choices, 1e9, nothing).quotas_rps)


def _pipeline_plans(scenario: Scenario) -> tuple[Plans, float]:
    """IPA's plans by load, and the greatest load that it carries (within a thousandth)."""
    planner = IPA(capacity_ratio=1.0)
    planner.reset(scenario)

    def plan(load_rps: float) -> Deployment:
        found = planner.plan(load_rps)
        chosen = {} if found is None else found[0]
        return Deployment({kind: n for (_, kind, _), n in chosen.items()})

    low, high = 0.0, 1.0
    while planner.plan(high) is not None:
        low, high = high, 2 * high
    while high - low > high / 1000:
        middle = (low + high) / 2
        low, high = (low, middle) if planner.plan(middle) is None else (middle, high)
    return plan, low

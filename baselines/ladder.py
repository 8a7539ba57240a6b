"""The ladder: the planner's best deployments for rising loads, so that a level of capacity is one number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from baselines.infadapter_ilp import solve
from baselines.infadapter_tables import choices_of, deployment_of, hosts_of, measured_capacity_rps
from envs.envelope import project
from envs.scenario import Scenario

LOADS = 96  # geometric, from a hundredth of what the budget carries on


@dataclass(frozen=True, eq=False)
class Ladder:
    """R deployments of one service.

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
    """The ladder of a scenario's only service, on capacities as measured.

    Raises:
        ValueError: several services, or a candidate that hosts several variants.
    """
    if len(scenario.services) != 1 or any(len(c.variants) > 1 for c in scenario.candidates):
        raise ValueError(f"scenario '{scenario.name}': a ladder is of one service, whose candidates host one variant each")
    service = next(iter(scenario.services))
    hosts = hosts_of(scenario, service)
    choices = choices_of(scenario, hosts, lambda k, v: measured_capacity_rps(scenario, k, v))
    nothing: Sequence[int] = [0] * len(hosts)
    full_rps = solve(choices, 1e9, nothing).quotas_rps
    rungs: dict[tuple[int, ...], float] = {}
    for load_rps in np.geomspace(0.01, 1.0, loads) * sum(full_rps):
        plan, _ = project(deployment_of(scenario, service, hosts, solve(choices, float(load_rps), nothing)), scenario)
        rungs[scenario.levels(plan)] = float(load_rps)  # a later load overwrites: the greatest stays
    ordered = sorted(rungs.items(), key=lambda item: item[1])
    return Ladder(np.array([levels for levels, _ in ordered]), np.array([rps for _, rps in ordered]))

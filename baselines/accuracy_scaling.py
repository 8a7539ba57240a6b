"""Accuracy scaling of a lone service: the most accurate replicas that carry its load on the budget, solved exactly and fast.

With one service (and one stage) Proteus' and Loki's programs are InfAdapter's, with a cost that only breaks ties and no price
of a change: `baselines.infadapter_ilp` solves them in a fiftieth of the time that a mixed-integer solver takes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from baselines.infadapter_ilp import Plan, solve
from baselines.infadapter_tables import choices_of, deployment_of, hosts_of
from envs.contract import Deployment, ReplicaKind
from envs.scenario import Scenario

TIE = 1e-3  # of accuracy, the price of the whole budget: among plans of nearly equal accuracy the cheaper


class LoneService:
    """The program of one service.

    Args:
        scenario: the problem.
        service: a candidate that hosts several variants serves it with the first of them.
        capacity_ratio: factor on throughputs.
        allowed: kinds that may be used.
    """

    def __init__(self, scenario: Scenario, service: str, capacity_ratio: float,
                 allowed: Callable[[ReplicaKind], bool]) -> None:
        self._scenario, self._service, self._hosts = scenario, service, hosts_of(scenario, service)

        def capacity_rps(kind: ReplicaKind, variant: str) -> float:
            return capacity_ratio * scenario.capacity_rps(kind, variant) if allowed(kind) else 0.0

        self.choices = replace(choices_of(scenario, self._hosts, capacity_rps), w_accuracy=1.0, w_cost=TIE, w_change=0.0)

    def plan(self, load_rps: float) -> Plan:
        """The most accurate plan; where the load cannot be carried one of (nearly) the most capacity, not `feasible`."""
        return solve(self.choices, load_rps, [0] * len(self._hosts))

    def deployment(self, plan: Plan) -> Deployment:
        """Its replicas, and its quotas as shares."""
        return deployment_of(self._scenario, self._service, self._hosts, plan)

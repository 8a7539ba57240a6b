"""InfAdapter as a policy: forecast, hold or plan, share out the load.

Source: Salmani et al., EuroMLSys 2023 (arXiv 2304.10892), and its artefact for the constants. The program and its
solver are in `baselines.infadapter_ilp`; the rollout (create, wait until ready, switch the quotas, delete) is the
cluster's.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from baselines.forecasters import Forecaster, forecaster
from baselines.infadapter_ilp import Choices, Plan, solve
from baselines.infadapter_tables import CAPACITIES, choices_of, deployment_of, hosts_of, levels_in
from envs.contract import Decision, Deployment, Observation, Policy
from envs.envelope import project
from envs.scenario import Scenario

CAPACITY_RATIO = 0.8  # the artefact's CAPACITY_COEF, on measured capacity
STUCK_RATIO = 3.0  # times its load time, after which a replica is not waited for
LEAST_LOAD_RPS = 1e-3  # the objective divides by the load


class InfAdapter(Policy):
    """Plans a set of variants for the forecast load, once each interval, unless the plan in force still carries it.

    Hold rule: a forecast of at most the planned load keeps the plan, up to `hold` times in a row, then it plans again; a
    greater one plans at once. No new plan is made while the last one is being rolled out (the artefact's loop waits for
    its pods), unless a replica has been loading for `STUCK_RATIO` times its load time.

    Routes are the quotas as shares; a variant without quota has none and is never used. Where a load cannot be carried,
    the most capacity that the budget has is deployed; where the search is cut short without a plan, what is in force stays
    (`details` count both, and plans that are not proven best).

    A plan that the nodes have no place for (the program knows budgets, not nodes) is lowered by the envelope's rule.

    For scenarios of one service. A candidate that hosts several variants is planned with the service's first.

    Args:
        forecast: a forecaster with its own margin, or the name of one (`baselines.forecasters.NAMES`).
        memory: intervals that a forecaster given by name looks back.
        margin: its factor on the forecast (artefact: 1.1).
        hold: how many decisions a plan may outlive its need (artefact: 4).
        finish_rollout: wait for the last plan's replicas before the next plan (artefact: yes).
        capacity_ratio: safety factor on the capacities (artefact: 0.8).
        capacity: ``measured``: of each size as profiled; ``regressed``: the artefact's line, rounded down.

    Raises:
        ValueError: on reset, for a scenario of several services, or without the profile that ``regressed`` needs.
    """

    def __init__(self, forecast: str | Forecaster = "max", memory: int = 2, margin: float = 1.1, hold: int = 4,
                 finish_rollout: bool = True, capacity_ratio: float = CAPACITY_RATIO,
                 capacity: Literal["measured", "regressed"] = "measured") -> None:
        if capacity not in CAPACITIES:
            raise ValueError(f"capacity '{capacity}': give one of {', '.join(CAPACITIES)}")
        self.forecaster = forecaster(forecast, memory, margin) if isinstance(forecast, str) else copy.deepcopy(forecast)
        self.hold, self.finish_rollout = hold, finish_rollout
        self.capacity_ratio, self.capacity = capacity_ratio, capacity

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """Settings to calibrate: forecaster, its memory and margin, hold, and the safety factor on capacities."""
        learned = ["lstm"] if scenario.interval_s <= 60 else []  # it looks at minutes
        return {"forecast": ["last", "max", "ewm", "ar", *learned], "memory": [2, 3, 5, 10],
                "margin": [0.9, 1.0, 1.1, 1.2, 1.3, 1.5],
                "hold": [0, 1, 2, 4, 8], "finish_rollout": [True, False], "capacity_ratio": [0.7, 0.8, 0.9, 1.0]}

    def plan(self, choices: Choices, load_rps: float, previous: Sequence[int]) -> Plan:
        """The best plan for a load (see `baselines.infadapter_ilp.solve`)."""
        return solve(choices, load_rps, previous)

    def reset(self, scenario: Scenario) -> None:
        """Starts afresh: tables of the scenario, no plan, no observations."""
        if len(scenario.services) != 1:
            names = f"{len(scenario.services)}: {', '.join(scenario.services)}"
            raise ValueError(f"{type(self).__name__} plans one service; scenario '{scenario.name}' has {names}")
        self._service = next(iter(scenario.services))
        self._scenario = scenario
        self._hosts = hosts_of(scenario, self._service)
        measure, rounded = CAPACITIES[self.capacity]
        self._choices = choices_of(scenario, self._hosts, lambda k, v: rounded(self.capacity_ratio * measure(scenario, k, v)))
        self.plan(self._choices, 1.0, [0] * len(self._hosts))  # compiled by now, not at the first decision
        self.forecaster.reset(scenario.interval_s)
        self.memory_intervals = self.forecaster.memory_intervals + self.hold + 1
        self._planned: Deployment | None = None
        self._planned_rps = math.nan
        self._holds = self._overloads = self._timeouts = 0

    def decide(self, observation: Observation) -> Decision:
        """Holds the plan, or makes a new one."""
        self.forecaster.observe(observation.services[self._service].offered_rps)
        load_rps = self.forecaster.forecast()
        if math.isnan(load_rps):
            return Decision(observation.deployment, "no load observed yet: unchanged")
        if self._planned is not None and self.finish_rollout and _rolling_out(self._planned, observation):
            return self._decision(self._planned, load_rps, "the last plan is being rolled out")
        if self._planned is not None and load_rps <= self._planned_rps and self._holds < self.hold:
            self._holds += 1
            reason = f"hold {self._holds} of {self.hold}: {load_rps:.3g} req/s is within the planned {self._planned_rps:.3g}"
            return self._decision(self._planned, load_rps, reason)
        before_rps, self._planned_rps, self._holds = self._planned_rps, load_rps, 0
        plan = self.plan(self._choices, max(load_rps, LEAST_LOAD_RPS), levels_in(self._hosts, observation.deployment))
        self._timeouts += not plan.proven
        if not plan.feasible and not plan.proven:
            return self._decision(observation.deployment, load_rps, "the search ended without a plan: unchanged")
        wanted = deployment_of(self._scenario, self._service, self._hosts, plan)
        self._planned, lowered = project(wanted, self._scenario)
        was = "first plan" if math.isnan(before_rps) else f"planned for {before_rps:.3g}"
        was += "; lowered to fit the nodes" if lowered else ""
        if not plan.feasible:
            self._overloads += 1
            reason = f"{load_rps:.3g} req/s is more than the budget carries: most capacity"
            return self._decision(self._planned, load_rps, reason)
        return self._decision(self._planned, load_rps, f"load {load_rps:.3g} req/s, {was}", plan.objective)

    def _decision(self, deployment: Deployment, load_rps: float, reason: str, value: float = math.nan) -> Decision:
        details = {"forecast_rps": load_rps, "planned_rps": self._planned_rps, "objective": value, "holds": float(self._holds),
                   "overloads": float(self._overloads), "timeouts": float(self._timeouts)}
        return Decision(deployment, reason, {k: v for k, v in details.items() if not math.isnan(v)})


def _rolling_out(planned: Deployment, observation: Observation) -> bool:
    """True while a replica of the plan is loading, and has not been for far too long."""
    for kind in planned.replicas:
        seen = observation.kinds.get(kind)
        if seen is not None and seen.pending > 0:
            load_s = sum(observation.load_s[v] for v in kind.variants)
            if max(seen.pending_s, default=0.0) < STUCK_RATIO * load_s:
                return True
    return False

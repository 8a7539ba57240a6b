"""InfAdapter as a policy: forecast, hold or plan, share out the load.

Source: Salmani et al., EuroMLSys 2023 (arXiv 2304.10892), and its artefact for the constants. The program and its
solver are in `baselines.infadapter_ilp`; the rollout (create, wait until ready, switch the quotas, delete) is the
cluster's.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from baselines.forecasters import Forecaster, forecaster
from baselines.infadapter_ilp import Choices, Plan, solve
from envs.contract import CPU, Decision, Deployment, Observation, Policy, ReplicaKind, Route, Shape
from envs.scenario import Candidate, Scenario

CAPACITY_RATIO = 0.8  # the artefact's CAPACITY_COEF, on measured capacity
REGRESSED_CORES = (1, 2, 4, 8, 16)  # the sizes that the artefact profiles for its regression
STUCK_RATIO = 3.0  # times its load time, after which a replica is not waited for
LEAST_LOAD_RPS = 1e-3  # the objective divides by the load

Capacity = Callable[[Scenario, ReplicaKind, str], float]


def measured_capacity_rps(scenario: Scenario, kind: ReplicaKind, variant: str) -> float:
    """Load that one replica carries within the SLO, as the scenario says."""
    return scenario.capacity_rps(kind, variant)


def regressed_capacity_rps(scenario: Scenario, kind: ReplicaKind, variant: str) -> float:
    """The artefact's capacity before its safety factor: slope * n + t, a least-squares line over `REGRESSED_CORES`.

    t = int(min(intercept, 0.99)), truncated towards 0, so that the line never starts above 0.

    Raises:
        ValueError: the kind is not on cpu, or the profile does not have the capacity at one of these sizes.
    """
    rows = [scenario.profile.measured_capacity_rps(variant, Shape(cores=n), kind.batch) for n in REGRESSED_CORES]
    if kind.shape.device != CPU or None in rows:
        raise ValueError(f"no regression for {kind}: the profile needs the measured capacity of '{variant}' on "
                         f"{', '.join(map(str, REGRESSED_CORES))} cores")
    slope, intercept = np.polyfit(REGRESSED_CORES, np.array(rows, dtype=float), 1)
    return float(slope * kind.shape.cores + int(min(intercept, 0.99)))


_CAPACITIES: dict[str, tuple[Capacity, Callable[[float], float]]] = {
    "measured": (measured_capacity_rps, float),
    "regressed": (regressed_capacity_rps, math.floor),  # the artefact rounds down to whole req/s
}


class InfAdapter(Policy):
    """Plans a set of variants for the forecast load, once each interval, unless the plan in force still carries it.

    Hold rule: a forecast of at most the planned load keeps the plan, up to `hold` times in a row, then it plans again; a
    greater one plans at once. No new plan is made while the last one is being rolled out (the artefact's loop waits for
    its pods), unless a replica has been loading for `STUCK_RATIO` times its load time.

    Routes are the quotas as shares; a variant without quota has none and is never used. Where a load cannot be carried,
    the most capacity that the budget has is deployed; where the solver runs out of time without a plan, what is in force
    stays (`details` count both).

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
        if capacity not in _CAPACITIES:
            raise ValueError(f"capacity '{capacity}': give one of {', '.join(_CAPACITIES)}")
        self.forecaster = forecaster(forecast, memory, margin) if isinstance(forecast, str) else copy.deepcopy(forecast)
        self.hold, self.finish_rollout = hold, finish_rollout
        self.capacity_ratio, self.capacity = capacity_ratio, capacity

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """Settings to calibrate: forecaster, its memory and margin, hold, and the safety factor on capacities."""
        return {"forecast": ["last", "max", "ewm", "ar"], "memory": [2, 3, 5, 10], "margin": [0.9, 1.0, 1.1, 1.2, 1.3, 1.5],
                "hold": [0, 1, 2, 4, 8], "finish_rollout": [True, False], "capacity_ratio": [0.7, 0.8, 0.9, 1.0]}

    def reset(self, scenario: Scenario) -> None:
        """Starts afresh: tables of the scenario, no plan, no observations."""
        if len(scenario.services) != 1:
            raise ValueError(f"InfAdapter plans one service; scenario '{scenario.name}' has {len(scenario.services)}: "
                             f"{', '.join(scenario.services)}")
        self._service = next(iter(scenario.services))
        self._scenario = scenario
        self._hosts = _hosts(scenario, self._service)
        measure, rounded = _CAPACITIES[self.capacity]
        self._choices = _choices(scenario, self._hosts, lambda k, v: rounded(self.capacity_ratio * measure(scenario, k, v)))
        self.forecaster.reset()
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
        plan = solve(self._choices, max(load_rps, LEAST_LOAD_RPS), self._levels(observation.deployment))
        if not plan.feasible and not plan.proven:
            self._timeouts += 1
            return self._decision(observation.deployment, load_rps, "the solver ran out of time: unchanged")
        self._planned = self._deployment(plan)
        was = "first plan" if math.isnan(before_rps) else f"planned for {before_rps:.3g}"
        if not plan.feasible:
            self._overloads += 1
            reason = f"{load_rps:.3g} req/s is more than the budget carries: most capacity"
            return self._decision(self._planned, load_rps, reason)
        return self._decision(self._planned, load_rps, f"load {load_rps:.3g} req/s, {was}", plan.objective)

    def _decision(self, deployment: Deployment, load_rps: float, reason: str, value: float = math.nan) -> Decision:
        details = {"forecast_rps": load_rps, "planned_rps": self._planned_rps, "objective": value, "holds": float(self._holds),
                   "overloads": float(self._overloads), "timeouts": float(self._timeouts)}
        return Decision(deployment, reason, {k: v for k, v in details.items() if not math.isnan(v)})

    def _levels(self, deployment: Deployment) -> list[int]:
        """The level of each candidate in a deployment; -1 where it has none of the levels (as with two sizes at once)."""
        levels = []
        for candidate, _ in self._hosts:
            held = {k: n for k, n in deployment.replicas.items() if k in candidate.kinds}
            known = [n for n in range(candidate.levels) if _replicas(candidate, n) == held]
            levels.append(known[0] if known else -1)
        return levels

    def _deployment(self, plan: Plan) -> Deployment:
        """The plan's replicas, and its quotas as shares."""
        replicas: dict[ReplicaKind, int] = {}
        shares: dict[Route, float] = {}
        carried_rps = sum(plan.quotas_rps)
        for (candidate, variant), level, quota in zip(self._hosts, plan.levels, plan.quotas_rps):
            for kind, n in _replicas(candidate, level).items():
                replicas[kind] = replicas.get(kind, 0) + n
                if quota > 0:
                    shares[kind, variant] = shares.get((kind, variant), 0.0) + quota / carried_rps
        initial = self._scenario.initial_deployment
        return replace(initial, replicas=replicas, routes={self._service: shares} if shares else {})


def _rolling_out(planned: Deployment, observation: Observation) -> bool:
    """True while a replica of the plan is loading, and has not been for far too long."""
    for kind in planned.replicas:
        seen = observation.kinds.get(kind)
        if seen is not None and seen.pending > 0:
            load_s = sum(observation.load_s[v] for v in kind.variants)
            if max(seen.pending_s, default=0.0) < STUCK_RATIO * load_s:
                return True
    return False


def _hosts(scenario: Scenario, service: str) -> list[tuple[Candidate, str]]:
    """Candidates that host a service, each with the first of the service's variants that it hosts."""
    variants = scenario.services[service].variants
    return [(c, next(v for v in variants if v in c.variants)) for c in scenario.candidates if set(variants) & set(c.variants)]


def _replicas(candidate: Candidate, level: int) -> dict[ReplicaKind, int]:
    if not level:
        return {}
    return {candidate.kinds[level - 1]: 1} if candidate.sized else {candidate.kinds[0]: level}


def _choices(scenario: Scenario, hosts: Sequence[tuple[Candidate, str]],
             capacity_rps: Callable[[ReplicaKind, str], float]) -> Choices:
    """The program's tables: a row for each candidate, a column for each level."""
    devices = list(scenario.devices)
    columns = max(candidate.levels for candidate, _ in hosts)
    units, capacity = np.full((len(hosts), columns), -1), np.zeros((len(hosts), columns))
    for m, (candidate, variant) in enumerate(hosts):
        for level in range(candidate.levels):
            replicas = _replicas(candidate, level)
            units[m, level] = sum(k.shape.units * n for k, n in replicas.items())
            capacity[m, level] = sum(max(0.0, capacity_rps(k, variant)) * n for k, n in replicas.items())
    budgets = np.array([device.budget for device in scenario.devices.values()])
    price = np.array([scenario.devices[c.device].price for c, _ in hosts])
    whole = sum(device.price * device.budget for device in scenario.devices.values())
    load_s = np.array([scenario.load_s(c.kinds[0]) for c, _ in hosts])
    weights = scenario.weights
    return Choices(
        accuracy=np.array([scenario.variants[v].accuracy for _, v in hosts]),
        load_ratio=load_s / (max(map(scenario.load_s, scenario.kinds)) or 1.0),
        units=units, capacity_rps=capacity, cost=np.maximum(units, 0) * price[:, None] / whole,
        device=np.array([devices.index(c.device) for c, _ in hosts]), budget=budgets,
        w_accuracy=weights.accuracy, w_cost=weights.cost, w_change=weights.change)

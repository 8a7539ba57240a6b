"""Proteus as a policy: accuracy scaling on a cluster of fixed size, the most accurate variants that carry the load.

Source: Ahmad et al., ASPLOS 2024, and its artefact for the constants. The program is in `baselines.proteus_milp`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from baselines.accuracy_scaling import LoneService
from baselines.forecasters import EWM, Forecaster, forecaster
from baselines.proteus_milp import ROUNDING, Plan, Problem, most_carried, solve
from baselines.two_time_scales import TwoTimeScales
from envs.contract import Decision, Deployment, Observation, Policy, ReplicaKind
from envs.envelope import project
from envs.scenario import Scenario

SPAN = 2.4  # of the exponential mean of the demand (artefact: pandas' com 0.7)
HALF = 0.5  # of the SLO, within which a batch has to be worked off: the one before it takes the other half
STEP, LEAST_RATIO = 0.05, 0.2  # by which less is carried where all cannot be, and down to what (artefact)
LEAST_LOAD_RPS = 1e-3


class Proteus(Policy):
    """Solves the program at every decision, for all services together.

    Of each variant and shape the largest batch that takes less than half of the SLO is used. Where `ratio` times the demand
    cannot be carried, the ratio falls in steps of 0.05, to 0.2; below it the plan that carries most is taken. A search that
    ended without a plan leaves what is in force (`details` count these, and overloads).

    Stages of a pipeline are services like any others, as Proteus knows no pipelines. A candidate that hosts several variants
    serves each service with the first of that service's.

    Args:
        forecast: a forecaster with its own margin, or the name of one; None: the artefact's exponential mean.
        memory: intervals that a forecaster given by name looks back.
        ratio: of the demand, to be carried.
        capacity_ratio: factor on throughputs.
        time_limit_s: of the solver.

    Raises:
        ValueError: on reset, where a service has no kind whose batch takes less than half of its SLO.
    """

    def __init__(self, forecast: str | Forecaster | None = None, memory: int = 2, ratio: float = 1.05,
                 capacity_ratio: float = 0.8, time_limit_s: float = 2.0) -> None:
        if forecast is None:
            forecast = EWM(SPAN)
        self.forecaster = forecaster(forecast, memory, 1.0) if isinstance(forecast, str) else forecast
        self.ratio, self.capacity_ratio, self.time_limit_s = ratio, capacity_ratio, time_limit_s

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """Settings to calibrate: forecaster and its memory, the ratio, the factor on throughputs."""
        return {"forecast": ["last", "max", "ewm", "ar"], "memory": [2, 3, 5, 10], "ratio": [1.0, 1.05, 1.1, 1.2, 1.3, 1.5],
                "capacity_ratio": [0.6, 0.7, 0.8, 0.9, 1.0]}

    def reset(self, scenario: Scenario) -> None:
        """Starts afresh: tables of the scenario, no observations."""
        self._scenario = scenario
        self._kinds, self._variants, self.problem = tables(scenario, self.capacity_ratio)
        self._forecasters = {name: copy.deepcopy(self.forecaster) for name in scenario.services}
        for own in self._forecasters.values():
            own.reset(scenario.interval_s)
        self.memory_intervals = self.forecaster.memory_intervals
        self._lone: LoneService | None = None
        if len(scenario.services) == 1:
            service = next(iter(scenario.services))
            self._lone = LoneService(scenario, service, self.capacity_ratio, set(self._kinds).__contains__)
        self._overloads = self._timeouts = 0

    def decide(self, observation: Observation) -> Decision:
        """A plan for the demand."""
        for name, own in self._forecasters.items():
            own.observe(observation.services[name].offered_rps)
        demand_rps = np.array([own.forecast() for own in self._forecasters.values()])
        if np.isnan(demand_rps).any():
            return Decision(observation.deployment, "no load observed yet: unchanged")
        told = f"load {', '.join(f'{rps:.3g}' for rps in demand_rps)} req/s"
        found = self.plan(np.maximum(demand_rps, LEAST_LOAD_RPS))
        if found is None:
            self._timeouts += 1
            return self._decision(observation.deployment, demand_rps, f"{told}: the search ended without a plan: unchanged")
        wanted, ratio = found
        if ratio < self.ratio * (1 - ROUNDING):
            self._overloads += 1
            told += f" is more than the budget carries: planned for {100 * ratio:.0f} % of it"
        deployment, lowered = project(wanted, self._scenario)
        return self._decision(deployment, demand_rps, told + ("; lowered to fit the nodes" if lowered else ""))

    def plan(self, demand_rps: np.ndarray) -> tuple[Deployment, float] | None:
        """The most accurate deployment for the ratio that can be carried, and that ratio; None: none was found in time."""
        found = self._carrying(demand_rps, self.ratio)
        if found is not None:
            return found, self.ratio
        most = most_carried(self.problem, demand_rps, self.ratio, self.time_limit_s)
        if most is None or not most.ratio > 0:
            return None
        ratio = self.ratio - STEP * math.ceil((self.ratio - most.ratio) / STEP - ROUNDING)
        found = self._carrying(demand_rps, ratio) if ratio >= LEAST_RATIO else None
        return (found, ratio) if found is not None else (self._deployment(most), most.ratio)

    def _carrying(self, demand_rps: np.ndarray, ratio: float) -> Deployment | None:
        """The most accurate deployment that carries a ratio of the demand; None where none was found."""
        if self._lone is not None:
            alone = self._lone.plan(ratio * float(demand_rps[0]))
            return self._lone.deployment(alone) if alone.feasible else None
        found = solve(self.problem, demand_rps, ratio, self.time_limit_s)
        return self._deployment(found) if found is not None else None

    def _deployment(self, plan: Plan) -> Deployment:
        routes: dict[str, dict[tuple[ReplicaKind, str], float]] = {}
        for name, variants, quotas in zip(self._scenario.services, self._variants, plan.quotas_rps):
            used = {(kind, v): q for kind, v, q in zip(self._kinds, variants, quotas) if q > ROUNDING * quotas.sum()}
            routes[name] = {route: float(q / sum(used.values())) for route, q in used.items()}
        replicas = {kind: int(n) for kind, n in zip(self._kinds, plan.replicas)}
        return replace(self._scenario.initial_deployment, replicas=replicas, routes=routes)

    def _decision(self, deployment: Deployment, demand_rps: np.ndarray, reason: str) -> Decision:
        forecasts = {f"forecast_rps_{name}": float(rps) for name, rps in zip(self._scenario.services, demand_rps)}
        counts = {"overloads": float(self._overloads), "timeouts": float(self._timeouts)}
        return Decision(deployment, reason, {**forecasts, **counts})


class FastProteus(TwoTimeScales):
    """Proteus on two time scales: replicas as it plans them, routes at every decision over what is ready."""

    slow = Proteus


def tables(scenario: Scenario, capacity_ratio: float) -> tuple[list[ReplicaKind], list[list[str]], Problem]:
    """The kinds that may be used, the variant that each would serve each service with ("": none), and the program's tables.

    Raises:
        ValueError: a service has no kind whose batch takes less than half of its SLO.
    """
    rows: list[tuple[int, ReplicaKind]] = []
    for c, candidate in enumerate(scenario.candidates):
        rows += [(c, kind) for kind in candidate.kinds if _in_time(scenario, kind)]
    largest = {key: max(kind.batch for _, kind in rows if (kind.variants, kind.shape) == key)
               for key in {(kind.variants, kind.shape) for _, kind in rows}}
    rows = [(c, kind) for c, kind in rows if kind.batch == largest[kind.variants, kind.shape]]
    variants = [[next((v for v in service.variants if v in kind.variants), "") for _, kind in rows]
                for service in scenario.services.values()]
    throughput_rps = np.array([[capacity_ratio * scenario.capacity_rps(kind, v) if v else 0.0
                                for (_, kind), v in zip(rows, row)] for row in variants])
    for name, row in zip(scenario.services, throughput_rps):
        if not row.any():
            raise ValueError(f"service '{name}': no candidate works a batch off within half of its SLO")
    devices = scenario.devices
    units = np.array([[kind.shape.units * (kind.shape.device == d) for d in devices] for _, kind in rows])
    whole = scenario.whole_price
    return [kind for _, kind in rows], variants, Problem(
        throughput_rps=throughput_rps,
        accuracy=np.array([[scenario.variants[v].accuracy if v else 0.0 for v in row] for row in variants]),
        units=units, cost=units @ np.array([d.price for d in devices.values()]) / whole,
        candidate=np.array([c for c, _ in rows]),
        most=np.array([1 if c.sized else c.max_count for c in scenario.candidates]),
        budget=np.array([d.budget for d in devices.values()]))


def _in_time(scenario: Scenario, kind: ReplicaKind) -> bool:
    """Whether a kind works a batch off within half of the SLO of every service that it serves."""
    for service in scenario.services.values():
        variant = next((v for v in service.variants if v in kind.variants), None)
        if variant and sum(scenario.profile.latency_s(variant, kind.shape, kind.batch)) >= HALF * service.slo_s:
            return False
    return True

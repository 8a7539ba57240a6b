"""Loki as a policy: hardware scaling with the most accurate variants; where the hardware is spent, accuracy scaling.

Source: Ahmad et al., HPDC 2024 (arXiv 2407.03583), and its artefact for the constants. Hardware scaling is a knapsack
(`baselines.ipa_knapsack`), accuracy scaling a mixed-integer program (`baselines.loki_milp`).
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
from baselines.ipa_knapsack import Options
from baselines.ipa_knapsack import solve as solve_knapsack
from baselines.loki_milp import Plan, Problem, scale_accuracy
from baselines.proteus import SPAN
from baselines.two_time_scales import TwoTimeScales
from envs.contract import Decision, Deployment, Observation, Policy, ReplicaKind
from envs.envelope import project
from envs.scenario import Scenario

HALF = 0.5  # of the SLO is for the stages' latencies, the rest for waiting (artefact)
LEAST_LOAD_RPS = 1e-3
ROUNDING = 1e-6  # of a share


class Loki(Policy):
    """Two steps at every decision, for one pipeline.

    1. Hardware scaling: the most accurate variant of each stage, on the fewest units that carry the load with the latencies of
       all stages within half of the SLO.
    2. Where no number of units does: accuracy scaling, the most accurate mix of variants on the whole budget; and where no mix
       carries the load, the one that carries most. `details` count both.

    A search that ended without a plan leaves what is in force. For scenarios of one application that is no cascade; a
    candidate that hosts several variants is planned with the stage's first of them.

    Args:
        forecast: a forecaster with its own margin, or the name of one; None: an exponential mean, as Proteus'.
        memory: intervals that a forecaster given by name looks back.
        margin: factor on the forecast.
        capacity_ratio: factor on throughputs.
        time_limit_s: of the solver.

    Raises:
        ValueError: on reset, a scenario of another kind, or one with a stage that no candidate serves.
    """

    def __init__(self, forecast: str | Forecaster | None = None, memory: int = 2, margin: float = 1.1,
                 capacity_ratio: float = 0.8, time_limit_s: float = 2.0) -> None:
        if forecast is None:
            forecast = EWM(SPAN, margin)
        self.forecaster = forecaster(forecast, memory, margin) if isinstance(forecast, str) else copy.deepcopy(forecast)
        self.capacity_ratio, self.time_limit_s = capacity_ratio, time_limit_s

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """Settings to calibrate: forecaster, its memory and margin, the factor on throughputs."""
        return {"forecast": ["last", "max", "ewm", "ar"], "memory": [2, 3, 5, 10], "margin": [0.9, 1.0, 1.1, 1.2, 1.3, 1.5],
                "capacity_ratio": [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]}

    def reset(self, scenario: Scenario) -> None:
        """Starts afresh: tables of the scenario, no observations."""
        application = next(iter(scenario.applications.values()))
        if len(scenario.applications) != 1 or application.cascade:
            raise ValueError(f"{type(self).__name__} plans one application that is no cascade; scenario '{scenario.name}' has "
                             f"{', '.join(scenario.applications)}")
        self._scenario, self._services = scenario, application.services
        self._kinds, self._names, self.problem = tables(scenario, self.capacity_ratio)
        self.forecaster.reset(scenario.interval_s)
        self.memory_intervals = self.forecaster.memory_intervals
        self._lone: LoneService | None = None
        if len(self._services) == 1 and len(set(zip(self.problem.variant, self.problem.candidate))) == len(self._names):
            self._lone = LoneService(scenario, self._services[0], self.capacity_ratio, set(self._kinds).__contains__)
        self._scaled = self._overloads = self._failures = 0
        self.scale_hardware(1.0)  # compiled by now, not at the first decision

    def scale_hardware(self, load_rps: float) -> Deployment | None:
        """The most accurate variant of each stage on the fewest units; None where the budget or the latency forbids it."""
        p = self.problem
        best = [p.variant[p.stage == s][np.argmax(p.accuracy[p.stage == s])] for s in range(len(self._services))]
        n = np.maximum(1.0, np.ceil(load_rps / p.throughput_rps - 1e-9))
        rows = np.flatnonzero(np.isin(p.variant, best) & (n <= p.most[p.candidate]))
        found = solve_knapsack(Options(
            p.stage[rows], np.zeros(len(rows)), p.cost[rows] * n[rows], p.latency_s[rows], p.units[rows] * n[rows, None],
            len(self._services), p.limit_s, p.budget, weight=0.0))
        if found is None:
            return None
        chosen = rows[list(found.options)]
        replicas, shares = np.zeros(len(p.stage), int), np.zeros(len(self._names))
        replicas[chosen], shares[p.variant[chosen]] = n[chosen], 1.0
        return self._deployment(Plan(replicas, shares, 1.0, found.proven))

    def scale_accuracy(self, load_rps: float) -> tuple[Deployment | None, bool]:
        """The most accurate mix that carries the load, and True; else the one that carries most; None: not found."""
        if self._lone is not None:
            alone = self._lone.plan(load_rps)
            return self._lone.deployment(alone), alone.feasible
        plan = scale_accuracy(self.problem, load_rps, self.time_limit_s)
        if plan is not None:
            return self._deployment(plan), True
        plan = scale_accuracy(self.problem, load_rps, self.time_limit_s, carried=None)
        return (self._deployment(plan) if plan is not None and plan.carried > 0 else None), False

    def decide(self, observation: Observation) -> Decision:
        """A plan for the forecast load."""
        self.forecaster.observe(observation.services[self._services[0]].offered_rps)
        load_rps = self.forecaster.forecast()
        if math.isnan(load_rps):
            return Decision(observation.deployment, "no load observed yet: unchanged")
        load_rps = max(load_rps, LEAST_LOAD_RPS)
        found, reason = self.scale_hardware(load_rps), f"load {load_rps:.3g} req/s: "
        if found is not None:
            return self._decision(found, load_rps, reason + "the most accurate variants")
        self._scaled += 1
        found, carried = self.scale_accuracy(load_rps)
        if not carried:
            self._overloads += 1
            reason += "more than the budget carries; "
        if found is None:
            self._failures += 1
            return self._decision(observation.deployment, load_rps, reason + "no plan was found: unchanged")
        variants = self._scenario.variants
        means = [sum(share * variants[v].accuracy for (_, v), share in found.routes[name].items()) for name in self._services]
        told = " x ".join(f"{100 * mean:.1f} %" for mean in means)
        return self._decision(found, load_rps, f"{reason}accuracy scaled to {told}")

    def _deployment(self, plan: Plan) -> Deployment:
        replicas: dict[ReplicaKind, int] = {}
        routes: dict[str, dict[tuple[ReplicaKind, str], float]] = {name: {} for name in self._services}
        for kind, s, v, n in zip(self._kinds, self.problem.stage, self.problem.variant, plan.replicas):
            if n:
                replicas[kind] = replicas.get(kind, 0) + int(n)
                if plan.shares[v] > ROUNDING * plan.carried:
                    routes[self._services[s]][kind, self._names[v]] = float(plan.shares[v])
        shares = {name: {route: share / sum(row.values()) for route, share in row.items()} for name, row in routes.items()}
        return replace(self._scenario.initial_deployment, replicas=replicas, routes=shares)

    def _decision(self, wanted: Deployment, load_rps: float, reason: str) -> Decision:
        deployment, lowered = project(wanted, self._scenario)
        reason += "; lowered to fit the nodes" if lowered else ""
        return Decision(deployment, reason, {"forecast_rps": load_rps, "accuracy_scaled": float(self._scaled),
                                             "overloads": float(self._overloads), "failures": float(self._failures)})


class FastLoki(TwoTimeScales):
    """Loki on two time scales: its load balancer, which fills the most accurate of what is ready first, at every decision."""

    slow = Loki


def tables(scenario: Scenario, capacity_ratio: float) -> tuple[list[ReplicaKind], list[str], Problem]:
    """The kind of each option, the names of the variants by number, and the program's tables.

    Raises:
        ValueError: a stage that no candidate serves within half of the SLO.
    """
    application = next(iter(scenario.applications.values()))
    limit_s = HALF * application.slo_s
    rows: list[tuple[int, int, ReplicaKind, str]] = []
    for s, name in enumerate(application.services):
        of_stage = scenario.services[name].variants
        hosted = [(c, k, next(v for v in of_stage if v in k.variants)) for c, candidate in enumerate(scenario.candidates)
                  if set(of_stage) & set(candidate.variants) for k in candidate.kinds]
        found = [(s, c, k, v) for c, k, v in hosted if sum(scenario.profile.latency_s(v, k.shape, k.batch)) <= limit_s
                 and scenario.capacity_rps(k, v) > 0]
        if not found:
            raise ValueError(f"service '{name}': no candidate answers within {limit_s:g} s, half of the SLO")
        rows += found
    names = list(dict.fromkeys((s, v) for s, _, _, v in rows))  # a variant of two stages is numbered twice
    devices = scenario.devices
    units = np.array([[k.shape.units * (k.shape.device == d) for d in devices] for _, _, k, _ in rows])
    whole = scenario.whole_price
    return [k for _, _, k, _ in rows], [v for _, v in names], Problem(
        stage=np.array([s for s, *_ in rows]), variant=np.array([names.index((s, v)) for s, _, _, v in rows]),
        accuracy=np.array([scenario.variants[v].accuracy for *_, v in rows]),
        throughput_rps=np.array([capacity_ratio * scenario.capacity_rps(k, v) for _, _, k, v in rows]),
        latency_s=np.array([sum(scenario.profile.latency_s(v, k.shape, k.batch)) for _, _, k, v in rows]),
        cost=units @ np.array([d.price for d in devices.values()]) / whole, units=units,
        candidate=np.array([c for _, c, _, _ in rows]),
        most=np.array([1 if c.sized else c.max_count for c in scenario.candidates]),
        budget=np.array([d.budget for d in devices.values()]), limit_s=limit_s)

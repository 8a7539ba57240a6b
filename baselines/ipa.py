"""IPA as a policy: forecast, then the best variant, batch and number of replicas for each stage of a pipeline.

Source: Ghafouri et al., JSys 2024 (arXiv 2308.12871), and its artefact for the constants. The program and its solver are in
`baselines.ipa_knapsack`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from baselines.forecasters import Forecaster, forecaster
from baselines.ipa_allocation import base_allocation
from baselines.ipa_knapsack import Options, Plan, solve
from baselines.lstm import LSTM
from baselines.lstm import PRETRAINED as MINUTES
from envs.contract import Decision, Deployment, Observation, Policy, ReplicaKind
from envs.envelope import project
from envs.scenario import Scenario

GAMMA = 1e-6  # penalty of a request in a batch: among equals the smaller batch
TIE = 1e-9  # of accuracy: among equals the more accurate, as where a rank of 0 makes a product of ranks 0
LEAST_LOAD_RPS = 1e-3
HALVINGS = 20  # of the load, in the search for the greatest that is carried
PRETRAINED = MINUTES.with_name("lstm-twitter_2021-10s")  # 12 maxima of 10 s, the greatest second of the next 20
MEASURES = ("product", "sum", "average")


class IPA(Policy):
    """Plans the whole pipeline for the forecast load, once each interval.

    A stage runs one replica kind: a variant, a batch and a shape among the scenario's candidates. Its latency is that of the
    batch and (batch - 1) / load, the wait for it to fill; its replicas are as many as carry the load.

    A load that the budget cannot carry within the SLO gets the plan of the greatest load that it can; where there is none, or
    the search was cut short without one, what is in force stays (`details` count each).

    For scenarios of one application that is no cascade; a candidate that hosts several variants is planned with the stage's
    first of them.

    Args:
        accuracy: what the accuracies of the stages make together: their ``product``, ``sum`` or ``average``.
        normalise: the k-th of V variants by accuracy counts as k / (V - 1), the only one as 1 (artefact: yes, but for video).
        least_rank: what the least accurate counts as then (named, 0.05, by the artefact's configurations for products).
        alpha: weight of accuracy; None: the scenario's.
        beta: weight of one core or device at a price of 1; None: the scenario's.
        forecast: a forecaster with its own margin, or the name of one; ``lstm`` is of IPA's shape, for intervals of 10 s.
        memory: intervals that a forecaster given by name looks back.
        margin: its factor on the forecast.
        capacity_ratio: factor on throughputs (artefact: 0.5 or 0.43, but for video).
        latency_ratio: factor on the latencies of batches (artefact: 2 for speech).
        threshold_rps: plan only shapes of IPA's base allocation for this load; None: all of the candidates.

    Raises:
        ValueError: an unknown measure of accuracy; on reset, a scenario of another kind.
    """

    def __init__(self, accuracy: Literal["product", "sum", "average"] = "product", normalise: bool = False,
                 least_rank: float = 0.0, alpha: float | None = None, beta: float | None = None,
                 forecast: str | Forecaster = "max", memory: int = 2, margin: float = 1.2, capacity_ratio: float = 0.8,
                 latency_ratio: float = 1.0, threshold_rps: float | None = None) -> None:
        if accuracy not in MEASURES:
            raise ValueError(f"accuracy '{accuracy}': give one of {', '.join(MEASURES)}")
        self.accuracy, self.normalise, self.alpha, self.beta = accuracy, normalise, alpha, beta
        self.least_rank = least_rank
        if isinstance(forecast, str):
            self.forecaster = LSTM(margin, PRETRAINED) if forecast == "lstm" else forecaster(forecast, memory, margin)
        else:
            self.forecaster = copy.deepcopy(forecast)
        self.capacity_ratio, self.latency_ratio, self.threshold_rps = capacity_ratio, latency_ratio, threshold_rps

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """Settings to calibrate: forecaster, its memory and margin, the measure of accuracy, the factor on throughputs."""
        learned = ["lstm"] if scenario.interval_s <= 10 else []  # it looks at tens of seconds
        return {"forecast": ["last", "max", "ewm", "ar", *learned], "memory": [2, 3, 6, 12],
                "margin": [0.9, 1.0, 1.1, 1.2, 1.3, 1.5], "accuracy": list(MEASURES), "normalise": [False, True],
                "capacity_ratio": [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]}

    def allowed(self, service: str, variant: str) -> bool:
        """Whether a stage may run a variant."""
        return True

    def counts(self, load_rps: float) -> np.ndarray:
        """Replicas of each kind that carry a load, shape (kinds,); 0 where none may or can."""
        n = np.maximum(1.0, np.ceil(load_rps / self._capacity_rps - 1e-9))
        return np.where(n <= self._most, n, 0.0)

    def reset(self, scenario: Scenario) -> None:
        """Starts afresh: tables of the scenario, no observations."""
        application = next(iter(scenario.applications.values()))
        if len(scenario.applications) != 1 or application.cascade:
            raise ValueError(f"{type(self).__name__} plans one application that is no cascade; scenario '{scenario.name}' has "
                             f"{', '.join(scenario.applications)}")
        self._scenario, self._services, self._slo_s = scenario, application.services, application.slo_s
        self._tabulate(scenario)
        self.forecaster.reset(scenario.interval_s)
        self.memory_intervals = self.forecaster.memory_intervals
        self._overloads = self._failures = self._unproven = 0
        self.plan(1.0)  # compiled by now, not at the first decision

    def _tabulate(self, scenario: Scenario) -> None:
        """One row for each stage and kind that may serve it."""
        rows: list[tuple[int, ReplicaKind, str, int]] = []
        for s, name in enumerate(self._services):
            variants = scenario.services[name].variants
            hosted = [(kind, next(v for v in variants if v in c.variants), 1 if c.sized else c.max_count)
                      for c in scenario.candidates if set(variants) & set(c.variants) for kind in c.kinds]
            kinds = [row for row in hosted if self.allowed(name, row[1])]
            if self.threshold_rps is not None:
                based = base_allocation(scenario, name, [(k, v) for k, v, _ in kinds], self.threshold_rps, self.capacity_ratio)
                kinds = [row for row in kinds if (row[0].shape, row[1]) in based]
            rows += [(s, *row) for row in kinds]
        devices = list(scenario.devices)
        price = np.array([scenario.devices[k.shape.device].price for _, k, _, _ in rows])
        whole = scenario.whole_price
        self._kinds = [(kind, variant) for _, kind, variant, _ in rows]
        self._stage = np.array([s for s, *_ in rows], dtype=np.int64)
        self._most = np.array([most for *_, most in rows], dtype=float)
        self._capacity_rps = np.array([self.capacity_ratio * scenario.capacity_rps(k, v) for k, v in self._kinds])
        self._latency_s = np.array([self.latency_ratio * sum(scenario.profile.latency_s(v, k.shape, k.batch))
                                    + scenario.overhead_s for k, v in self._kinds])
        self._batch = np.array([k.batch for k, _ in self._kinds])
        self._units = np.array([[k.shape.units * (k.shape.device == d) for d in devices] for k, _ in self._kinds])
        self._budget = np.array([d.budget for d in scenario.devices.values()])
        beta = scenario.weights.cost / whole if self.beta is None else self.beta
        self._unit_penalty = beta * price * self._units.sum(1)
        self._accuracy = np.array([scenario.variants[v].accuracy for _, v in self._kinds])
        scores = [ranks(scenario, name, self.least_rank) if self.normalise else {v: scenario.variants[v].accuracy
                  for v in scenario.services[name].variants} for name in self._services]
        self._score = np.array([scores[s][v] for s, (_, v) in zip(self._stage, self._kinds)])
        alpha = scenario.weights.accuracy if self.alpha is None else self.alpha
        self._weight = alpha / len(self._services) if self.accuracy == "average" else alpha

    def options(self, load_rps: float) -> tuple[Options, np.ndarray, np.ndarray]:
        """The program for a load, and of each of its options the row of the tables and the replicas."""
        n = self.counts(load_rps)
        wait_s = (self._batch - 1) / load_rps
        rows = np.flatnonzero((n > 0) & (self._latency_s + wait_s <= self._slo_s))
        n = n[rows]
        penalty = self._unit_penalty[rows] * n + GAMMA * self._batch[rows] - TIE * self._accuracy[rows]
        return Options(self._stage[rows], self._score[rows], penalty, self._latency_s[rows] + wait_s[rows],
                       self._units[rows] * n[:, None], len(self._services), self._slo_s, self._budget, self._weight,
                       self.accuracy == "product"), rows, n

    def plan(self, load_rps: float) -> tuple[dict[tuple[str, ReplicaKind, str], int], Plan] | None:
        """Replicas by stage, kind and variant, and the plan behind them; None where the load cannot be carried."""
        options, rows, n = self.options(load_rps)
        found = solve(options)
        if found is None:
            return None
        chosen = {(self._services[self._stage[rows[o]]], *self._kinds[rows[o]]): int(n[o]) for o in found.options}
        return chosen, found

    def decide(self, observation: Observation) -> Decision:
        """A plan for the forecast load."""
        self.forecaster.observe(observation.services[self._services[0]].offered_rps)
        load_rps = self.forecaster.forecast()
        if math.isnan(load_rps):
            return Decision(observation.deployment, "no load observed yet: unchanged")
        load_rps = max(load_rps, LEAST_LOAD_RPS)
        found, planned_rps = self.plan(load_rps), load_rps
        if found is None:
            self._overloads += 1
            found, planned_rps = self._most_load(load_rps)
        if found is None:
            self._failures += 1
            reason = f"no plan keeps the SLO of {self._slo_s:g} s within the budget: unchanged"
            return self._decision(observation.deployment, load_rps, reason)
        chosen, plan = found
        self._unproven += not plan.proven
        deployment, lowered = project(self._deployment(chosen), self._scenario)
        reason = f"load {load_rps:.3g} req/s"
        if planned_rps < load_rps:
            reason += f" is more than the budget carries within the SLO: planned for {planned_rps:.3g}"
        reason += "; lowered to fit the nodes" if lowered else ""
        return self._decision(deployment, load_rps, reason, plan.objective)

    def _most_load(self, load_rps: float) -> tuple[tuple[dict[tuple[str, ReplicaKind, str], int], Plan] | None, float]:
        """The plan of the greatest load that can be carried, and that load."""
        low, high, best = 0.0, load_rps, None
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            found = self.plan(middle)
            if found is None:
                high = middle
            else:
                low, best = middle, found
        return best, low

    def _deployment(self, chosen: Mapping[tuple[str, ReplicaKind, str], int]) -> Deployment:
        replicas: dict[ReplicaKind, int] = {}
        for (_, kind, _), n in chosen.items():
            replicas[kind] = replicas.get(kind, 0) + n
        routes = {service: {(kind, variant): 1.0} for service, kind, variant in chosen}
        return replace(self._scenario.initial_deployment, replicas=replicas, routes=routes)

    def _decision(self, deployment: Deployment, load_rps: float, reason: str, value: float = math.nan) -> Decision:
        details = {"forecast_rps": load_rps, "objective": value, "overloads": float(self._overloads),
                   "failures": float(self._failures), "unproven": float(self._unproven)}
        return Decision(deployment, reason, {k: v for k, v in details.items() if not math.isnan(v)})


def ranks(scenario: Scenario, service: str, least: float = 0.0) -> dict[str, float]:
    """IPA's normalised accuracies: the k-th of a service's V variants by accuracy, from 0, has k / (V - 1), at least `least`.

    A lone one has 1.
    """
    variants = sorted(scenario.services[service].variants, key=lambda v: scenario.variants[v].accuracy)
    return {v: max(least, k / (len(variants) - 1)) if len(variants) > 1 else 1.0 for k, v in enumerate(variants)}

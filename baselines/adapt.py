"""ADAPT: model-predictive control of one variant's pods, over a horizon that a running estimate of the cold start sets.

Source: Baghel, "ADAPT: A Self-Calibrating Proactive Autoscaler for Container Orchestration", 2026 (arXiv 2605.15788), and its
published code for constants. Cold starts are averaged exponentially; the horizon is that many intervals and one more; the
objective is quadratic in the load that is not carried, and pods ordered now carry load from the end of the cold start on:

    minimise    sum over h intervals of (w_short * max(0, demand_k - pods_k)^2 + w_pod * pods) + w_change * (pods - before)^2
    pods_k      those ready now while k < cold start, then those ordered;   demand is in pods
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from baselines.forecasters import Forecaster, forecaster
from baselines.single_variant import Scaled, SingleVariant, Wanted, ready_pods
from envs.contract import Observation, ReplicaKind
from envs.scenario import Scenario

ALPHA = 0.3  # weight of the newest cold start (published)
BEYOND = 1  # intervals of horizon after the cold start (published)
SHORTFALL, POD, CHANGE = 1e5, 1.0, 0.5  # published: 10 for each (req/s)^2 at 100 req/s a pod; 1; 0.5


class ColdStart:
    """Exponentially weighted mean of measured cold starts, seconds.

    Args:
        prior_s: before any was measured.
        alpha: weight of the newest.
    """

    def __init__(self, prior_s: float, alpha: float = ALPHA) -> None:
        self.mean_s, self._alpha = prior_s, alpha

    def observe(self, cold_start_s: float) -> None:
        """Takes one measurement; what is not above 0, or missing, is none."""
        if cold_start_s > 0:
            self.mean_s += self._alpha * (cold_start_s - self.mean_s)

    def intervals(self, interval_s: float) -> int:
        """Intervals until a pod that is ordered now carries load, at least 1."""
        return max(1, math.ceil(self.mean_s / interval_s - 1e-9))


def cost(ordered: int, demand_pods: np.ndarray, ready: int, cold: int, before: int,
         weights: tuple[float, float, float] = (SHORTFALL, POD, CHANGE)) -> float:
    """The objective of an order.

    Args:
        ordered: pods.
        demand_pods: (h,) demand of each interval of the horizon, in pods.
        ready: pods that carry load until the cold start is over.
        cold: intervals that it takes.
        before: pods asked for now.
        weights: of shortfall, pods and change.
    """
    pods = np.where(np.arange(len(demand_pods)) < cold, ready, ordered)
    short, pod, change = weights
    return float(short * (np.maximum(0.0, demand_pods - pods) ** 2).sum() + pod * ordered * len(demand_pods)
                 + change * (ordered - before) ** 2)


class ADAPT(SingleVariant):
    """Orders the pods of least cost over the horizon, one run for each service.

    The path of the load is the forecaster's, each forecast taken for the next observation. A cold start is measured whenever
    ready replicas of a kind have become more. Its published bounds of 30 s and 600 s on the estimate are not in.

    Args:
        variant: as `SingleVariant`'s.
        forecast: a forecaster with its own margin, or the name of one (published: an LSTM).
        memory: intervals that a forecaster given by name looks back.
        margin: its factor on the forecast.
        target: share of a pod's capacity to be used.
        change: weight of a change.
        alpha: weight of the newest cold start.

    Raises:
        ValueError: as `SingleVariant`.
    """

    def __init__(self, variant: str | None = None, forecast: str | Forecaster = "ar", memory: int = 5, margin: float = 1.1,
                 target: float = 0.8, change: float = CHANGE, alpha: float = ALPHA) -> None:
        super().__init__(variant, target)
        self.forecaster = forecaster(forecast, memory, margin) if isinstance(forecast, str) else forecast
        self.change, self.alpha = change, alpha

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """Settings to calibrate: variant, forecaster, its memory and margin, target, weight of a change."""
        return {"variant": sorted({v for s in scenario.services.values() for v in s.variants}),
                "forecast": ["last", "max", "ewm", "ar"], "memory": [2, 3, 5, 10],
                "margin": [0.9, 1.0, 1.1, 1.2, 1.3, 1.5], "target": [0.6, 0.7, 0.8, 0.9, 1.0], "change": [0.0, 0.1, 0.5, 2.0]}

    def restart(self) -> None:
        """Forgets loads and cold starts."""
        self._forecasters, self._colds, self._ready = {}, {}, {}
        for scaled in self.scaled:
            own = copy.deepcopy(self.forecaster)
            own.reset(self.scenario.interval_s)
            self._forecasters[scaled.service] = own
            self._colds[scaled.service] = ColdStart(self.scenario.variants[scaled.variant].load_s, self.alpha)
            self._ready[scaled.service] = dict[ReplicaKind, float]()
        self.memory_intervals = self.forecaster.memory_intervals + 1

    def scale(self, scaled: Scaled, current: int, observation: Observation) -> Wanted:
        """One run of the controller."""
        own, cold = self._forecasters[scaled.service], self._colds[scaled.service]
        self._measure(scaled, cold, observation)
        offered_rps = observation.services[scaled.service].offered_rps
        own.observe(offered_rps)
        if math.isnan(offered_rps):
            return None, "offered load is missing: unchanged"
        intervals = cold.intervals(self.scenario.interval_s)
        demand_pods = path_rps(own, intervals + BEYOND) / (self.target * scaled.capacity_rps)
        ready, weights = ready_pods(scaled, observation), (SHORTFALL, POD, self.change)
        choices = sorted({scaled.rounded(pods) for pods in range(scaled.least, scaled.most + 1)})
        pods = min(choices, key=lambda n: cost(n, demand_pods, ready, intervals, current, weights))
        told = f"{demand_pods[-1]:.3g} pods of load in {len(demand_pods)} intervals, cold start {cold.mean_s:.3g} s"
        return pods, f"{told}, {current} -> {pods} pods"

    def _measure(self, scaled: Scaled, cold: ColdStart, observation: Observation) -> None:
        """Takes the cold start of a kind that has more ready replicas than at the last decision."""
        ready = {k: observation.kinds[k].ready for k in scaled.candidate.kinds if k in observation.kinds}
        before = self._ready[scaled.service]
        if before and any(n > before.get(kind, n) for kind, n in ready.items()):
            cold.observe(observation.load_s[scaled.variant])
        self._ready[scaled.service] = ready


def path_rps(own: Forecaster, steps: int) -> np.ndarray:
    """Forecasts of the next intervals, (steps,) req/s with the margin: each is taken for the next observation.

    Raises:
        ValueError: nothing was observed yet.
    """
    ahead = copy.deepcopy(own)
    path = []
    for _ in range(steps):
        path.append(ahead.forecast())
        if math.isnan(path[-1]):
            raise ValueError("no load observed yet: there is no path")
        ahead.observe(path[-1] / ahead.margin)
    return np.array(path)

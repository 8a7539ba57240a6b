"""Autopilot's recommenders: moving windows over use, and an ensemble of small models that pays for its mistakes.

Source: Rzadca et al., "Autopilot: workload autoscaling at Google", EuroSys 2020, section 3.2. Use comes as one number an
interval (theirs: a histogram of five minutes), in pods.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

HALF_LIFE_S = 12 * 3600.0  # of CPU use
DECAYS = (0.02, 0.05, 0.1, 0.3)  # of the ensemble's models
MARGINS = (0, 1, 2, 4)  # of the ensemble's models, pods
COST_DECAY = 0.1  # of a model's cost


def weights(count: int, interval_s: float, half_life_s: float = HALF_LIFE_S) -> np.ndarray:
    """Weights of past intervals, oldest first, the newest 1: half for each half-life of age."""
    return 0.5 ** (np.arange(count)[::-1] * interval_s / half_life_s)


def peak(use: Sequence[float]) -> float:
    """The greatest use of the window."""
    return max(use)


def average(use: Sequence[float], weight: np.ndarray) -> float:
    """The weighted mean of use."""
    return float(np.average(np.asarray(use), weights=weight))


def load_adjusted_percentile(use: Sequence[float], weight: np.ndarray, percent: float) -> float:
    """The percentile of use, where each interval counts in proportion to its use: the load served at or below it.

    Args:
        use: of each interval.
        weight: of each interval.
        percent: 0 to 100; the least use at or below which that share of all weighted use lies.
    """
    order = np.argsort(use, kind="stable")
    values = np.asarray(use, dtype=float)[order]
    load = np.cumsum(values * weight[order])
    return float(values[np.searchsorted(load, percent / 100 * load[-1] * (1 - 1e-12))]) if load[-1] > 0 else 0.0


@dataclass(frozen=True)
class Prices:
    """What mistakes cost.

    Attributes:
        overrun: of use above the limit, an interval.
        underrun: of use below it.
        limit_change: of another limit.
        model_change: of another model.
    """

    overrun: float = 1.0
    underrun: float = 0.1
    limit_change: float = 0.02
    model_change: float = 0.02


class Ensemble:
    """The recommender that learns: models, each with a decay and a margin, choose limits; the cheapest model so far decides.

    A model keeps, for every limit L, decayed counts o(L) of intervals whose use was above L and u(L) of those below; its limit
    is the one that minimises overrun o(L) + underrun u(L) + change [L is not its last], plus its margin. Its own cost decays
    likewise, and counts what its limits, margins included, were worth.

    Args:
        most: limits are whole pods, 1 to `most`.
        prices: of mistakes.
        decays: of the models.
        margins: of the models, pods.
    """

    def __init__(self, most: int, prices: Prices | None = None, decays: Sequence[float] = DECAYS,
                 margins: Sequence[int] = MARGINS) -> None:
        self._prices = prices or Prices()
        self._limits = np.arange(1, most + 1)
        models = list(itertools.product(decays, margins))
        self._decay = np.array([d for d, _ in models])
        self._margin = np.array([m for _, m in models])
        self._over, self._under = np.zeros((len(models), most)), np.zeros((len(models), most))
        self._base = np.zeros(len(models), dtype=np.int64)  # each model's limit before its margin; 0: none yet
        self._cost = np.zeros(len(models))
        self._model, self._limit = -1, 0

    def observe(self, use: float) -> int:
        """Takes the use of one interval; returns the limit for the next."""
        p, decay = self._prices, self._decay[:, None]
        before = self._base + self._margin
        self._over = (1 - decay) * self._over + decay * (use > self._limits)
        self._under = (1 - decay) * self._under + decay * (use < self._limits)
        changed = (self._limits != self._base[:, None]) & (self._base[:, None] > 0)
        loss = p.overrun * self._over + p.underrun * self._under + p.limit_change * changed
        self._base = self._limits[np.argmin(loss, axis=1)]
        limit = np.minimum(self._base + self._margin, self._limits[-1])
        at = np.arange(len(limit)), limit - 1
        paid = p.overrun * self._over[at] + p.underrun * self._under[at] + p.limit_change * ((limit != before) & (before > 0))
        self._cost = COST_DECAY * paid + (1 - COST_DECAY) * self._cost
        switch = p.model_change * ((np.arange(len(limit)) != self._model) & (self._model >= 0))
        total = self._cost + switch + p.limit_change * ((limit != self._limit) & (self._limit > 0))
        self._model = int(np.argmin(total))
        self._limit = int(limit[self._model])
        return self._limit


def held(recommended: Sequence[float]) -> float:
    """The recommendation in force: the greatest of the last hour's, so that it falls slowly."""
    return max(recommended)


def whole(pods: float) -> int:
    """Pods for a recommendation: at least one, rounded up."""
    return max(1, math.ceil(pods - 1e-9))

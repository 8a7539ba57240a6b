"""What the load may be: the interface of quantile forecasters, and what planners make of one.

A point forecast is right on average; a planner whose replicas take minutes to load has to know what the load may be by then.
A quantile forecaster is injected as an object: `baselines.analogs` has one that learns nothing, `agents` one that does.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque

import numpy as np

from baselines.forecasters import Forecaster
from envs.scenario import Scenario


class QuantileForecaster(ABC):
    """Quantiles of the load of each of the next intervals.

    Attributes:
        levels: (Q,) rising probabilities, each above 0 and below 1.
        memory_intervals: how many past loads it looks at, at most; it does with fewer.
    """

    levels: np.ndarray = np.array([0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99])
    memory_intervals: int = 1

    @abstractmethod
    def reset(self, scenario: Scenario, service: str, horizon: int) -> None:
        """Gets ready for a service's load in the scenario's intervals, `horizon` of them ahead.

        Raises:
            ValueError: it cannot forecast this.
        """

    @abstractmethod
    def quantiles(self, history: np.ndarray) -> np.ndarray:
        """What the load may be.

        Args:
            history: (n,) mean offered loads of past intervals (req/s), the newest last; n >= 1, no nan.

        Returns:
            (horizon, Q) quantiles (req/s) of the load of the 1st, 2nd, ... interval to come, rising along the levels.
        """

    def paths(self, history: np.ndarray, count: int) -> np.ndarray:
        """(count, horizon) equally likely courses of the load; here each stays at one level throughout."""
        wanted, found = (np.arange(count) + 0.5) / count, self.quantiles(history)
        return np.array([np.interp(wanted, self.levels, row) for row in found]).T


class PlannedQuantile(Forecaster):
    """A load to plan for: the greatest that a quantile of one level reaches within the horizon, times a margin.

    Args:
        quantiles: the forecaster; `QuantileForecaster.reset` is the planner's to call.
        level: in (0, 1); between the forecaster's levels it is interpolated, beyond them the nearest is taken.
        margin: factor, for bursts within an interval.

    Raises:
        ValueError: a level that is not within (0, 1).
    """

    def __init__(self, quantiles: QuantileForecaster, level: float, margin: float = 1.0) -> None:
        if not 0 < level < 1:
            raise ValueError(f"level {level}: give a probability above 0 and below 1, such as 0.9")
        self.quantiles, self.level = quantiles, level
        self.memory_intervals = quantiles.memory_intervals
        super().__init__(margin)

    def _clear(self) -> None:
        self._history: deque[float] = deque(maxlen=self.memory_intervals)

    def _take(self, rps: float) -> None:
        self._history.append(rps)

    def _predict(self) -> float:
        found = self.quantiles.quantiles(np.array(self._history))
        return max(float(np.interp(self.level, self.quantiles.levels, row)) for row in found)


def loading_intervals(scenario: Scenario) -> int:
    """Intervals until the slowest replica that is ordered now has loaded, at least 1."""
    longest_s = max(map(scenario.load_s, scenario.kinds)) + scenario.decision_delay_s
    return max(1, math.ceil(longest_s / scenario.interval_s - 1e-9))

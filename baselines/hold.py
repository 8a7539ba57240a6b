"""A planner that does not scale down at once: it plans for the greatest of its last forecasts.

Loading takes longer than a dip of the load lasts, and a replica given up too early costs violations, one kept too long only
its price. In a pilot on real traces this hold was worth more to a planner than a better forecaster.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from baselines.forecasters import Forecaster, forecaster
from baselines.infadapter import CAPACITY_RATIO, InfAdapter
from baselines.two_time_scales import FAST_MARGIN, TwoTimeScales
from envs.scenario import Scenario


class ScaleDownHold(Forecaster):
    """The greatest of a forecaster's last `release` forecasts: up at once, down when all of them are lower.

    Args:
        inner: the forecaster, with its own margin.
        release: forecasts that must be lower, >= 1; 1 holds nothing.

    Raises:
        ValueError: a release below 1.
    """

    def __init__(self, inner: Forecaster, release: int) -> None:
        if release != int(release) or release < 1:
            raise ValueError(f"release {release}: give a whole number of intervals, at least 1")
        self.inner, self.release = inner, int(release)
        super().__init__()
        self.memory_intervals = inner.memory_intervals + self.release - 1

    def reset(self, interval_s: float = 30.0) -> None:
        """Forgets all observations."""
        self.inner.reset(interval_s)
        super().reset(interval_s)

    def _clear(self) -> None:
        self._forecasts: deque[float] = deque(maxlen=self.release)

    def _take(self, rps: float) -> None:
        self.inner.observe(rps)
        self._forecasts.append(self.inner.forecast())

    def _predict(self) -> float:
        return max(self._forecasts)


class HeldInfAdapter(InfAdapter):
    """InfAdapter's program for the greatest of the last `release` forecasts; it has no other hold.

    Args:
        forecast: a forecaster with its own margin (any, such as one of quantiles), or the name of one.
        memory: intervals that a forecaster given by name looks back.
        margin: its factor on the forecast.
        release: forecasts that must be lower before less is planned.
        capacity_ratio: safety factor on the capacities.
        finish_rollout: wait for the last plan's replicas before the next plan: a change of plan gives up what still loads.
    """

    def __init__(self, forecast: str | Forecaster = "max", memory: int = 2, margin: float = 1.1, release: int = 6,
                 capacity_ratio: float = CAPACITY_RATIO, finish_rollout: bool = False) -> None:
        inner = forecaster(forecast, memory, margin) if isinstance(forecast, str) else forecast
        super().__init__(ScaleDownHold(inner, release), hold=0, finish_rollout=finish_rollout, capacity_ratio=capacity_ratio)

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """Settings to calibrate: InfAdapter's own that are left, and the release."""
        taken = {name: values for name, values in InfAdapter.space(scenario).items() if name != "hold"}
        return {**taken, "release": [1, 2, 4, 6, 10, 20]}


class HoldPlanner(TwoTimeScales):
    """The planner with a scale-down hold, on two time scales (`infadapter-hold`)."""

    slow = HeldInfAdapter

    def __init__(self, planner: HeldInfAdapter | None = None, fast_margin: float = FAST_MARGIN, **settings: Any) -> None:
        super().__init__(planner, fast_margin, **settings)

"""Planners that look as far ahead as replicas take to load: by a quantile of the load, and with a scale-down hold as well.

What is ordered now is ready when it has loaded, and serves until what is ordered next has: so a planner plans for the greatest
load that a high quantile reaches within the load time and one interval more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from baselines.analogs import Analogs
from baselines.hold import HeldInfAdapter, ScaleDownHold
from baselines.infadapter import CAPACITY_RATIO
from baselines.quantiles import PlannedQuantile, QuantileForecaster, loading_intervals
from baselines.two_time_scales import FAST_MARGIN, TwoTimeScales
from envs.scenario import Scenario

RELEASE = 6


class QuantileInfAdapter(HeldInfAdapter):
    """InfAdapter's program for a quantile of the load within the load time.

    Args:
        quantiles: the forecaster; None: `Analogs`, of the scenario's own workload.
        level: of the quantile.
        margin: factor on it, for bursts within an interval.
        release: plans in a row that must be lower before less is held; 1 holds nothing.
        capacity_ratio: safety factor on the capacities.
        finish_rollout: wait for the last plan's replicas before the next plan.
    """

    def __init__(self, quantiles: QuantileForecaster | None = None, level: float = 0.9, margin: float = 1.1,
                 release: int = 1, capacity_ratio: float = CAPACITY_RATIO, finish_rollout: bool = False) -> None:
        planned = PlannedQuantile(Analogs() if quantiles is None else quantiles, level, margin)
        super().__init__(planned, release=release, capacity_ratio=capacity_ratio, finish_rollout=finish_rollout)

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """Level, margin, safety factor, and whether to wait."""
        return {"level": [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98], "margin": [0.9, 1.0, 1.1, 1.2, 1.3, 1.5],
                "capacity_ratio": [0.7, 0.8, 0.9, 1.0], "finish_rollout": [True, False]}

    def reset(self, scenario: Scenario) -> None:
        """Starts afresh; the forecaster looks as far as the slowest replica takes to load."""
        super().reset(scenario)
        self.planned.quantiles.reset(scenario, self._service, loading_intervals(scenario) + 1)

    @property
    def planned(self) -> PlannedQuantile:
        """What it plans for; the forecaster is this object's `quantiles`."""
        return cast(PlannedQuantile, cast(ScaleDownHold, self.forecaster).inner)


class QuantilePlanner(TwoTimeScales):
    """The planner with a quantile forecaster, on two time scales (`infadapter-quantile`)."""

    slow = QuantileInfAdapter

    def __init__(self, planner: QuantileInfAdapter | None = None, fast_margin: float = FAST_MARGIN, **settings: Any) -> None:
        super().__init__(planner, fast_margin, **settings)


class HeldQuantileInfAdapter(QuantileInfAdapter):
    """The same with a scale-down hold."""

    def __init__(self, quantiles: QuantileForecaster | None = None, level: float = 0.9, margin: float = 1.1,
                 release: int = RELEASE, capacity_ratio: float = CAPACITY_RATIO, finish_rollout: bool = False) -> None:
        super().__init__(quantiles, level, margin, release, capacity_ratio, finish_rollout)

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """The same, and the release."""
        return {**super().space(scenario), "release": [1, 2, 4, 6, 10, 20]}


class HeldQuantilePlanner(QuantilePlanner):
    """The planner with both, on two time scales (`infadapter-quantile-hold`)."""

    slow = HeldQuantileInfAdapter

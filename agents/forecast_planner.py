"""Planners with the learned quantile forecaster in place of analogs: the one with a scale-down hold, and look-ahead."""

from __future__ import annotations

from typing import Any

from agents.quantile_forecaster import LearnedQuantiles
from baselines.mpc import MPC, BandMPC
from baselines.quantile_planner import HeldQuantileInfAdapter, HeldQuantilePlanner


class LearnedQuantileInfAdapter(HeldQuantileInfAdapter):
    """InfAdapter's program for a quantile that the pretrained network forecasts.

    Args:
        settings: of `HeldQuantileInfAdapter`, but for the forecaster.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(LearnedQuantiles(), **settings)


class ForecastPlanner(HeldQuantilePlanner):
    """`infadapter-quantile-hold` with the learned forecaster (`infadapter-forecast`)."""

    slow: type[HeldQuantileInfAdapter] = LearnedQuantileInfAdapter
    learning = "supervised"


class LearnedBandMPC(BandMPC):
    """Look-ahead over courses of the load that the pretrained network forecasts.

    Args:
        settings: of `BandMPC`, but for the forecaster.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(LearnedQuantiles(), **settings)


class ForecastMPC(MPC):
    """`mpc` with the learned forecaster (`mpc-forecast`)."""

    slow: type[BandMPC] = LearnedBandMPC
    learning = "supervised"

"""The planner with a perfect forecast: it knows the load that comes, and plans as ever.

A peer that nobody can run, and no bound either: it plans for the greatest load that comes before what it orders now could be
replaced, an interval at a time, and a schedule made with the whole future at once does better (`baselines.oracle`). Between a
calibrated planner and this one lies what a better forecast can earn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from baselines.forecasters import Forecaster
from baselines.future import Future
from baselines.infadapter import CAPACITY_RATIO, InfAdapter
from baselines.two_time_scales import FAST_MARGIN, TwoTimeScales
from envs.reward_table import coming_rps
from envs.scenario import Scenario


class PerfectForecast(Forecaster):
    """The greatest of the intervals' true loads from now until what is ordered now could be replaced.

    Args:
        margin: factor on it, for bursts within an interval.
    """

    def foretell(self, coming_rps: np.ndarray, ahead: int) -> None:
        """Tells the true load of each interval of the episode, (T,) req/s, and how many of them to look ahead."""
        self._coming, self._ahead = coming_rps, ahead

    def observe(self, rps: float) -> None:
        """Goes on by one interval; what was observed is known already, but nothing is said before there is an observation."""
        self._now += 1
        super().observe(rps)

    def _clear(self) -> None:
        self._now = -1

    def _take(self, rps: float) -> None:
        pass

    def _predict(self) -> float:
        rest = self._coming[self._now : self._now + self._ahead]
        return float(rest.max()) if rest.size else self._last


class PerfectForecastPlanner(TwoTimeScales):
    """InfAdapter's program for the load that comes, on two time scales.

    Args:
        margin: factor on the load.
        capacity_ratio: safety factor on the capacities.
        hold: how many decisions a plan may outlive its need.
        finish_rollout: wait for the last plan's replicas before the next plan.
        fast_margin: of the routes.
        future: the episode that it will play; without it, `foresee` makes a planner that has one.
    """

    def __init__(self, margin: float = 1.1, capacity_ratio: float = CAPACITY_RATIO, hold: int = 4,
                 finish_rollout: bool = True, fast_margin: float = FAST_MARGIN, future: Future | None = None) -> None:
        self._settings = {"margin": margin, "capacity_ratio": capacity_ratio, "hold": hold, "finish_rollout": finish_rollout,
                          "fast_margin": fast_margin}
        self.future = future
        planner = InfAdapter(PerfectForecast(margin), hold=hold, finish_rollout=finish_rollout, capacity_ratio=capacity_ratio)
        super().__init__(planner, fast_margin)

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """Settings to calibrate: those of InfAdapter that are left, and the fast margin."""
        taken = {name: InfAdapter.space(scenario)[name] for name in ("margin", "hold", "finish_rollout", "capacity_ratio")}
        return {**taken, "fast_margin": [1.0, 1.1, 1.2, 1.4, 1.6, 2.0]}

    def foresee(self, future: Future) -> PerfectForecastPlanner:
        """The planner of one episode."""
        return type(self)(**self._settings, future=future)  # type: ignore[arg-type]  # as they came

    def reset(self, scenario: Scenario) -> None:
        """Starts afresh on its episode.

        Raises:
            ValueError: it has no future, or the scenario has several services.
        """
        super().reset(scenario)
        if self.future is None:
            raise ValueError("a perfect forecast needs the future: make it by foresee(future)")
        future = self.future
        longest_s = max(scenario.load_s(kind) for kind in scenario.kinds) + scenario.decision_delay_s
        coming = coming_rps(scenario, future.loads, future.start_s, future.seed, future.intervals)[:, 0]
        forecaster = self.planner.forecaster  # type: ignore[attr-defined]  # InfAdapter's own copy
        forecaster.foretell(coming, math.ceil(longest_s / scenario.interval_s) + 1)

"""The order/keep band: order up to one level, keep up to another, in between leave all as it is.

Five constants, no forecast and nothing learned: capacity for `order_margin` x the greatest of the last `order_memory` loads is
ordered, what is above `keep_margin` x the greatest of the last `keep_memory` loads is given up, and the fast loop's margin
shares the load out. In a pilot on real traces this beat the calibrated planner.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from baselines.forecasters import Forecaster
from baselines.infadapter import InfAdapter
from baselines.two_time_scales import TwoTimeScales
from envs.scenario import Scenario


class Band(Forecaster):
    """The load to plan for, n(t) = clip(n(t-1), order level, keep level); a keep level below the order level counts as it.

    The levels are maxima of recent loads, but n(t) hangs on n(t-1) as long as that stays within the band. It is within it
    for ever only where the load does not change; after `order_memory` + `keep_memory` intervals it is nearly always known.

    Args:
        order_margin, order_memory: factor, and intervals looked back, of the order level.
        keep_margin, keep_memory: the same of the keep level.

    Raises:
        ValueError: a margin that is not above 0, or a memory below 1.
    """

    def __init__(self, order_margin: float, order_memory: int, keep_margin: float, keep_memory: int) -> None:
        for name, margin in (("order_margin", order_margin), ("keep_margin", keep_margin)):
            if not margin > 0:
                raise ValueError(f"{name} {margin}: give a factor above 0, such as 1.3")
        for name, memory in (("order_memory", order_memory), ("keep_memory", keep_memory)):
            if memory != int(memory) or memory < 1:
                raise ValueError(f"{name} {memory}: give a whole number of intervals, at least 1")
        self.order_margin, self.order_memory = order_margin, int(order_memory)
        self.keep_margin, self.keep_memory = keep_margin, int(keep_memory)
        super().__init__()
        self.memory_intervals = self.order_memory + self.keep_memory

    @property
    def levels_rps(self) -> tuple[float, float]:
        """The order level and the keep level now, req/s."""
        loads = list(self._loads)
        order_rps = self.order_margin * max(loads[-self.order_memory :])
        return order_rps, max(order_rps, self.keep_margin * max(loads[-self.keep_memory :]))

    def _clear(self) -> None:
        self._loads: deque[float] = deque(maxlen=max(self.order_memory, self.keep_memory))
        self._planned_rps = 0.0

    def _take(self, rps: float) -> None:
        self._loads.append(rps)
        order_rps, keep_rps = self.levels_rps
        self._planned_rps = min(max(self._planned_rps, order_rps), keep_rps)

    def _predict(self) -> float:
        return self._planned_rps


class BandPlanner(InfAdapter):
    """InfAdapter's program for the load that the band plans for, on capacities as measured: the margins are the band's.

    Args:
        order_margin, order_memory, keep_margin, keep_memory: of `Band`.
        finish_rollout: wait for the last plan's replicas before the next plan: a change of plan gives up what still loads.
    """

    def __init__(self, order_margin: float = 1.4, order_memory: int = 2, keep_margin: float = 1.8,
                 keep_memory: int = 4, finish_rollout: bool = False) -> None:
        band = Band(order_margin, order_memory, keep_margin, keep_memory)
        super().__init__(band, hold=0, finish_rollout=finish_rollout, capacity_ratio=1.0)

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """Four of the five constants, and whether to wait."""
        return {"order_margin": [1.1, 1.2, 1.3, 1.4, 1.5, 1.7, 2.0], "order_memory": [1, 2, 3, 5, 10],
                "keep_margin": [1.2, 1.4, 1.6, 1.8, 2.0, 2.5, 3.0], "keep_memory": [1, 2, 4, 8, 16],
                "finish_rollout": [True, False]}


class OrderKeepBand(TwoTimeScales):
    """The band on two time scales (`order-keep-band`)."""

    slow = BandPlanner

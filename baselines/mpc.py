"""Model-predictive control in band form, over sampled futures (`mpc`).

Courses that the load may take are drawn from a quantile forecaster. What each rung of the ladder would earn on them is read
from returns that the kernel has measured (`baselines.mpc_returns`), and two rungs follow:

- the order rung is best on average over the intervals that an order placed now serves: those after its load time;
- the keep rung is best from now on, at a discount on the price, since what is given up takes a load time to come back.

The plan is clip(rung in force, order rung, keep rung). A literal look-ahead, which holds one target over the horizon, cannot
give back later what it orders now, and orders too little; the band can. A change while the last one still loads throws away
what has been loaded, so it is made only where it earns more, on the same courses, than letting the load finish first.

Under more load than the greatest rung carries all rungs may earn the same, nothing; then the greatest is wanted (`overloads`).
"""

from __future__ import annotations

import copy
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from baselines.analogs import Analogs
from baselines.mpc_returns import returns_of
from baselines.quantiles import QuantileForecaster
from baselines.two_time_scales import FAST_MARGIN, TwoTimeScales
from envs.contract import Decision, Observation, Policy, ReplicaKind
from envs.scenario import Scenario

BLOCK = 16  # courses between two looks at the clock


class BandMPC(Policy):
    """The band between the order rung and the keep rung.

    For scenarios of one service whose candidates host one variant each; routes are left to the fast loop. The budget of a
    decision is its courses; where it has a time limit too (live, `limit_s`), it rests on those looked at by then (any-time).

    Args:
        quantiles: draws the courses; None: `Analogs`, of the scenario's own workload.
        count: how many: the budget of a decision.
        horizon: intervals of service that a rung is judged on.
        keep_price: factor on the price, for the keep rung; 1 keeps least.
        margin: factor on the courses.
        clock: tells the time, in seconds; asked only where there is a limit.

    Raises:
        ValueError: a count or horizon below 1; on reset, for a scenario without a ladder or a library.
    """

    def __init__(self, quantiles: QuantileForecaster | None = None, count: int = 64, horizon: int = 12,
                 keep_price: float = 0.8, margin: float = 1.0,
                 clock: Callable[[], float] = time.perf_counter) -> None:
        for name, value in (("count", count), ("horizon", horizon)):
            if value != int(value) or value < 1:
                raise ValueError(f"{name} {value}: give a whole number, at least 1")
        self.quantiles = Analogs() if quantiles is None else copy.deepcopy(quantiles)
        self.count, self.horizon = int(count), int(horizon)
        self.keep_price, self.margin, self._clock = keep_price, margin, clock

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """Settings to calibrate."""
        return {"count": [32, 64, 128], "horizon": [4, 8, 12, 20], "keep_price": [0.0, 0.3, 0.5, 0.7, 0.85, 1.0],
                "margin": [0.9, 1.0, 1.1, 1.2, 1.3]}

    def reset(self, scenario: Scenario) -> None:
        """Starts afresh; the first time on a scenario measures its returns, which takes a second or two."""
        self._scenario, self._returns = scenario, returns_of(scenario)
        self._service = next(iter(scenario.services))
        self._rungs = [scenario.deployment(levels) for levels in self._returns.ladder.levels]
        self._capacity = np.array([self._capacity_rps(d.replicas) for d in self._rungs])
        longest_s = max(map(scenario.load_s, scenario.kinds)) + scenario.decision_delay_s
        self._delay = int(longest_s / scenario.interval_s + 1e-9)  # whole intervals that an order placed now does not serve
        self.quantiles.reset(scenario, self._service, self._delay + self.horizon)
        self.memory_intervals = self.quantiles.memory_intervals
        self.forget()

    def forget(self) -> None:
        """Forgets all loads."""
        self._history: deque[float] = deque(maxlen=self.memory_intervals)
        self._overloads = 0

    def decide(self, observation: Observation) -> Decision:
        """The band's decision."""
        self.observe(observation.services[self._service].offered_rps)
        if not self._history:
            return Decision(observation.deployment, "no load observed yet: unchanged")
        now, left = self.rung_of(observation.deployment.replicas), self._loading_left(observation)
        wanted, (order, keep), courses = self.choose(now, self._ready_rung(observation) if left else now, left)
        reason = f"rung {now} is within the band {order} to {keep}"
        if wanted != now:
            reason = f"rung {now} to {wanted}, the edge of the band {order} to {keep}"
        elif not order <= now <= keep:
            reason = f"rung {now} finishes loading first; the band is {order} to {keep}"
        if self._overloaded():
            self._overloads += 1
            reason = f"{self._history[-1]:.3g} req/s is more than the budget carries: most capacity, rung {wanted}"
        details = {"order_rps": self._capacity[order], "keep_rps": self._capacity[keep], "courses": float(courses),
                   "overloads": float(self._overloads)}
        kept = wanted == now and bool(observation.deployment.replicas)
        deployment = observation.deployment if kept else replace(self._rungs[wanted], routes={})
        return Decision(deployment, reason, {name: float(value) for name, value in details.items()})

    def observe(self, rps: float) -> None:
        """Takes the mean offered load of one interval, req/s; nan is no load observed."""
        if not math.isnan(rps):
            self._history.append(rps)

    def choose(self, now: int, ready: int, left: int) -> tuple[int, tuple[int, int], int]:
        """The rung to have in force, the band, and the courses looked at.

        Args:
            now: rung in force.
            ready: rung that is ready.
            left: whole intervals until `now` is.
        """
        if self._overloaded():
            most = len(self._rungs) - 1
            return most, (most, most), 0
        earned, courses = self._earned()
        order, keep = self._band(earned, now)
        wanted = int(np.clip(now, order, keep))
        if left and wanted != now and self._better_finished(earned, ready, now, wanted, left):
            wanted = now
        return wanted, (order, keep), courses

    def _overloaded(self) -> bool:
        """Whether the load now is more than the greatest rung carries."""
        return self.margin * self._history[-1] > self._returns.ladder.loads_rps[-1]

    def _earned(self) -> tuple[np.ndarray, int]:
        """(intervals, rungs) value on the mean of the courses, and of how many: as many as the time allows."""
        limited = self.limit_s < math.inf
        began = self._clock() if limited else 0.0
        paths = self.margin * self.quantiles.paths(np.array(self._history), self.count)
        total, seen = np.zeros((paths.shape[1], len(self._rungs))), 0
        for start in range(0, len(paths), BLOCK):
            block = paths[start : start + BLOCK]
            total += self._returns.at(block).sum(0)
            seen += len(block)
            if limited and self._clock() - began > self.limit_s:
                break
        return total / seen, seen

    def _band(self, earned: np.ndarray, now: int) -> tuple[int, int]:
        """The order rung and the keep rung; both pay for changing what is in force."""
        cost, switch = self._returns.cost, self._returns.switch[now] / self.horizon
        order = int((earned[self._delay :].mean(0) - cost - switch).argmax())
        return order, max(order, int((earned.mean(0) - self.keep_price * cost - switch).argmax()))

    def _better_finished(self, earned: np.ndarray, ready: int, loading: int, wanted: int, left: int) -> bool:
        """Whether `loading` should be ready before `wanted` is ordered: what it earns until then, and what waiting costs."""
        delay, end = max(self._delay, 1), len(earned)
        early = (earned[left:delay, loading] - earned[left:delay, ready]).sum()
        late = (earned[delay : min(left + delay, end), wanted] - earned[delay : min(left + delay, end), loading]).sum()
        return bool(early >= late)

    def _loading_left(self, observation: Observation) -> int:
        """Whole intervals until all that is wanted has loaded."""
        left_s = 0.0
        for kind in observation.deployment.replicas:
            seen = observation.kinds.get(kind)
            if seen is not None and seen.pending > 0:
                load_s = sum(observation.load_s[v] for v in kind.variants)
                left_s = max(left_s, load_s - min(seen.pending_s, default=0.0))
        return math.ceil(left_s / self._scenario.interval_s - 1e-9)

    def _ready_rung(self, observation: Observation) -> int:
        """The rung of what is ready."""
        return self.rung_of({k: int(row.ready) for k, row in observation.kinds.items() if row.ready > 0})

    def rung_of(self, replicas: Mapping[ReplicaKind, int]) -> int:
        """The rung that replicas are, or the greatest that carries no more than they do (the least where all carry more)."""
        exact = next((i for i, rung in enumerate(self._rungs) if rung.replicas == replicas), None)
        if exact is not None:
            return exact
        within = np.flatnonzero(self._capacity <= self._capacity_rps(replicas))
        return int(within[-1]) if len(within) else 0

    def _capacity_rps(self, replicas: Mapping[ReplicaKind, int]) -> float:
        return sum(n * self._scenario.capacity_rps(kind, kind.variants[0]) for kind, n in replicas.items())


class MPC(TwoTimeScales):
    """Model-predictive control in band form, on two time scales."""

    slow = BandMPC

    def __init__(self, planner: BandMPC | None = None, fast_margin: float = FAST_MARGIN, **settings: Any) -> None:
        super().__init__(planner, fast_margin, **settings)

"""What schedules of deployments earn where replicas take time to load: the rules of reconciling, without requests.

A replica that is wanted without a break is ready after its load time; one given up before is gone. Until all that is wanted
has loaded, what was ready stays and serves, and both are paid (create before delete, `docs/simulator.md`). So of a candidate's
counted replicas as many are ready as were wanted throughout the load time, ready(t) = min(wanted over it), and of sizes the
one that was wanted throughout.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.scenario import Candidate, Scenario

ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Changes:
    """Changes between R deployments of C candidates.

    Attributes:
        levels: (R, C) level of each candidate.
        sized: (C,) whether a level is a size, not a count.
        load: (C,) intervals until a replica has loaded.
        price: (C, L) reward that a candidate's replicas take in an interval, by level.
        change: (C,) reward that the start of a replica takes; of several started together the greatest.
    """

    levels: np.ndarray
    sized: np.ndarray
    load: np.ndarray
    price: np.ndarray
    change: np.ndarray

    def cost(self, levels: np.ndarray) -> np.ndarray:
        """(...) price of levels (..., C), each interval."""
        return np.asarray(self.price[np.arange(len(self.load)), levels].sum(-1))

    def between(self) -> tuple[np.ndarray, np.ndarray]:
        """(R, R) intervals until one deployment has loaded in place of another, and what the change costs until then."""
        before, after = self.levels[:, None], self.levels[None]
        starts = self._lacks(before, after)
        loading = np.where(starts, self.load, 0.0).max(-1)
        beside = self._held(before, after) - self.cost(after)
        return loading, loading * beside + np.where(starts, self.change, 0.0).max(-1)

    def scores(self, value: np.ndarray, schedules: np.ndarray) -> np.ndarray:
        """Mean rewards of schedules.

        Args:
            value: (T, R) reward for accuracy and violations of each deployment where all of it is ready.
            schedules: (N, T) indices of deployments; the first ones are ready at the start.

        Returns:
            (N,) means over the intervals.
        """
        wanted = self.levels[schedules]
        before = np.concatenate([wanted[:, :1], wanted[:, :-1]], axis=1)
        left, sure = self._left(wanted)
        ready, serving = wanted[:, 0].copy(), schedules[:, 0].copy()
        total, rows = np.zeros(len(schedules)), np.arange(len(schedules))
        for t in range(schedules.shape[1]):
            now, then = wanted[:, t], before[:, t]
            lacks = self._lacks(ready, now)
            late = np.where(lacks, left[:, t], 0.0).max(-1)
            part = np.minimum(late, 1.0)
            total += part * value[t, serving] + (1 - part) * value[t, schedules[:, t]]
            total -= part * self._held(ready, now) + (1 - part) * self.cost(now)
            total -= np.where(lacks & self._lacks(then, now), self.change, 0.0).max(-1)
            done = late <= 1 + ROUNDING
            more = np.where(self.sized, ready, np.maximum(ready, np.minimum(now, sure[:, t])))
            grown = rows[~done & (more != ready).any(-1)]
            ready = np.where(done[:, None], now, more)
            serving = np.where(done, schedules[:, t], serving)
            if len(grown) and t + 1 < len(value):
                serving[grown] = self._best_within(ready[grown], value[t + 1])
        return total / schedules.shape[1]

    def _lacks(self, ready: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """(..., C) candidates that have to load something."""
        return np.where(self.sized, (wanted > 0) & (wanted != ready), wanted > ready)

    def _held(self, ready: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """(...) price while something loads: of what is ready and of what is wanted, what is both once."""
        index = np.arange(len(self.load))
        beside = np.where(self.sized & (wanted != ready), self.price[index, ready], 0.0)
        counted = np.where(self.sized, wanted, np.maximum(ready, wanted))
        return np.asarray((self.price[index, counted] + beside).sum(-1))

    def _left(self, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N, T, C) load time left at an interval's start (inf: more than it), and the counts that are ready by its end."""
        steps = np.maximum(np.ceil(self.load - ROUNDING).astype(np.int64), 1)
        left, sure = np.zeros(wanted.shape), np.zeros_like(wanted)
        for c, n in enumerate(steps):
            row = wanted[:, :, c]
            if self.sized[c]:
                t = np.arange(row.shape[1])
                changed = np.concatenate([np.zeros_like(row[:, :1], bool), row[:, 1:] != row[:, :-1]], axis=1)
                left[:, :, c] = self.load[c] - (t - np.maximum.accumulate(np.where(changed, t, 0), axis=1))
            else:
                throughout = _least_of_last(row, n)
                left[:, :, c] = np.where(_least_of_last(row, n + 1) >= row, 0.0,
                                         np.where(throughout >= row, self.load[c] - (n - 1), np.inf))
                sure[:, :, c] = throughout
        return np.maximum(left, 0.0), sure

    def _best_within(self, ready: np.ndarray, value: np.ndarray) -> np.ndarray:
        """The deployment of most value among those that what is ready holds; the first where there is none."""
        same = (self.levels == ready[:, None]) | (self.levels == 0)
        within = np.where(self.sized, same, self.levels <= ready[:, None]).all(-1)
        return np.where(within, value, -np.inf).argmax(-1)


def changes_of(scenario: Scenario, levels: np.ndarray) -> Changes:
    """The changes between deployments (R, C) of a scenario's candidates; a decision delay counts as load time."""
    kinds = [c.kinds[0] for c in scenario.candidates]
    load_s = np.array([scenario.load_s(kind) for kind in kinds])
    longest_s = max(map(scenario.load_s, scenario.kinds)) or 1.0
    price = np.zeros((len(kinds), max(c.levels for c in scenario.candidates)))
    for row, candidate in zip(price, scenario.candidates):
        row[: candidate.levels] = [_price(scenario, candidate, level) for level in range(candidate.levels)]
    budget = scenario.whole_price
    return Changes(
        np.asarray(levels, np.int64), np.array([c.sized for c in scenario.candidates]),
        (load_s + scenario.decision_delay_s) / scenario.interval_s, scenario.weights.cost * price / budget,
        scenario.weights.change * load_s / longest_s)


def _price(scenario: Scenario, candidate: Candidate, level: int) -> float:
    """Price x units of a candidate's replicas at a level."""
    if not level:
        return 0.0
    kind, count = (candidate.kinds[level - 1], 1) if candidate.sized else (candidate.kinds[0], level)
    return scenario.devices[kind.shape.device].price * kind.shape.units * count


def _least_of_last(rows: np.ndarray, n: int) -> np.ndarray:
    """(N, T) least of the last n; before the start all was as at the start."""
    padded = np.concatenate([np.repeat(rows[:, :1], n - 1, axis=1), rows], axis=1)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, n, axis=1).min(-1))

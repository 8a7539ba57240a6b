"""What each rung of the ladder earns by load: the kernel's reward, measured once for a scenario.

Short stretches of the scenario's training load, scaled so that each has a load of the grid, are played at every rung by the
request kernel (`envs.reward_table`): bursts within an interval, queues, and routes that lag behind the load are in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from baselines.ladder import Ladder, ladder_of
from envs.loads import DAY_S, opened
from envs.reward_table import reward_table
from envs.scenario import Scenario
from traces.load import POISSON, RECORDED, Load, make_load

GRID = 28  # loads, geometric
LEAST_RATIO, MOST_RATIO = 0.02, 1.3  # of what the greatest rung carries
STRETCHES = 3  # of training load, for each load of the grid
LEAST_OF_MEAN = 0.2  # stretches with less load say little about bursts
SEED = 3000  # of stretches and requests: neither a calibration's nor an evaluation's


@dataclass(frozen=True, eq=False)
class Returns:
    """What R rungs earn at G loads.

    Attributes:
        ladder: the rungs.
        loads_rps: (G,) rising.
        value: (G, R) reward for accuracy and violations in an interval.
        cost: (R,) reward that the rung's price takes in an interval.
        switch: (R, R) reward that changing from one rung to another takes, until all has loaded.
    """

    ladder: Ladder
    loads_rps: np.ndarray
    value: np.ndarray
    cost: np.ndarray
    switch: np.ndarray

    def at(self, rps: np.ndarray) -> np.ndarray:
        """(..., R) value at loads of any shape, linear in the logarithm of the load; beyond the grid the nearest."""
        grid = np.log(self.loads_rps)
        place = np.interp(np.log(np.maximum(rps, self.loads_rps[0])), grid, np.arange(len(grid)))
        low = np.minimum(place.astype(np.int64), len(grid) - 2)
        part = (place - low)[..., None]
        found: np.ndarray = (1 - part) * self.value[low] + part * self.value[low + 1]
        return found


_known: list[tuple[Scenario, Returns]] = []  # the last ones measured: a policy is reset on each of many windows


def returns_of(scenario: Scenario) -> Returns:
    """The returns of a scenario of one service; they take a second or two, and are kept.

    Raises:
        ValueError: the scenario has no ladder (`baselines.ladder`).
    """
    found = next((returns for known, returns in _known if known is scenario), None)
    if found is None:
        found = _measured(scenario)
        _known[:] = [(scenario, found), *_known[:3]]
    return found


def _measured(scenario: Scenario) -> Returns:
    ladder = ladder_of(scenario)
    loads = np.geomspace(LEAST_RATIO, MOST_RATIO, GRID) * ladder.loads_rps[-1]
    application = next(iter(scenario.applications))
    load = _staircase(scenario, application, loads)
    intervals = 2 * STRETCHES * GRID
    # a table's first row and first interval are the initial deployment's; its loads lie one interval later
    table = reward_table(scenario, {application: load}, ladder.levels, [(0.0, SEED)], intervals + 1)
    second = table.value[0, 2::2, 1:].reshape(GRID, STRETCHES, -1).mean(1)
    falling = (np.minimum.accumulate(second) + np.maximum.accumulate(second[::-1])[::-1]) / 2  # more load never earns more
    return Returns(ladder, loads, falling, table.cost[1:], table.switch[1:, 1:])


def _staircase(scenario: Scenario, application: str, loads_rps: np.ndarray) -> Load:
    """One interval of no interest, then for each load some stretches of two intervals, the second of which has that load."""
    training = opened(scenario.workload[application], None, "train", DAY_S).load
    per_interval = scenario.interval_s / training.bin_s
    if training.model == RECORDED or per_interval != int(per_interval):  # no rates by bin: an even load
        rates = np.concatenate([[loads_rps[0]], np.repeat(loads_rps, 2 * STRETCHES)])
        return make_load(POISSON, rates, scenario.interval_s)
    bins = int(per_interval)
    whole = training.rate_rps[: len(training.rate_rps) // bins * bins].reshape(-1, bins)
    mean = whole.mean(1)
    enough = np.flatnonzero(np.minimum(mean[:-1], mean[1:]) > LEAST_OF_MEAN * mean.mean())
    chosen = np.random.default_rng(SEED).choice(enough, (len(loads_rps), STRETCHES))
    pairs = np.stack([whole[chosen], whole[chosen + 1]], axis=2) / mean[chosen + 1][..., None, None]
    rates = np.concatenate([whole[enough[0]], (pairs * loads_rps[:, None, None, None]).ravel()])
    return training._replace(rate_rps=np.ascontiguousarray(rates))

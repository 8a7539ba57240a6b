"""Calibration of a planner in one cell of the protocol: reward tables choose a few settings, the simulator the best of them.

Load does not hang on what is decided, and what a deployment earns once it has loaded does not hang on load times: so the
tables of a source are played once, for all of its cold starts and planners. Those that no table fits begin in the simulator,
and so does model-predictive control, which takes as long to decide on a table as there.

A portfolio's members are calibrated as their own rows are; the one that then earns most on training windows with bursts, as
many and as long as those reported, is its setting.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from agents.portfolio import Portfolio
from baselines.calibrate import Settings, calibrate
from baselines.future import Future
from baselines.mpc import MPC
from baselines.oracle import Oracle
from baselines.perfect_forecast import PerfectForecastPlanner
from baselines.shortlist import Tables, fits, shortlist, tables_of
from envs.contract import Policy
from envs.episode import Episode, run_episode
from envs.loads import Loads, spread
from envs.scenario import Scenario
from reports.play import make_policy
from reports.protocol_plan import SOURCES, TRIED, Cell, Sizes
from reports.training_windows import SELECTING_SEED, Window, training_windows

TABLE_WINDOWS = 12  # of those that choose
SHORTLISTED = 5  # settings that go from the tables to the simulator
TABLES = {"tried": TRIED, "windows": TABLE_WINDOWS, "shortlisted": SHORTLISTED}


class Tuned(NamedTuple):
    """What calibration found: settings (none: the defaults), the calls of the simulator that it took, its load in words."""

    settings: Settings
    calls: int
    load: str


def calibrated(policy: type[Policy], cell: Cell, sizes: Sizes) -> Tuned:
    """A policy's settings by the training load of a cell.

    Raises:
        ValueError: the policy cannot play the scenario.
    """
    return _best_member(policy, cell, sizes) if issubclass(policy, Portfolio) else _calibrated(policy, cell, sizes)


@lru_cache(maxsize=TRIED)  # a portfolio asks again for what the rows of its members have found
def _calibrated(policy: type[Policy], cell: Cell, sizes: Sizes) -> Tuned:
    scenario, (train, windows) = cell.problem(), _training(cell.at_any_cold_start, sizes)

    def rewards(calls: Sequence[tuple[Settings, Window]]) -> Iterator[float]:
        for settings, window in calls:
            future = Future(train.loads, window.start_s, window.seed, sizes.tuning_intervals)
            yield played(scenario, policy(**settings), future).totals["reward"]

    few: list[Settings] = []
    if fits(policy) and not issubclass(policy, (PerfectForecastPlanner, MPC)):
        few = shortlist(policy, _tables(cell.at_any_cold_start, sizes).at(scenario), TRIED, SHORTLISTED)
    found = calibrate(policy.space(scenario), sizes.calls, *windows, rewards, shortlist=few)
    return Tuned(found.settings, found.calls, train.told)


def _best_member(portfolio: type[Portfolio], cell: Cell, sizes: Sizes) -> Tuned:
    scenario, (train, _) = cell.problem(), _training(cell.at_any_cold_start, sizes)
    starts_s = spread(train.span_s, sizes.intervals * scenario.interval_s, sizes.windows, scenario.interval_s)
    loads = portfolio.trial(train.loads)
    futures = [Future(loads, start_s, SELECTING_SEED, sizes.intervals) for start_s in starts_s]
    earned, calls = [], 0
    for name in portfolio.members:
        try:
            tuned = _calibrated(type(make_policy(name, scenario)), cell, sizes)
        except ValueError:  # it cannot play the scenario: not a choice here
            continue
        settings: Settings = {"member": name, "settings": tuned.settings}
        rewards = [played(scenario, portfolio(**settings), future).totals["reward"] for future in futures]
        earned.append((float(np.mean(rewards)), settings))
        calls += len(rewards) + tuned.calls
    if not earned:
        raise ValueError(f"none of its members ({', '.join(portfolio.members)}) can play it")
    return Tuned(max(earned, key=lambda row: row[0])[1], calls, train.told)


def played(scenario: Scenario, policy: Policy, future: Future) -> Episode:
    """One episode; who knows the future is told it."""
    if isinstance(policy, (Oracle, PerfectForecastPlanner)):
        policy = policy.foresee(future)
    return run_episode(scenario, policy, future.loads, seed=future.seed, start_s=future.start_s, intervals=future.intervals)


@lru_cache(maxsize=SOURCES)
def _training(cell: Cell, sizes: Sizes) -> tuple[Loads, tuple[list[Window], list[Window]]]:
    scenario = cell.problem()
    window_s = sizes.tuning_intervals * scenario.interval_s
    train = cell.loads("train", window_s * sizes.calls)
    return train, training_windows(train.loads.values(), train.span_s, window_s, sizes.calls, scenario.interval_s)


@lru_cache(maxsize=SOURCES)
def _tables(cell: Cell, sizes: Sizes) -> Tables:
    train, (choosing, _) = _training(cell, sizes)
    return tables_of(cell.problem(), train.loads, choosing[:TABLE_WINDOWS], sizes.tuning_intervals)

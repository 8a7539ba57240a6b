"""Calibration of a planner in one cell of the protocol: reward tables choose a few settings, the simulator the best of them.

Load does not hang on what is decided, and what a deployment earns once it has loaded does not hang on load times: so the
tables of a source are played once, for all of its cold starts and planners. Those that no table fits begin in the simulator,
and so does model-predictive control, which takes as long to decide on a table as there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from baselines.calibrate import Calibration, Settings, calibrate
from baselines.future import Future
from baselines.mpc import MPC
from baselines.oracle import Oracle
from baselines.perfect_forecast import PerfectForecastPlanner
from baselines.shortlist import Tables, fits, shortlist, tables_of
from envs.contract import Policy
from envs.episode import Episode, run_episode
from envs.loads import Loads
from envs.scenario import Scenario
from reports.protocol_plan import SOURCES, TRIED, Cell, Sizes
from reports.training_windows import Window, training_windows

TABLE_WINDOWS = 12  # of those that choose
SHORTLISTED = 5  # settings that go from the tables to the simulator
TABLES = {"tried": TRIED, "windows": TABLE_WINDOWS, "shortlisted": SHORTLISTED}


def calibrated(policy: type[Policy], scenario: Scenario, cell: Cell, sizes: Sizes) -> tuple[Calibration, str]:
    """A policy's settings by the training load of a cell, and that load in words.

    Raises:
        ValueError: the policy cannot play the scenario.
    """
    train, windows = _training(cell.at_any_cold_start, sizes)

    def rewards(calls: Sequence[tuple[Settings, Window]]) -> Iterator[float]:
        for settings, window in calls:
            future = Future(train.loads, window.start_s, window.seed, sizes.tuning_intervals)
            yield played(scenario, policy(**settings), future).totals["reward"]

    few: list[Settings] = []
    if fits(policy) and not issubclass(policy, (PerfectForecastPlanner, MPC)):
        few = shortlist(policy, _tables(cell.at_any_cold_start, sizes).at(scenario), TRIED, SHORTLISTED)
    return calibrate(policy.space(scenario), sizes.calls, *windows, rewards, shortlist=few), train.told


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

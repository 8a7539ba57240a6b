"""A short list of settings, chosen in reward tables: hundreds of them in seconds, before the best few play in the simulator.

Fits policies whose replicas hang on the load alone: InfAdapter on two time scales with any forecaster, hold and rollout rule,
the scale-down hold, the band, the quantile planners, model-predictive control and constant mixes; the fast loop keeps its
default margin. On a table (`envs.reward_table`) of the ladder's rungs a window is a row of loads; the planner's own
forecasters and rules turn it into a schedule of rungs, which the table scores. Rungs stand in for the plans that the program
would make with the last one in view. Constants are no rungs: all are played on some windows, and the better ones on the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from baselines.calibrate import Settings, draw
from baselines.infadapter import LEAST_LOAD_RPS, InfAdapter
from baselines.ladder import Ladder, ladder_of
from baselines.mpc import BandMPC
from baselines.quantile_planner import QuantileInfAdapter
from baselines.quantiles import QuantileForecaster
from baselines.static import Static
from baselines.two_time_scales import TwoTimeScales
from envs.contract import Policy
from envs.reward_table import RewardTable, reward_table
from envs.scenario import Scenario
from traces.load import Load

FIRST_WINDOWS, BETTER_SHARE = 4, 0.25  # on which all constants are played; of them, what is played on all windows


@dataclass(eq=False)
class Tables:
    """What schedules of a scenario's rungs earn on some windows.

    Attributes:
        scenario: the problem.
        ladder: its rungs; the table's first row is the initial deployment, then they follow.
        table: of the windows.
        loads: by application.
        windows: start in the loads in seconds, and seed, of each.
        plays: windows that the simulator has played.
        known: tables of constants already played, for all load times.
    """

    scenario: Scenario
    ladder: Ladder
    table: RewardTable
    loads: Mapping[str, Load]
    windows: Sequence[tuple[float, int]]
    plays: int
    known: dict[tuple[bytes, tuple[tuple[float, int], ...]], RewardTable] = field(default_factory=dict)

    def at(self, scenario: Scenario) -> Tables:
        """The same where load times alone differ: what a deployment earns once it has loaded stays."""
        return replace(self, scenario=scenario, table=self.table.at(scenario))

    def constants(self, levels: np.ndarray, windows: Sequence[tuple[float, int]]) -> np.ndarray:
        """(N, W) mean rewards of constant deployments (N, C) on some windows; these are played once."""
        intervals, asked = self.table.value.shape[1], (levels.tobytes(), tuple(windows))
        if asked not in self.known:
            self.known[asked] = reward_table(self.scenario, self.loads, levels, windows, intervals)
            self.plays += len(windows) * (1 + len(levels))
        table = self.known[asked].at(self.scenario)
        schedules = np.concatenate([np.zeros((len(levels), 1), np.int64), np.tile(
            np.arange(1, len(levels) + 1)[:, None], (1, intervals - 1))], axis=1)
        return np.array([table.scores(w, schedules) for w in range(len(windows))]).T


def tables_of(scenario: Scenario, loads: Mapping[str, Load], windows: Sequence[tuple[float, int]], intervals: int) -> Tables:
    """Plays every rung on every window (start in the loads in seconds, seed).

    Raises:
        ValueError: the scenario has no ladder.
    """
    ladder = ladder_of(scenario)
    table = reward_table(scenario, loads, ladder.levels, windows, intervals)
    return Tables(scenario, ladder, table, loads, windows, len(windows) * len(table.levels))


def fits(policy: type[Policy]) -> bool:
    """Whether a policy's settings can be chosen in tables: two time scales, with the ladder's own program or constants."""
    slow = getattr(policy, "slow", Policy)
    own_program = issubclass(slow, InfAdapter) and getattr(slow, "plan", None) is InfAdapter.plan
    return issubclass(policy, TwoTimeScales) and (own_program or issubclass(slow, (BandMPC, Static)))


def shortlist(policy: type[Policy], tables: Tables, tried: int, kept: int, seed: int = 0) -> list[Settings]:
    """The `kept` settings, of `tried` drawn from the policy's space, that earn most in the tables; the best first.

    Raises:
        ValueError: the policy does not fit, or has no settings.
    """
    if not fits(policy):
        raise ValueError(f"{policy.__name__}: what it deploys does not hang on the load alone: no table tells its reward")
    slow: type[Policy] = policy.slow  # type: ignore[attr-defined]
    shared: dict[bytes, np.ndarray] = {}
    drawn = draw(slow.space(tables.scenario), tried, seed)
    if issubclass(slow, Static):
        return _best_constants([settings for settings in drawn if settings], tables, kept)
    schedules = np.array([_schedules(slow, settings, tables, shared) for settings in drawn])
    rewards = np.mean([tables.table.scores(w, schedules[:, w]) for w in range(schedules.shape[1])], axis=0)
    ranked = np.argsort(-rewards, kind="stable")
    return [drawn[i] for i in ranked if drawn[i]][:kept]


def _best_constants(drawn: list[Settings], tables: Tables, kept: int) -> list[Settings]:
    """The constants that earn most: all on the first windows, the better ones on the others too."""
    levels = np.array([settings["levels"] for settings in drawn])
    first, rest = tables.windows[:FIRST_WINDOWS], tables.windows[FIRST_WINDOWS:]
    rewards = tables.constants(levels, first)
    better = np.argsort(-rewards.mean(1), kind="stable")[: max(kept, math.ceil(BETTER_SHARE * len(drawn)))]
    rewards = np.concatenate([rewards[better], tables.constants(levels[better], rest)], axis=1) if rest else rewards[better]
    return [drawn[better[i]] for i in np.argsort(-rewards.mean(1), kind="stable")[:kept]]


def _schedules(slow: type[Policy], settings: Settings, tables: Tables, shared: dict[bytes, np.ndarray]) -> np.ndarray:
    """(W, T) what settings would deploy."""
    planner = slow(**settings)
    planner.reset(tables.scenario)
    if isinstance(planner, QuantileInfAdapter):
        planner.planned.quantiles = Remembered(planner.planned.quantiles, shared)
    schedule: Callable[..., np.ndarray] = _mpc_schedule if isinstance(planner, BandMPC) else _plan_schedule
    return np.array([schedule(planner, tables, row) for row in tables.table.offered_rps])


def _plan_schedule(planner: Any, tables: Tables, offered_rps: np.ndarray) -> np.ndarray:
    """InfAdapter's rules (`InfAdapter.decide`), with rungs in place of plans."""
    planner.forecaster.reset(tables.scenario.interval_s)
    schedule, planned_rps, holds, ready_at = np.zeros(len(offered_rps), np.int64), math.nan, 0, 0
    for t in range(1, len(schedule)):
        planner.forecaster.observe(offered_rps[t - 1])
        load_rps, schedule[t] = planner.forecaster.forecast(), schedule[t - 1]
        if planner.finish_rollout and t < ready_at:
            continue
        if load_rps <= planned_rps and holds < planner.hold:
            holds += 1
            continue
        planned_rps, holds = load_rps, 0
        schedule[t] = 1 + tables.ladder.rung(max(load_rps, LEAST_LOAD_RPS) / planner.capacity_ratio)
        ready_at = t + math.ceil(tables.table.loading[schedule[t - 1], schedule[t]])
    return schedule


def _mpc_schedule(planner: BandMPC, tables: Tables, offered_rps: np.ndarray) -> np.ndarray:
    """Model-predictive control, with what is ready and in force followed from rung to rung."""
    planner.forget()
    initial = planner.rung_of(tables.scenario.initial_deployment.replicas)
    schedule, ready, changed = np.zeros(len(offered_rps), np.int64), 0, 0
    for t in range(1, len(schedule)):
        planner.observe(offered_rps[t - 1])
        now = int(schedule[t - 1])
        left = max(0, math.ceil(tables.table.loading[ready, now] - (t - changed)))
        ready = ready if left else now
        wanted = planner.choose(now - 1 if now else initial, ready - 1 if ready else initial, left)[0]
        schedule[t] = now if now == 0 and wanted == initial else 1 + wanted
        changed = t if schedule[t] != now else changed
    return schedule


class Remembered(QuantileForecaster):
    """A forecaster that is asked once about each history."""

    def __init__(self, inner: QuantileForecaster, known: dict[bytes, np.ndarray]) -> None:
        self.levels, self.memory_intervals = inner.levels, inner.memory_intervals
        self._inner, self._known = inner, known

    def reset(self, scenario: Scenario, service: str, horizon: int) -> None:
        """Gets the forecaster ready."""
        self._inner.reset(scenario, service, horizon)

    def quantiles(self, history: np.ndarray) -> np.ndarray:
        """The quantiles, found or remembered."""
        asked = history.tobytes()
        if asked not in self._known:
            self._known[asked] = self._inner.quantiles(history)
        return self._known[asked]

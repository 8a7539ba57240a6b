"""Calibration: the constants of a policy, tuned on training windows, with the same number of simulator calls for every policy.

A comparison with an uncalibrated baseline is not a comparison. Each policy declares what may be tuned (`Policy.space`); here
settings are drawn from it and compared by successive halving, and the best must then beat the defaults on windows that chose
nothing, or the defaults stay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pandas as pd

Settings = dict[str, Any]
Window = TypeVar("Window")

LEAST_BUDGET = 10
JUDGED_SHARE = 0.2  # of the budget, for the last comparison with the defaults
ROUNDS = 3  # each with a third of the rest
KEPT_SHARE = 1 / 3  # of the settings, after a round
FIRST_WINDOWS = 8  # of each setting, in the first round: with fewer, heavy load is not among them


@dataclass(frozen=True, eq=False)
class Calibration:
    """What calibration found.

    Attributes:
        settings: those to use: the best found, or none where the defaults were not worse.
        best: the best found beside the defaults.
        default_reward, best_reward: means over the judging windows.
        error: standard error of the difference of the two, window by window (nan for one window).
        judged: judging windows.
        calls: simulator calls made; all of the budget, but for one where that is odd.
        table: one row for each settings tried, the best first: a column for each setting (nan: the defaults), ``windows``
            (selecting windows played), ``reward`` (mean over them; only rows with as many ``windows`` played the same).
    """

    settings: Settings
    best: Settings
    default_reward: float
    best_reward: float
    error: float
    judged: int
    calls: int
    table: pd.DataFrame

    @property
    def difference(self) -> float:
        """By how much the best found beats the defaults, mean reward over the judging windows."""
        return self.best_reward - self.default_reward


@dataclass
class _Trial:
    settings: Settings
    rewards: list[float] = field(default_factory=list)

    @property
    def mean(self) -> float:
        return sum(self.rewards) / len(self.rewards)


def calibrate(
    space: Mapping[str, Sequence[Any]],
    budget: int,
    selecting: Sequence[Window],
    judging: Sequence[Window],
    play: Callable[[Sequence[tuple[Settings, Window]]], Iterable[float]],
    seed: int = 0,
    shortlist: Sequence[Settings] = (),
) -> Calibration:
    """Tries the defaults, some with one setting changed, and others drawn at random, on ever more windows for ever fewer.

    All settings of a round play the same windows. A small space leaves more windows for each setting, so that every policy
    uses the same number of calls.

    Args:
        space: values to choose from, by setting.
        budget: calls of the simulator.
        selecting: windows that choose the settings, in the order of their use; as many as the budget are always enough.
        judging: other windows, which hold the best settings against the defaults; likewise.
        play: plays settings (those not given are default) on windows; mean rewards in the same order.
        seed: of the draw.
        shortlist: settings to try in place of drawn ones, beside the defaults; in one round, since many windows chose them.

    Raises:
        ValueError: nothing to choose from, a budget that is too small, or a reward that is not a number.
    """
    if not space or not all(space.values()):
        raise ValueError("there is nothing to calibrate: the policy has no settings to choose from")
    if budget < LEAST_BUDGET:
        raise ValueError(f"a budget of {budget} calls is too small: give {LEAST_BUDGET} or more")
    rest = budget - 2 * max(1, int(budget * JUDGED_SHARE / 2))
    tried = [{}, *shortlist] if shortlist else draw(space, max(2, rest // ROUNDS // FIRST_WINDOWS), seed)
    trials = [_Trial(settings) for settings in tried]
    standing = list(trials)
    for left in range(1 if shortlist else ROUNDS, 0, -1):
        played = len(standing[0].rewards)
        more = rest // left // len(standing)
        _play(standing, selecting[played : played + more], play)
        rest -= more * len(standing)
        standing = _kept(standing)
    best = next(trial for trial in standing if trial.settings)
    calls = sum(len(trial.rewards) for trial in trials)
    default, found = _Trial({}), _Trial(best.settings)
    _play([default, found], judging[: (budget - calls) // 2], play)
    return _calibration(default, found, calls, _table(space, trials))


def _kept(standing: Sequence[_Trial]) -> list[_Trial]:
    """The trials that play on, at least two. Of those that earned the same on every window only the first: they act alike."""
    ranked = sorted(standing, key=lambda trial: -trial.mean)  # stable: among equals the first, so the defaults
    first: dict[tuple[float, ...], _Trial] = {}
    for trial in ranked:
        first.setdefault(tuple(trial.rewards), trial)
    return (list(first.values()) if len(first) > 1 else ranked)[: max(2, math.ceil(len(ranked) * KEPT_SHARE))]


def _calibration(default: _Trial, found: _Trial, calls: int, table: pd.DataFrame) -> Calibration:
    differences = np.array(found.rewards) - np.array(default.rewards)
    n = len(differences)
    error = float(differences.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan
    settings = found.settings if differences.mean() > 0 else {}
    return Calibration(settings, found.settings, default.mean, found.mean, error, n, calls + 2 * n, table)


def _play(
    trials: Sequence[_Trial],
    windows: Sequence[Window],
    play: Callable[[Sequence[tuple[Settings, Window]]], Iterable[float]],
) -> None:
    """Adds to each trial its reward on each window."""
    calls = [(trial.settings, window) for trial in trials for window in windows]
    rewards = [float(reward) for reward in play(calls)]
    for (settings, window), reward in zip(calls, rewards, strict=True):
        if math.isnan(reward):
            raise ValueError(f"settings {settings or 'by default'}: the reward on window {window} is not a number")
    for i, trial in enumerate(trials):
        trial.rewards += rewards[i * len(windows) : (i + 1) * len(windows)]


def draw(space: Mapping[str, Sequence[Any]], count: int, seed: int) -> list[Settings]:
    """Up to `count` different settings: the defaults, these with one setting changed (at most half of the rest), and any."""
    rng = np.random.default_rng(seed)
    near: list[Settings] = [{name: value} for name, values in space.items() for value in values]
    places = rng.permutation(len(near))[: (count - 1) // 2]
    drawn: list[Settings] = [{}, *(near[place] for place in places)]
    size = math.prod(len(values) for values in space.values())
    for place in rng.choice(size, min(count, size), replace=False):
        settings, rest = {}, int(place)
        for name, values in space.items():
            rest, index = divmod(rest, len(values))
            settings[name] = values[index]
        if len(drawn) < count and settings not in drawn:
            drawn.append(settings)
    return drawn


def _table(space: Mapping[str, Sequence[Any]], trials: Sequence[_Trial]) -> pd.DataFrame:
    ranked = sorted(trials, key=lambda trial: (-len(trial.rewards), -trial.mean))
    rows = [{**trial.settings, "windows": len(trial.rewards), "reward": trial.mean} for trial in ranked]
    return pd.DataFrame(rows, columns=[*space, "windows", "reward"], dtype=object)

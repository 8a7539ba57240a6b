"""Calibration: the constants of a policy, tuned on training windows, with the same number of simulator calls for every policy.

A comparison with an uncalibrated baseline is not a comparison. Each policy class declares what may be tuned,
`space(scenario)`: for each argument of its constructor, the values to choose from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from envs.contract import Policy

Settings = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Calibration:
    """What calibration found.

    Attributes:
        settings: the best settings.
        reward: their mean reward over the windows.
        calls: simulator calls made.
        table: one row for each settings tried, in order: a column for each setting, ``reward_window_<i>`` for each window,
            ``reward`` (their mean); the policy's defaults are the first row.
    """

    settings: Settings
    reward: float
    calls: int
    table: pd.DataFrame


def calibrate(make: Callable[..., Policy], space: Mapping[str, Sequence[Any]], windows: Sequence[int], budget: int,
              run: Callable[[Policy, int], float], seed: int = 0) -> Calibration:
    """Tries settings on training windows and keeps the best mean reward, the first among equals.

    The defaults are always tried; the others are drawn from the space without replacement, budget // windows settings in all
    (fewer where the space is smaller), each on every window, so that settings are compared on the same load.

    Args:
        make: makes a policy from settings given by keyword; without any, the defaults.
        space: values to choose from, by setting.
        windows: indices of the training windows.
        budget: most calls of `run`.
        run: plays a policy on a window and returns its mean reward.
        seed: of the draw.

    Raises:
        ValueError: no windows, a budget of less than one call for each window, or a reward that is not a number.
    """
    if not windows or budget < len(windows):
        raise ValueError(f"a budget of {budget} calls for {len(windows)} window(s): give windows, and a call for each")
    rows, best = [], (-math.inf, Settings())
    tried = list(_draw(space, budget // len(windows), seed))
    for settings in tqdm(tried, desc="calibrate", disable=None, leave=False):
        rewards = [float(run(make(**settings), window)) for window in windows]
        if any(math.isnan(reward) for reward in rewards):
            raise ValueError(f"settings {settings}: a reward is not a number: {rewards}")
        mean = sum(rewards) / len(rewards)
        rows.append({**settings, **{f"reward_window_{w}": r for w, r in zip(windows, rewards)}, "reward": mean})
        if mean > best[0]:
            best = (mean, settings)
    table = pd.DataFrame(rows).reindex(columns=[*space, *(f"reward_window_{w}" for w in windows), "reward"])
    return Calibration(best[1], best[0], len(rows) * len(windows), table)


def _draw(space: Mapping[str, Sequence[Any]], count: int, seed: int) -> Iterator[Settings]:
    """The defaults, then up to count - 1 different settings."""
    yield {}
    size = math.prod(len(values) for values in space.values())
    if not space or not size:
        return
    for place in np.random.default_rng(seed).choice(size, min(count - 1, size), replace=False):
        settings, rest = {}, int(place)
        for name, values in space.items():
            rest, index = divmod(rest, len(values))
            settings[name] = values[index]
        yield settings

"""Model-Switching+: InfAdapter with one variant at a time.

Source: the baseline of that name in InfAdapter (Salmani et al., EuroMLSys 2023): Model-Switching (Zhang et al., HotCloud 2020)
with a size to be chosen, under InfAdapter's own objective, forecaster and hold rule. What it lacks is sets of variants.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from baselines.infadapter import InfAdapter
from baselines.infadapter_ilp import Choices, Plan, plan_of
from baselines.infadapter_search import EPSILON, ROUNDING


class ModelSwitchingPlus(InfAdapter):
    """Each variant alone on the fewest units that carry the load; the one with the best objective is deployed.

    Arguments, hold rule and reasons are InfAdapter's.
    """

    def plan(self, choices: Choices, load_rps: float, previous: Sequence[int]) -> Plan:
        """The best single variant for a load (see `best_single`)."""
        return best_single(choices, load_rps, previous)


def best_single(choices: Choices, load_rps: float, previous: Sequence[int] | np.ndarray) -> Plan:
    """The best plan of one variant; the one that carries most, with `feasible` False, where none carries the load.

    Args:
        choices: what to choose from.
        load_rps: forecast load, > 0.
        previous: level of each variant before the change; -1 for one that is not among its levels.

    Among equal objectives the more accurate variant wins, and among those the first.
    """
    fits = (choices.units > 0) & (choices.units <= choices.budget[choices.device][:, None])
    capacity = np.where(fits, choices.capacity_rps, 0.0)
    best: Plan | None = None
    for m in np.argsort(-choices.accuracy, kind="stable"):
        enough = np.flatnonzero(capacity[m] >= load_rps * (1 - ROUNDING))
        if not enough.size:
            continue
        fewest = enough[np.argmin(choices.units[m, enough])]
        plan = plan_of(choices, load_rps, previous, _alone(choices, m, fewest))
        if best is None or plan.objective > best.objective + EPSILON:
            best = plan
    if best is not None:
        return best
    m, level = np.unravel_index(np.argmax(capacity), capacity.shape)
    return plan_of(choices, load_rps, previous, _alone(choices, m, level), feasible=False)


def _alone(choices: Choices, variant: np.integer, level: np.integer) -> np.ndarray:
    levels = np.zeros(len(choices.accuracy), dtype=np.int64)
    levels[variant] = level
    return levels

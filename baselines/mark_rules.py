"""MArk's greedy plan: which instances to hold for a forecast, by what a served request will cost on them.

Source: Zhang et al., "MArk: Exploiting Cloud Services for Cost-Effective, SLO-Aware Machine Learning Inference Serving",
USENIX ATC 2019, and its published program for the constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

STEPS, STEP_S = 50, 60.0  # of the forecast
NEAR = 6  # steps within which a shortfall has to be bought for
LAUNCH_S = 180.0  # that a launch is charged for before it serves


@dataclass(frozen=True)
class Instance:
    """One type of instance.

    Attributes:
        capacity_rps: of one.
        price: of one, per second.
        most: there may be.
        running: there are, and they need no launch.
    """

    capacity_rps: float
    price: float
    most: int
    running: int = 0


def plan(forecast_rps: np.ndarray, types: Sequence[Instance], step_s: float = STEP_S, launch_s: float = LAUNCH_S,
         near: int = NEAR) -> tuple[int, ...]:
    """How many of each type to hold.

    While the forecast exceeds what is held at any of the near steps, buys one more: of the type whose price, from the step
    that falls short most on for as long as the shortfall lasts, launch included, is least per request that it would serve.
    Among equal ones the first type. Stops short where all types are at their most.

    Args:
        forecast_rps: (steps,), load at each step ahead.
        types: to choose from.
        step_s: length of a step.
        launch_s: seconds of price for a launch.
        near: steps that have to be covered.
    """
    held = [0] * len(types)
    while True:
        rest = forecast_rps - sum(n * kind.capacity_rps for n, kind in zip(held, types))
        if rest[:near].max() <= 1e-9:
            return tuple(held)
        start = int(np.argmax(rest[:near]))
        ends = np.flatnonzero(rest[start:] < 0)
        span = rest[start : start + int(ends[0])] if ends.size else rest[start:]
        costs = [_cost_of_a_request(kind, n, span, step_s, launch_s) for kind, n in zip(types, held)]
        cheapest = int(np.argmin(costs))
        if not np.isfinite(costs[cheapest]):
            return tuple(held)
        held[cheapest] += 1


def _cost_of_a_request(kind: Instance, held: int, short_rps: np.ndarray, step_s: float, launch_s: float) -> float:
    """What one more instance would cost for each request that it serves; infinite where there may be no more."""
    served = float(np.minimum(short_rps, kind.capacity_rps).sum()) * step_s
    if held >= kind.most or served <= 0:
        return np.inf
    overhead = 0.0 if held < kind.running else kind.price * launch_s
    return (kind.price * short_rps.size * step_s + overhead) / served

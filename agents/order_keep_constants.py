"""The order/keep rule with constants in place of the network: margins on recent maxima, and one family for each direction.

Nothing learned: what the network corrects, so that it begins as them, and has to beat on the same menu. Hundreds of settings
are scored by the response in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from agents.order_keep_features import MEMORY, log_ratio, names, windows
from agents.order_keep_response import Response
from agents.order_keep_rules import Course, Levels, play

ORDER_MARGINS, KEEP_MARGINS = (0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0), (0.9, 1.0, 1.15, 1.3, 1.7, 2.5, 4.0)
ORDER_MEMORIES, KEEP_MEMORIES = (1, 4, 16), (2, 16, 64)
TRIED, TOGETHER = 240, 40  # settings drawn in calibration, and played at a time


class Constants(NamedTuple):
    """Order up to `order_margin` x the greatest of the last `order_memory` loads, keep up to the same of keep; of `family`."""

    order_margin: float
    order_memory: int
    keep_margin: float
    keep_memory: int
    family: int

    def offsets(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(...) order and keep level relative to the last load, in logs, from (..., F) features of the load."""
        order, keep = (np.log(margin) + (log_ratio(features[..., names().index(f"max of {memory}")]) if memory > 1 else 0.0)
                       for margin, memory in ((self.order_margin, self.order_memory), (self.keep_margin, self.keep_memory)))
        return np.broadcast_to(order, keep.shape), np.maximum(order, keep)

    def levels(self, past_rps: np.ndarray, families: int) -> Levels:
        """Levels (..., H) from (..., MEMORY) counted loads, the last one last, nan where none was known yet."""
        known = np.nan_to_num(past_rps, nan=0.0)
        order = np.log(np.maximum(self.order_margin * known[..., MEMORY - self.order_memory :].max(-1), 1e-3))
        keep = np.log(np.maximum(self.keep_margin * known[..., MEMORY - self.keep_memory :].max(-1), 1e-3))
        liking = np.broadcast_to(np.eye(families)[self.family], (*order.shape, families))
        order, keep = (np.repeat(part[..., None], families, -1) for part in (order, np.maximum(order, keep)))
        return Levels(order, keep, liking)


def nearest(cold_starts_s: Iterable[float], load_s: float) -> float:
    """The cold start that is nearest by ratio."""
    return min(cold_starts_s, key=lambda known: abs(math.log((known + 1) / (load_s + 1))))


def calibrate(windows_rps: Sequence[np.ndarray], course: Callable[[int], Course], response: Response, families: int,
              rng: np.random.Generator) -> Constants:
    """The settings with the highest mean reward: the best of `TRIED` drawn at random, then its neighbours as long as one is
    better. Each source counts the same.

    Args:
        windows_rps: of each source, (N, T + 1) counted loads.
        course: makes N imagined clusters.
        response: of the menu.
        families: of the menu.
        rng: source of the draw.
    """
    every = list(settings(families))
    seen = [windows(rps[:, :-1]) for rps in windows_rps]

    def earned(some: Sequence[Constants]) -> np.ndarray:
        total = np.zeros(len(some))
        for past, rps in zip(seen, windows_rps):
            levels = Levels(*(np.concatenate(parts) for parts in zip(*(row.levels(past, families) for row in some))))
            total += play(course(len(levels.order)), response, levels, rps).reshape(len(some), -1).mean(1)
        return total

    drawn = [every[place] for place in rng.choice(len(every), TRIED, replace=False)]
    found: dict[Constants, float] = {}
    best, around = drawn[0], drawn
    while around:
        for first in range(0, len(around), TOGETHER):
            some = around[first : first + TOGETHER]
            found |= dict(zip(some, earned(some)))
        best = max(found, key=lambda row: found[row])
        around = [row for row in every if row not in found and sum(a != b for a, b in zip(row, best)) == 1]
    return best


def settings(families: int) -> Iterable[Constants]:
    """All that calibration tries."""
    for row in product(ORDER_MARGINS, ORDER_MEMORIES, KEEP_MARGINS, KEEP_MEMORIES, range(families)):
        yield Constants(*row)

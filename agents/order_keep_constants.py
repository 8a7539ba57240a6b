"""The order/keep rule with constants in place of the network: margins on recent maxima, and the family that is liked.

Nothing learned: what the network corrects, so that it begins as them, and has to beat on the same menu. Hundreds of settings
are scored by the response in seconds. Where a mix is liked it is ordered at once, and kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from agents.order_keep_features import log_ratio, names
from agents.order_keep_menu import SPREADS, Menu
from agents.order_keep_response import Response
from agents.order_keep_rules import Base, Course, Levels, base_of, levels_of, play
from agents.order_keep_sequences import Pool

ORDER_MARGINS, KEEP_MARGINS = (0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0), (0.9, 1.0, 1.15, 1.3, 1.7, 2.5, 4.0)
ORDER_MEMORIES, KEEP_MEMORIES = (1, 4, 16), (2, 16, 64)
TRIED, STARTS, TOGETHER = 240, 4, 40  # settings drawn in calibration, gone on from, played at a time


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
        order, keep = np.broadcast_arrays(order, keep)
        return order, np.maximum(order, keep)

    def base(self, features: np.ndarray, now_rps: np.ndarray, menu: Menu) -> Base:
        """What a network's outputs are added to, by features (..., F) of the load and the last load (...)."""
        return base_of(*self.offsets(features), self.family, menu, now_rps)

    def levels(self, features: np.ndarray, now_rps: np.ndarray, menu: Menu) -> Levels:
        """Levels (..., H) of the rule itself."""
        nothing = np.zeros((*features.shape[:-1], 3 * menu.families))
        return levels_of(nothing, now_rps, self.base(features, now_rps, menu))


def nearest(cold_starts_s: Iterable[float], load_s: float) -> float:
    """The cold start that is nearest by ratio."""
    return min(cold_starts_s, key=lambda known: abs(math.log((known + 1) / (load_s + 1))))


def calibrate(sources: Sequence[Pool], course: Callable[[int], Course], response: Response,
              rng: np.random.Generator) -> Constants:
    """The settings with the highest mean reward: of `TRIED` drawn at random the best `STARTS`, and from each on to the best
    neighbour as long as one is better. Each source counts the same; the families are those of the spreads.

    Args:
        sources: windows of each.
        course: makes N imagined clusters.
        response: of the menu.
        rng: source of the draw.
    """
    every = list(settings())

    def earned(some: Sequence[Constants]) -> np.ndarray:
        total = np.zeros(len(some))
        for pool in sources:
            played = course(len(some) * len(pool.rps))
            parts = [row.levels(pool.features, pool.rps[:, :-1], played.menu) for row in some]
            levels = Levels(*(np.concatenate(part) for part in zip(*parts)))
            total += play(played, response, levels, pool.rps).reshape(len(some), -1).mean(1)
        return total

    found: dict[Constants, float] = {}

    def best_of(some: Sequence[Constants]) -> Constants:
        new = [row for row in some if row not in found]
        for first in range(0, len(new), TOGETHER):
            found.update(zip(new[first : first + TOGETHER], earned(new[first : first + TOGETHER])))
        return max(some, key=lambda row: found[row])

    drawn = [every[place] for place in rng.choice(len(every), TRIED, replace=False)]
    best_of(drawn)
    for best in sorted(drawn, key=lambda row: -found[row])[:STARTS]:
        here = None
        while here != best:
            here, best = best, best_of([best, *(row for row in every if sum(a != b for a, b in zip(row, best)) == 1)])
    return max(found, key=lambda row: found[row])


def settings() -> Iterable[Constants]:
    """All that calibration tries."""
    for row in product(ORDER_MARGINS, ORDER_MEMORIES, KEEP_MARGINS, KEEP_MEMORIES, range(len(SPREADS))):
        yield Constants(*row)

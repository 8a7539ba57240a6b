"""A noisy neighbour: spells in which everything on the machine is slower, as a function of time and of the seed.

Gaps between spells and their lengths are exponential and keyed by the seed, never by what a policy does: all policies meet the
same spells. A batch takes the speed of the moment at which a server takes it.
"""

from __future__ import annotations

import math
from bisect import bisect_right

import numpy as np

from envs.randomness import draw, key, uniform
from envs.scenario import Interference

INTERFERENCE = 7  # cause of randomness: gaps (stage 0) and lengths (stage 1)


class Spells:
    """The spells of one cluster.

    Args:
        interference: how often, how long, how slow.
        seed: of the cluster.
    """

    def __init__(self, interference: Interference, seed: int) -> None:
        self._told, self._key = interference, np.uint64(key(seed, INTERFERENCE, 0))
        self._edges: list[float] = [0.0]  # begins calm; then the starts and ends of spells, in turn

    def at(self, t_s: float) -> tuple[float, float]:
        """How many times as long a batch takes that starts at t, and until when that holds."""
        while self._edges[-1] <= t_s:
            number, stage = divmod(len(self._edges) - 1, 2)
            mean_s = (self._told.calm_s, self._told.lasts_s)[stage]
            u = uniform(np.uint64(draw(self._key, number, stage)))
            self._edges.append(self._edges[-1] - mean_s * math.log1p(-u))
        i = bisect_right(self._edges, t_s)
        return (1.0 if i % 2 else self._told.slowdown), self._edges[i]

"""A latency histogram of somebody else's service: from the samples of its series to answers by latency."""

from __future__ import annotations

import math

import numpy as np

from runtime.sources.counters import increases
from runtime.sources.history import Samples


def up_to_edges(found: Samples) -> tuple[np.ndarray, np.ndarray] | None:
    """What was counted up to each edge of a histogram, all its servers together.

    Returns:
        (B,) upper edges in the system's own unit, ascending, the last infinite; and (B, T) counts, nan in gaps. None: without
        a series for infinity it is no histogram.
    """
    edges = np.array([float(row["le"]) for row in found.labels])
    if not np.isinf(edges).any():
        return None
    rising = np.unique(edges)
    return rising, np.stack([increases(found.values[edges == edge]) for edge in rising])


class Buckets:
    """A histogram's answers in the window, by upper edge.

    Args:
        edges_s: (B,) seconds, ascending; the last is infinite.
        up_to: (B,) answers up to each edge.
    """

    def __init__(self, edges_s: np.ndarray, up_to: np.ndarray) -> None:
        self._edges_s, self._up_to = edges_s, np.maximum.accumulate(up_to)

    @property
    def total(self) -> float:
        """Answers."""
        return float(self._up_to[-1])

    def beyond(self, slo_s: float) -> float:
        """Answers that took longer."""
        return self.total - float(np.interp(slo_s, np.insert(self._edges_s[:-1], 0, 0.0), np.insert(self._up_to[:-1], 0, 0.0)))

    def quantile(self, q: float) -> float:
        """Seconds; nan where nothing was answered, infinite beyond the last edge."""
        if not self.total > 0:
            return math.nan
        b = int(np.searchsorted(self._up_to, q * self.total))
        low, below = (self._edges_s[b - 1], self._up_to[b - 1]) if b else (0.0, 0.0)
        if not math.isfinite(self._edges_s[b]):
            return math.inf
        return float(low + (self._edges_s[b] - low) * (q * self.total - below) / (self._up_to[b] - below))

"""Filling gaps: a 0 that stands for missing data is replaced before replay, since it is not real idleness."""

from __future__ import annotations

import numpy as np
import pandas as pd

from traces.readers import bin_length_s
from traces.splits import Spans

SIDE_S = 600.0
"""How much of each side of a gap its mean is taken over: 10 minutes, as the shared traces' README suggests."""


def fill_gaps(rates: pd.DataFrame, gaps_s: Spans, side_s: float = SIDE_S) -> pd.DataFrame:
    """Fills gaps by a straight line between the means of the two sides.

    A gap at the start or end takes the mean of its only side. Gaps that touch or overlap are one gap, and bins of another gap
    are never part of a side. The fill has no noise of its own; arrivals drawn from it have that of their model.

    Args:
        rates: `t_s`, `requests`.
        gaps_s: (start, length) in the seconds of `t_s`. A bin that a gap touches is missing.
        side_s: length of each side in seconds; at least one bin is used.

    Returns:
        Rates of the same bins; those outside the gaps are unchanged.

    Raises:
        ValueError: every bin is missing.
    """
    if not gaps_s:
        return rates.copy()
    bin_s = bin_length_s(rates)
    times = rates["t_s"].to_numpy()
    requests = rates["requests"].to_numpy(dtype=np.float64).copy()
    missing = np.zeros(times.size, dtype=bool)
    for begin_s, length_s in gaps_s:
        missing |= (times + bin_s > begin_s) & (times < begin_s + length_s)
    if missing.all():
        raise ValueError("every bin lies in a gap; there is nothing to fill from")
    side = max(1, round(side_s / bin_s))
    edges = np.flatnonzero(np.diff(missing.astype(np.int8), prepend=0, append=0))
    for first, last in edges.reshape(-1, 2):
        left = _mean_of_known(requests, missing, first - side, first)
        right = _mean_of_known(requests, missing, last, last + side)
        place = (np.arange(first, last) - first + 0.5) / (last - first)
        low, high = (right if left is None else left), (left if right is None else right)
        if low is None or high is None:  # cannot be: a run of missing bins has a known bin beside it unless all are missing
            raise ValueError("a gap without a known side")
        requests[first:last] = low + (high - low) * place
    return rates.assign(requests=requests)


def _mean_of_known(requests: np.ndarray, missing: np.ndarray, first: int, last: int) -> float | None:
    first, last = max(first, 0), min(last, requests.size)
    known = ~missing[first:last]
    return float(requests[first:last][known].mean()) if known.any() else None

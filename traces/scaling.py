"""Scaling a trace to more or fewer users, without stretching time.

Below 1, requests are thinned: each is kept with the same chance. Above 1, circularly shifted copies are superposed, the last
of them thinned, so that bursts average as they would for more users. The copies are shifted by whole days where the span is
two or more whole days, so that the daily curve stays, with up to half an hour either way, so that bursts at fixed times do
not line up; otherwise they are spread evenly over the span.

That differs from multiplying the rate (`scale` of `traces.samplers.start`), which keeps the shape of every burst: the same
users, each sending more.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from traces.readers import bin_length_s
from traces.shapes import DAY_S

_GOLDEN = (math.sqrt(5) - 1) / 2
_MOST_COPIES = 100_000


def shift_s(copy: int, span_s: float) -> float:
    """Tells by how much a copy is shifted. Copy 0 is the trace itself.

    Args:
        copy: 0, 1, 2, ...
        span_s: length of the trace in seconds.

    Returns:
        Seconds in [0, span_s), to be added to the time of the trace and wrapped around its end.
    """
    spread = copy * _GOLDEN % 1
    days = round(span_s / DAY_S)
    if copy and days >= 2 and span_s == days * DAY_S:
        return (copy % days * DAY_S + (spread - 0.5) * 3600) % span_s
    return spread * span_s


def copy_weights(scale: float) -> list[float]:
    """Tells how much of each copy is kept for a scale: 2.4 gives 1, 1 and 0.4.

    Args:
        scale: > 0.

    Returns:
        Weights in (0, 1], adding up to the scale.

    Raises:
        ValueError: the scale is not positive, or above 100,000.
    """
    if not 0 < scale <= _MOST_COPIES:
        raise ValueError(f"scale is {scale}; it must be above 0 and at most {_MOST_COPIES}")
    whole = math.floor(scale)
    return [1.0] * whole + ([scale - whole] if scale > whole else [])


def weights_for_mean(mean_of_copy: Callable[[int], float], mean_rps: float) -> list[float]:
    """Finds the weights that give a mean rate.

    Args:
        mean_of_copy: the mean rate that copy k has in the window under study, requests per second.
        mean_rps: the mean wanted, > 0.

    Returns:
        Weights in (0, 1].

    Raises:
        ValueError: the mean is not positive, or 100,000 copies do not reach it.
    """
    if not 0 < mean_rps < math.inf:
        raise ValueError(f"mean_rps is {mean_rps}; it must be positive")
    weights: list[float] = []
    left = mean_rps
    for copy in range(_MOST_COPIES):
        mean = mean_of_copy(copy)
        if mean >= left:
            return [*weights, left / mean]
        weights.append(1.0)
        left -= mean
    raise ValueError(f"{_MOST_COPIES} copies do not reach {mean_rps} requests/s; the window is (nearly) empty")


def superpose_rates(rates: pd.DataFrame, weights: list[float]) -> pd.DataFrame:
    """Adds up shifted copies of rates; shifts are rounded to bins, and copies of one shift are added once, with their number.

    Args:
        rates: `t_s`, `requests`.
        weights: of copy 0, 1, 2, ..., for example from `copy_weights`.

    Returns:
        Rates whose total is sum(weights) times the old one.
    """
    bin_s, requests = bin_length_s(rates), rates["requests"].to_numpy(dtype=np.float64)
    weight_of: dict[int, float] = {}
    for copy, weight in enumerate(weights):
        bins = shift_bins(copy, len(rates), bin_s)
        weight_of[bins] = weight_of.get(bins, 0.0) + weight
    total = np.zeros(len(rates))
    for bins, weight in weight_of.items():
        total += weight * np.roll(requests, bins)
    return rates.assign(requests=total)


def shift_bins(copy: int, bins: int, bin_s: float) -> int:
    """Tells by how many of its bins copy k of rates is shifted circularly.

    Args:
        copy: k.
        bins: how many there are.
        bin_s: length of a bin.
    """
    return round(shift_s(copy, bin_s * bins) / bin_s) % bins


def superpose_arrivals(arrivals: pd.DataFrame, weights: list[float], span_s: float, rng: np.random.Generator) -> pd.DataFrame:
    """Merges shifted copies of arrivals; a copy of weight below 1 is thinned.

    Args:
        arrivals: `arrival_s` in [0, span_s) and any other columns, which travel with their request.
        weights: of copy 0, 1, 2, ..., for example from `copy_weights`.
        span_s: length of the trace in seconds.
        rng: decides which requests a thinned copy keeps.

    Returns:
        Arrivals, sorted; ties keep the lower copy first.

    Raises:
        ValueError: an arrival is not before span_s.
    """
    times = arrivals["arrival_s"].to_numpy()
    if times.size and times[-1] >= span_s:
        raise ValueError(f"the last arrival, at {times[-1]} s, is not before span_s = {span_s}")
    rows, shifted = [], []
    for copy, weight in enumerate(weights):
        kept = np.flatnonzero(rng.random(times.size) < weight) if weight < 1 else np.arange(times.size)
        rows.append(kept)
        shifted.append(shifted_times(times[kept], copy, span_s))
    merged = np.concatenate(shifted)
    order = np.argsort(merged, kind="stable")
    result = arrivals.iloc[np.concatenate(rows)[order]].reset_index(drop=True)
    return result.assign(arrival_s=merged[order])


def shifted_times(times_s: np.ndarray, copy: int, span_s: float) -> np.ndarray:
    """Shifts times circularly, as copy k.

    Args:
        times_s: (n,), in [0, span_s).
        copy: k.
        span_s: length of the trace in seconds.

    Returns:
        float64 (n,), in [0, span_s), not sorted.
    """
    moved = times_s + shift_s(copy, span_s)
    moved = np.where(moved >= span_s, moved - span_s, moved)
    return np.minimum(moved, np.nextafter(span_s, 0.0))

"""What an arrival stream is made from: a rate, or recorded times, and the law of the gaps around it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

POISSON, GAMMA, WEIBULL, MMPP, RECORDED = 0, 1, 2, 3, 4


class Load(NamedTuple):
    """What one arrival stream is made from. Make it with `make_load`, which checks and fills `params`.

    Attributes:
        model: POISSON, GAMMA, WEIBULL, MMPP or RECORDED.
        rate_rps: float64 (bins,), requests per second in each bin; empty for RECORDED.
        bin_s: length of a bin in seconds.
        recorded_s: float64 (requests,), sorted arrival times in seconds of trace time; empty unless RECORDED.
        cv: coefficient of variation of the gaps in operational time (GAMMA, WEIBULL; 1 otherwise).
        params: float64, by model: GAMMA (shape,); WEIBULL (shape, scale); MMPP multipliers, then mean durations in seconds.
    """

    model: int
    rate_rps: np.ndarray
    bin_s: float
    recorded_s: np.ndarray
    cv: float
    params: np.ndarray


def make_load(
    model: int,
    rate_rps: np.ndarray | None = None,
    bin_s: float = 1.0,
    *,
    cv: float = 1.0,
    states: Sequence[tuple[float, float]] = (),
    recorded_s: np.ndarray | None = None,
) -> Load:
    """Checks the parts of a load and works out its model's parameters.

    Args:
        model: POISSON, GAMMA, WEIBULL, MMPP or RECORDED.
        rate_rps: (bins,), requests per second, finite and >= 0; needed by every model but RECORDED.
        bin_s: length of a bin in seconds, > 0.
        cv: coefficient of variation of the gaps, > 0; for GAMMA and WEIBULL only.
        states: for MMPP only: two or more (rate multiplier >= 0, mean duration in seconds > 0). Multipliers are rescaled so
            that their mean over time is 1, and the rate stays the mean rate.
        recorded_s: for RECORDED only: (requests,), sorted times in seconds, >= 0.

    Returns:
        The load, with contiguous float64 arrays.

    Raises:
        ValueError: a part is missing, out of range, or does not belong to the model.
    """
    if model not in (POISSON, GAMMA, WEIBULL, MMPP, RECORDED):
        raise ValueError(f"model {model} is unknown; use POISSON, GAMMA, WEIBULL, MMPP or RECORDED")
    if cv != 1.0 and model not in (GAMMA, WEIBULL):
        raise ValueError("cv belongs to GAMMA and WEIBULL; leave it at 1 for the other models")
    if (model == MMPP) != (len(states) > 0):
        raise ValueError("states belong to MMPP, which needs at least two of them")
    if (model == RECORDED) != (recorded_s is not None) or (model == RECORDED) == (rate_rps is not None):
        raise ValueError("give recorded_s for RECORDED, and rate_rps for every other model")
    if not (math.isfinite(bin_s) and bin_s > 0):
        raise ValueError(f"bin_s is {bin_s}; it must be a positive number of seconds")
    rates = np.ascontiguousarray(rate_rps if rate_rps is not None else (), dtype=np.float64)
    times = np.ascontiguousarray(recorded_s if recorded_s is not None else (), dtype=np.float64)
    if rates.ndim != 1 or not np.isfinite(rates).all() or (rates < 0).any():
        raise ValueError("rate_rps must be one-dimensional, finite and not negative")
    if times.ndim != 1 or not np.isfinite(times).all() or (times < 0).any() or (np.diff(times) < 0).any():
        raise ValueError("recorded_s must be one-dimensional, finite, not negative and sorted")
    return Load(int(model), rates, float(bin_s), times, float(cv), _parameters(model, cv, states))


def _parameters(model: int, cv: float, states: Sequence[tuple[float, float]]) -> np.ndarray:
    if not (math.isfinite(cv) and cv > 0):
        raise ValueError(f"cv is {cv}; it must be positive")
    if model == GAMMA:
        return np.array([cv**-2])
    if model == WEIBULL:
        shape = weibull_shape(cv)
        return np.array([shape, math.exp(-math.lgamma(1 + 1 / shape))])
    if model == MMPP:
        table = np.array(states, dtype=np.float64)
        if table.ndim != 2 or table.shape[0] < 2 or table.shape[1] != 2 or not np.isfinite(table).all():
            raise ValueError("states must be two or more pairs (rate multiplier, mean duration in seconds)")
        multiplier, duration_s = table[:, 0], table[:, 1]
        if (multiplier < 0).any() or not (multiplier > 0).any() or (duration_s <= 0).any():
            raise ValueError("a state needs a multiplier >= 0 (not all of them 0) and a mean duration > 0")
        mean = float(multiplier @ duration_s / duration_s.sum())
        return np.concatenate([multiplier / mean, duration_s])
    return np.zeros(0)


def weibull_shape(cv: float) -> float:
    """Finds the Weibull shape k with the given coefficient of variation: cv^2 = Γ(1 + 2/k) / Γ(1 + 1/k)^2 - 1.

    Args:
        cv: > 0; from 0.02 to 1000 is supported.

    Returns:
        The shape; 1 for cv = 1, below 1 for cv > 1.

    Raises:
        ValueError: cv is out of range.
    """
    if not 0.02 <= cv <= 1000.0:
        raise ValueError(f"cv is {cv}; the Weibull model supports 0.02 to 1000")

    def excess(k: float) -> float:
        return math.lgamma(1 + 2 / k) - 2 * math.lgamma(1 + 1 / k) - math.log1p(cv * cv)

    low, high = 0.05, 100.0
    for _ in range(200):
        middle = math.sqrt(low * high)
        if excess(middle) > 0:
            low = middle
        else:
            high = middle
    return math.sqrt(low * high)


def span_s(load: Load) -> float:
    """Tells how many seconds of trace time the load's rates cover (RECORDED: up to the last arrival)."""
    if load.model == RECORDED:
        return float(load.recorded_s[-1]) if load.recorded_s.size else 0.0
    return load.rate_rps.size * load.bin_s

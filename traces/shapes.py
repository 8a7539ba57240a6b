"""The pieces that synthetic rates are built from: daily curves, log-normal noise with memory, published quantiles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

DAY_S = 86400.0


def bin_starts_s(span_s: float, bin_s: float) -> np.ndarray:
    """Lists the starts of the bins that cover a span.

    Args:
        span_s: seconds, > 0.
        bin_s: seconds, > 0.

    Returns:
        float64 (bins,), at least two bins.

    Raises:
        ValueError: span_s is not positive.
    """
    if not span_s > 0:
        raise ValueError(f"span_s is {span_s}; it must be positive")
    return bin_s * np.arange(max(int(np.ceil(span_s / bin_s)), 2))


def rates_frame(times_s: np.ndarray, rate_rps: np.ndarray, bin_s: float) -> pd.DataFrame:
    """Puts rates into the form that readers return.

    Args:
        times_s: (bins,), starts of the bins.
        rate_rps: (bins,), requests per second.
        bin_s: length of a bin in seconds.

    Returns:
        Rates: `t_s`, `requests` (expected in the bin, not whole numbers).
    """
    return pd.DataFrame({"t_s": times_s, "requests": rate_rps * bin_s})


def curve_of_knots(knots: Sequence[float], times_s: np.ndarray) -> np.ndarray:
    """Draws a daily curve through knots that stand at the middles of equal parts of the day, by straight lines.

    Args:
        knots: load of each part of the day over the day's mean; the first part begins at midnight.
        times_s: seconds from a midnight.

    Returns:
        The factor at each time.
    """
    n = len(knots)
    hours = (times_s % DAY_S) / DAY_S * n - 0.5
    return np.interp(hours, np.arange(-1, n + 1), [knots[-1], *knots, knots[0]])


def curve_of_fourier(terms: Sequence[tuple[float, float]], times_s: np.ndarray) -> np.ndarray:
    """Draws a daily curve from its Fourier terms: 1 + sum of a_k cos(2 pi k t / day) + b_k sin(2 pi k t / day).

    Args:
        terms: (a_k, b_k) for k = 1, 2, ...
        times_s: seconds from a midnight.

    Returns:
        The factor at each time.
    """
    angle = 2 * np.pi * times_s / DAY_S
    curve = np.ones_like(angle)
    for k, (a, b) in enumerate(terms, start=1):
        curve += a * np.cos(k * angle) + b * np.sin(k * angle)
    return curve


def log_noise(rng: np.random.Generator, bins: int, log_sd: float, memory: float, streams: int = 1) -> np.ndarray:
    """Draws multiplicative noise of mean 1 whose logarithm is a stationary AR(1) process.

    Args:
        rng: source of randomness.
        bins: length.
        log_sd: standard deviation of the logarithm.
        memory: correlation of the logarithm from one bin to the next, in [0, 1).
        streams: independent rows.

    Returns:
        float64 (streams, bins), positive.
    """
    from scipy.signal import lfilter  # here, because it takes longer to import than everything else in this room

    steps = rng.standard_normal((streams, bins))
    steps[:, 1:] *= np.sqrt(1 - memory**2)
    log = log_sd * lfilter([1.0], [1.0, -memory], steps, axis=1)
    return np.exp(log - log_sd**2 / 2)


def draw_from_quantiles(rng: np.random.Generator, levels: Sequence[float], values: Sequence[float], n: int) -> np.ndarray:
    """Draws from the distribution whose quantile function joins given quantiles by straight lines.

    Args:
        rng: source of randomness.
        levels: rising from 0 to 1.
        values: the quantiles at the levels, rising.
        n: how many.

    Returns:
        float64 (n,).
    """
    return np.interp(rng.random(n), levels, values)


def mean_of_quantiles(levels: Sequence[float], values: Sequence[float]) -> float:
    """Tells the mean of what `draw_from_quantiles` draws: the area under the quantile function.

    Args:
        levels: rising from 0 to 1.
        values: the quantiles at the levels.

    Returns:
        The mean.
    """
    return float(np.trapezoid(values, levels))

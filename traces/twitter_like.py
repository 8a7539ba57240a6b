"""`twitter-like`: a daily curve, noise with a memory of minutes, and a dozen plateaus a day at 3 to 5 times the base.

Fitted to `per_trace.twitter_2021` and `generator_presets.plateau_bursts` of the shared traces' calibration.json (per-second
counts of the public 1 % Twitter stream, August 2021, as used by InfAdapter and IPA).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from traces.shapes import bin_starts_s, curve_of_fourier, draw_from_quantiles, log_noise, mean_of_quantiles, rates_frame

BIN_S = 10.0
MEAN_RPS = 64.774
# diurnal.fourier_cos_sin_h1_h4
DAILY = [(-0.1262, 0.1734), (-0.07353, -0.121), (0.011, 0.002382), (-0.05642, 0.0211)]
# bursts: quantiles at 0.1 to 0.99 as published, the ends ours (one minute and the longest possible; threshold and maximum).
LEVELS = [0.0, 0.1, 0.5, 0.75, 0.9, 0.99, 1.0]
DURATION_S = [60.0, 120.0, 540.0, 660.0, 900.0, 1500.0, 1740.0]
PEAK_RATIO = [1.5, 2.35, 4.19, 4.78, 5.07, 5.54, 5.662]
GAP_S = [600.0, 2790.0, 7200.0, 9000.0, 10800.0, 16200.0, 18000.0]
PLATEAUS_PER_DAY = 12.6
# A plateau adds the same load at any hour (a backlog does not follow the day): its ratio is over the mean base. It rises for
# a third of its time (time to peak 180 s of 540 s), sags a little and falls. A burst is counted only above 1.5 x the base,
# which cuts its feet off: the whole plateau is longer by this factor.
OUTLINE_PLACE, OUTLINE_HEIGHT = [0.0, 0.33, 0.85, 1.0], [0.0, 1.0, 0.8, 0.0]
FEET = 1.12
# residual: log sd 0.329 in all, of which the plateaus make about 0.317; the rest is the noise of the base.
NOISE_LOG_SD = 0.088
NOISE_MEMORY_60S = 0.9212


def twitter_like(span_s: float, rng: np.random.Generator) -> pd.DataFrame:
    """Draws rates like those of the 2021 Twitter trace.

    Args:
        span_s: length in seconds; time 0 is midnight UTC.
        rng: source of randomness.

    Returns:
        Rates in bins of 10 s, of mean 64.8 requests/s over many days.
    """
    times_s = bin_starts_s(span_s, BIN_S)
    base = curve_of_fourier(DAILY, times_s)
    base = base * log_noise(rng, times_s.size, NOISE_LOG_SD, NOISE_MEMORY_60S ** (BIN_S / 60))[0]
    load = base + _plateaus(times_s, rng)
    return rates_frame(times_s, MEAN_RPS / (1 + _mean_plateau()) * load, BIN_S)


def _gap_stretch() -> float:
    return 86400 / PLATEAUS_PER_DAY / mean_of_quantiles(LEVELS, GAP_S)


def _mean_plateau() -> float:
    area = float(np.trapezoid(OUTLINE_HEIGHT, OUTLINE_PLACE))
    duration_s = FEET * mean_of_quantiles(LEVELS, DURATION_S)
    return (mean_of_quantiles(LEVELS, PEAK_RATIO) - 1) * area * duration_s * PLATEAUS_PER_DAY / 86400


def _plateaus(times_s: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    n = int(times_s[-1] / GAP_S[0]) + 2
    gaps_s = _gap_stretch() * draw_from_quantiles(rng, LEVELS, GAP_S, n)
    gaps_s[0] *= rng.random()
    starts_s = np.cumsum(gaps_s)
    durations_s = FEET * draw_from_quantiles(rng, LEVELS, DURATION_S, n)
    peaks = draw_from_quantiles(rng, LEVELS, PEAK_RATIO, n)
    extra = np.zeros(times_s.size)
    for start_s, duration_s, peak in zip(starts_s, durations_s, peaks):
        if start_s > times_s[-1]:
            break
        first, last = np.searchsorted(times_s, [start_s, start_s + duration_s])
        place = (times_s[first:last] - start_s) / duration_s
        plateau = (peak - 1) * np.interp(place, OUTLINE_PLACE, OUTLINE_HEIGHT)
        extra[first:last] = np.maximum(extra[first:last], plateau)  # where two meet, the higher one shows
    return extra

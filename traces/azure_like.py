"""`azure-code-like` (on and off) and `azure-conv-like` (steady): the two Azure LLM services of 2023.

Fitted to `per_trace.azure_llm_2023_code` and `per_trace.azure_llm_2023_conv` of the shared traces' calibration.json (Patel et
al., Splitwise, ISCA 2024). Both sources last under an hour: nothing is known of their days, hence there is no daily curve.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from traces.shapes import bin_starts_s, log_noise, mean_of_quantiles, rates_frame

CODE_BIN_S = 1.0
CODE_MEAN_RPS = 2.9938
# Requests per minute over their mean (rate_over_mean_q at 60 s), first the 16.3 % of empty minutes (zero_bin_fraction).
MINUTE_LEVELS = [0.0, 0.163, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0]
MINUTE_LOAD = [0.0, 0.0, 0.2, 0.724, 1.68, 2.63, 3.28, 3.518]
# Five minutes hold one minute of each fifth of the distribution, because counts of 300 s vary little (cv_of_counts 0.179)
# while those of 60 s vary much (0.937).
GROUP = 5
# Inside a minute the service is on in stretches. dispersion.cv_of_counts at 1, 5, 10 s (2.085, 1.772, 1.53), less the Poisson
# part and over that at 60 s, is the variance function (1 / p - 1) g(s / tau) of an on-off process with exponential stretches,
# g(x) = 2 (x - 1 + e^-x) / x^2, for p = 0.373 and tau = 3.6 s.
ON_SHARE = 0.373
ON_OFF_MEMORY_S = 3.6

CONV_BIN_S = 10.0
CONV_MEAN_RPS = 5.8875
# cv_of_counts at 60 and 300 s (0.1992, 0.1865), less the Poisson part, is the variance function of noise with log sd 0.19
# whose correlation falls by e in 1150 s.
CONV_LOG_SD = 0.193
CONV_MEMORY_S = 1150.0


def azure_code_like(span_s: float, rng: np.random.Generator) -> pd.DataFrame:
    """Draws rates like those of the code completion service: bursts of seconds, whole minutes without a request.

    Args:
        span_s: length in seconds.
        rng: source of randomness.

    Returns:
        Rates in bins of 1 s, of mean 2.99 requests/s.
    """
    times_s = bin_starts_s(span_s, CODE_BIN_S)
    minutes = int(np.ceil(times_s.size / 60))
    groups = int(np.ceil(minutes / GROUP))
    fifths = rng.permuted(np.tile(np.arange(GROUP), (groups, 1)), axis=1).ravel()[:minutes]
    load = np.interp((fifths + rng.random(minutes)) / GROUP, MINUTE_LEVELS, MINUTE_LOAD)
    rate_rps = CODE_MEAN_RPS / mean_of_quantiles(MINUTE_LEVELS, MINUTE_LOAD) * load
    shares = _on_shares(minutes, rng)
    return rates_frame(times_s, (rate_rps[:, None] * shares).ravel()[: times_s.size], CODE_BIN_S)


def azure_conv_like(span_s: float, rng: np.random.Generator) -> pd.DataFrame:
    """Draws rates like those of the conversation service: a slow drift, Poisson inside the minute.

    Args:
        span_s: length in seconds.
        rng: source of randomness.

    Returns:
        Rates in bins of 10 s, of mean 5.89 requests/s over many hours.
    """
    times_s = bin_starts_s(span_s, CONV_BIN_S)
    noise = log_noise(rng, times_s.size, CONV_LOG_SD, float(np.exp(-CONV_BIN_S / CONV_MEMORY_S)))[0]
    return rates_frame(times_s, CONV_MEAN_RPS * noise, CONV_BIN_S)


def _on_shares(minutes: int, rng: np.random.Generator) -> np.ndarray:
    """Draws the load of each second over its minute's mean: (minutes, 60), every row of mean 1."""
    seconds = 60 * minutes
    on_s, off_s = ON_OFF_MEMORY_S / (1 - ON_SHARE), ON_OFF_MEMORY_S / ON_SHARE
    cycles = int(2 * seconds / (on_s + off_s)) + 20
    ends_s = np.cumsum(np.column_stack([rng.exponential(off_s, cycles), rng.exponential(on_s, cycles)]).ravel())
    on_so_far_s = np.concatenate([[0.0], np.cumsum(np.diff(ends_s, prepend=0.0) * (np.arange(ends_s.size) % 2))])
    on = np.diff(np.interp(np.arange(seconds + 1.0), np.concatenate([[0.0], ends_s]), on_so_far_s)).reshape(minutes, 60)
    stretch = round(on_s)
    short = on.sum(axis=1) < stretch  # a minute needs somewhere to put its requests
    first = rng.integers(0, 60 - stretch, minutes)[short]
    for second in range(stretch):
        on[short, first + second] = 1.0
    return on / on.mean(axis=1, keepdims=True)

"""`servegen-like`: the sum of a few dozen clients of very unequal size, each with bursts of its own.

Fitted to `per_trace.servegen_m_small` and `model_popularity.servegen_m_small_clients` of the shared traces' calibration.json
(Alibaba Cloud Model Studio; Xiang et al., ServeGen, 2025).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from traces.shapes import bin_starts_s, curve_of_knots, log_noise, rates_frame

BIN_S = 60.0
MEAN_RPS = 1131.2
# diurnal.knots_48, midnight first (UTC+8 presumed)
DAILY = [
    *[0.8784, 0.7764, 0.6908, 0.6546, 0.6952, 0.6884, 0.6673, 0.614, 0.5982, 0.6674, 0.6508, 0.6811],
    *[0.7002, 0.766, 0.7995, 0.8355, 0.9212, 0.9918, 1.108, 1.1788, 1.1308, 1.1329, 1.1172, 1.1081],
    *[1.0567, 1.1131, 1.0841, 1.0653, 1.0606, 1.0834, 1.0272, 1.0312, 1.0205, 1.0582, 1.108, 1.0865],
    *[1.0664, 1.0778, 1.1508, 1.3171, 1.4311, 1.5165, 1.4265, 1.3938, 1.3519, 1.2531, 1.1514, 1.0163],
]
# shares_sorted: the part of all requests that each client sends
SHARES = [
    *[0.306, 0.191, 0.106, 0.0923, 0.0584, 0.0562, 0.045, 0.0341, 0.017, 0.0161, 0.015, 0.012, 0.0114, 0.00741, 0.00671],
    *[0.0055, 0.00482, 0.00296, 0.00236, 0.0021, 0.0015, 0.00147, 0.000933, 0.000795, 0.00075, 0.000554, 0.000424],
    *[0.000421, 0.000403, 0.000255, 0.000231, 0.000133, 0.000101, 9.8e-05, 9.21e-05, 6.97e-05, 6.03e-05, 5.75e-05],
    *[2.09e-05, 1.23e-05],
]
# clients.cv_of_600s_rate_top20: quantiles over the twenty largest. Which client has which is not published: the large ones are
# taken to be the steady ones.
RATE_CV_LEVELS = [0.1, 0.5, 0.9]
RATE_CV = [0.221, 0.701, 1.43]
# residual.ar1_lag1 at 600 s, for each client
MEMORY_600S = 0.7709
# What all clients do together: as much, and with as long a memory, as the sum's residual lacks (log_resid_sd 0.1361, acf_lag5
# 0.52, acf_lag10 0.29) when the clients are otherwise independent (their median correlation is 0.04).
COMMON_LOG_SD = 0.12
COMMON_MEMORY_600S = 0.93
LEAST_LOG_SD = 0.2  # of the largest clients, whose published CV is smaller than that of the daily curve
ARRIVAL_CV = 3.39
"""CV of gamma gaps whose counts have the index of dispersion of the clients together: sqrt of superposed_iod 11.5."""


def servegen_like_clients(span_s: float, rng: np.random.Generator) -> pd.DataFrame:
    """Draws the rates of every client.

    Args:
        span_s: length in seconds; time 0 is midnight.
        rng: source of randomness.

    Returns:
        Clients in bins of 60 s: `t_s`, `model` ("client-00" is the largest), `requests` (expected, not whole numbers).
    """
    times_s = bin_starts_s(span_s, BIN_S)
    load = _client_loads(times_s, rng)
    names = np.array([f"client-{i:02d}" for i in range(len(SHARES))])
    return pd.DataFrame(
        {
            "t_s": np.repeat(times_s, names.size),
            "model": np.tile(names, times_s.size),
            "requests": BIN_S * load.T.ravel(),
        }
    )


def servegen_like(span_s: float, rng: np.random.Generator) -> pd.DataFrame:
    """Draws the sum of all clients' rates. Play it with gamma arrivals of `ARRIVAL_CV` for the bursts inside a bin.

    Args:
        span_s: length in seconds; time 0 is midnight.
        rng: source of randomness.

    Returns:
        Rates in bins of 60 s, of mean 1131 requests/s over many days.
    """
    times_s = bin_starts_s(span_s, BIN_S)
    return rates_frame(times_s, _client_loads(times_s, rng).sum(axis=0), BIN_S)


def _client_loads(times_s: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    shares = np.array(SHARES) / np.sum(SHARES)
    cv = np.interp((np.arange(shares.size) + 0.5) / 20, RATE_CV_LEVELS, RATE_CV)
    daily = curve_of_knots(DAILY, times_s) / np.mean(DAILY)
    common = log_noise(rng, times_s.size, COMMON_LOG_SD, COMMON_MEMORY_600S ** (BIN_S / 600))
    # A client's published CV holds the daily curve and the common noise too: 1 + cv^2 is the product of three such terms.
    log_var = np.log1p(cv**2) - np.log1p(np.var(DAILY) / np.mean(DAILY) ** 2) - COMMON_LOG_SD**2
    log_sd = np.sqrt(np.maximum(log_var, LEAST_LOG_SD**2))
    noise = np.vstack([log_noise(rng, times_s.size, sd, MEMORY_600S ** (BIN_S / 600)) for sd in log_sd])
    return MEAN_RPS * shares[:, None] * daily * common * noise

"""AlpaServe's synthetic workload, request by request: seeded gamma arrivals for each model (Li et al., OSDI 2023).

The recipe of the published artefact: model i draws from numpy's legacy generator seeded with base seed + i, blocks of
B = max(int(1.2 x rate x duration), 1) gaps of Gamma(shape 1/cv^2, scale cv^2/rate), cumulated from 0 while below the duration.
Legacy streams are frozen by numpy (NEP 19), hence the times do not depend on the numpy version.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd


def split_rate(total_rps: float, models: int, law: Literal["power", "uniform", "triangle"] = "power") -> np.ndarray:
    """Splits a total rate over models.

    Args:
        total_rps: requests per second of all models together.
        models: how many, >= 1.
        law: "power": proportional to (i + 1)^-0.5; "uniform"; "triangle": 1, then 1/2 twice, 1/4 four times, and so on.

    Returns:
        float64 (models,), adding up to total_rps.

    Raises:
        ValueError: the law is unknown or models < 1.
    """
    if models < 1:
        raise ValueError(f"models is {models}; at least 1 is needed")
    place = np.arange(1, models + 1)
    if law == "power":
        share = place**-0.5
    elif law == "uniform":
        share = np.ones(models)
    elif law == "triangle":
        share = 0.5 ** np.floor(np.log2(place))
    else:
        raise ValueError(f"law {law!r} is unknown; use power, uniform or triangle")
    return total_rps * share / share.sum()


def gamma_arrivals(rate_rps: float, cv: float, duration_s: float, seed: int) -> np.ndarray:
    """Draws one model's arrivals.

    Args:
        rate_rps: requests per second, > 0.
        cv: coefficient of variation of the gaps, > 0.
        duration_s: arrivals are below this time.
        seed: of the legacy generator, 0 to 2^32 - 1.

    Returns:
        float64 (n,), seconds, sorted.

    Raises:
        ValueError: rate or cv is not positive.
    """
    if not (rate_rps > 0 and cv > 0):
        raise ValueError(f"rate_rps is {rate_rps} and cv {cv}; both must be positive")
    legacy = np.random.RandomState(seed)
    shape, scale = 1 / cv**2, cv**2 / rate_rps
    block = max(int(1.2 * rate_rps * duration_s), 1)
    times = np.zeros(1)
    while times[-1] < duration_s:
        # One running sum over old and new gaps adds in the order of the original loop, which keeps the last bit.
        times = np.append(times, np.cumsum(np.append(times[-1], legacy.gamma(shape, scale, block)))[1:])
    return times[1:][times[1:] < duration_s]


def workload(rates_rps: np.ndarray, cv: float, duration_s: float, base_seed: int = 0) -> pd.DataFrame:
    """Draws the arrivals of all models and merges them by time.

    Args:
        rates_rps: (models,), for example from `split_rate`.
        cv: coefficient of variation of the gaps.
        duration_s: length of the workload in seconds.
        base_seed: model i draws with seed base_seed + i.

    Returns:
        Arrivals: `arrival_s`, `model` (int, the index of the model); ties keep the lower model first.
    """
    parts = [gamma_arrivals(float(rate), cv, duration_s, base_seed + i) for i, rate in enumerate(rates_rps)]
    times = np.concatenate(parts)
    model = np.repeat(np.arange(len(parts)), [part.size for part in parts])
    order = np.argsort(times, kind="stable")
    return pd.DataFrame({"arrival_s": times[order], "model": model[order]})

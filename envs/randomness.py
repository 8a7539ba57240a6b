"""Randomness keyed by (seed, cause, application, request, stage), never by the order of draws.

Two policies on one seed meet the same requests and the same noise (common random numbers).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numba import njit
from scipy import special  # `scipy.stats` takes half a second to import

ARRIVAL, SERVICE, CERTAINTY, LOAD, LOAD_FAILURE, FAILURE = range(6)
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
TABLE_BITS = 12
_TABLE_SHIFT = np.uint64(64 - TABLE_BITS)


@njit(cache=True, inline="always")
def mix(z):
    """The finaliser of splitmix64 (Steele et al., OOPSLA 2014): a bijection of 64-bit words that looks random."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True)
def key(seed, cause, index):
    """The key of one cause of randomness, for one application or 0."""
    return mix(mix(np.uint64(seed) + GOLDEN) + GOLDEN * np.uint64(cause + 16 * index + 1))


@njit(cache=True, inline="always")
def draw(key_, number, stage):
    """One 64-bit word for a request (or replica) and a stage."""
    return mix(key_ + GOLDEN * np.uint64(64 * number + stage + 1))


@njit(cache=True, inline="always")
def uniform(word):
    """A float64 in [0, 1) from a word."""
    return np.float64(word >> np.uint64(11)) * 2.0**-53


@njit(cache=True, inline="always")
def factor(table, word):
    """An entry of a table of quantiles, each equally likely."""
    return table[np.int64(word >> _TABLE_SHIFT)]


@lru_cache(maxsize=32)
def gamma_table(cv: float) -> np.ndarray:
    """Quantiles of a gamma distribution with mean 1, as (4096,) float64; cv = 0 gives ones, cv = 1 is exponential.

    The tail beyond the last quantile is cut, so the table is bent by a power and scaled until its own mean and
    coefficient of variation are the wanted ones: a queue's mean wait depends on these two (Pollaczek and Khinchine).
    """
    n = 1 << TABLE_BITS
    if cv == 0:
        table = np.ones(n)
    else:
        base = np.maximum(cv**2 * special.gammaincinv(1 / cv**2, (np.arange(n) + 0.5) / n), 1e-12)
        low, high = 0.5, 2.0
        for _ in range(100):
            power = (low + high) / 2
            bent = base**power
            if bent.std() / bent.mean() < cv:
                low = power
            else:
                high = power
        table = bent / bent.mean()
        assert math.isclose(table.std() / table.mean(), cv, rel_tol=1e-9)
    table.setflags(write=False)
    return table

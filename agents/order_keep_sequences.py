"""Sequences of load to train the order/keep network on: stretches of many traces, thinned and raised, with counting noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from agents.order_keep_features import history_features, windows
from traces.load import RECORDED, Load

CHUNK = 64  # sequences at a time, for memory's sake


class Pool(NamedTuple):
    """N sequences of T + 1 intervals.

    Attributes:
        rps: (N, T + 1) counted load.
        features: (N, T, F) of the load, known after each interval but the last.
    """

    rps: np.ndarray
    features: np.ndarray


def interval_rates(load: Load, interval_s: float) -> np.ndarray:
    """(T,) mean rate of each whole interval of a load, req/s."""
    if load.model == RECORDED:
        intervals = int(load.recorded_s[-1] // interval_s)
        counts = np.histogram(load.recorded_s, np.arange(intervals + 1) * interval_s)[0]
        return np.asarray(counts / interval_s)
    edges_s = np.arange(load.rate_rps.size + 1) * load.bin_s
    total = np.concatenate([[0.0], np.cumsum(load.rate_rps * load.bin_s)])
    ends_s = np.arange(int(edges_s[-1] // interval_s + 1e-9) + 1) * interval_s
    return np.asarray(np.diff(np.interp(ends_s, edges_s, total)) / interval_s)


def draw_pool(sources: Sequence[np.ndarray], count: int, length: int, interval_s: float, full_rps: float,
              scales: tuple[float, float], levels: tuple[float, float], rng: np.random.Generator) -> Pool:
    """Random stretches, as many of each source: most near their own load, one in four at any.

    Args:
        sources: rates of each interval, req/s; each at least `length` + 1 long.
        count: N.
        length: T.
        interval_s: of the scenario.
        full_rps: what the largest deployment carries.
        scales: range of the factor on the load of most, log-uniform.
        levels: range of the mean load of the others, of what the largest deployment carries, log-uniform.
        rng: source of randomness.
    """
    rows = []
    for i in range(count):
        source = sources[i % len(sources)]
        begin = int(rng.integers(len(source) - length))
        stretch = source[begin : begin + length + 1]
        factor, level = np.exp(rng.uniform(*np.log([scales, levels]).T))
        any_load = i // len(sources) % 4 == 0
        rows.append(stretch * (level * full_rps / max(float(stretch.mean()), 1e-9) if any_load else factor))
    return pool_of(np.array(rows), interval_s, full_rps, rng)


def pool_of(rates_rps: np.ndarray, interval_s: float, full_rps: float, rng: np.random.Generator) -> Pool:
    """Sequences (N, T + 1) of rates, counted as Poisson arrivals are, and their features."""
    rps = rng.poisson(rates_rps * interval_s) / interval_s
    features = [history_features(windows(rps[i : i + CHUNK, :-1]), full_rps) for i in range(0, len(rps), CHUNK)]
    return Pool(rps, np.concatenate(features))

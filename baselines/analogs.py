"""A quantile forecaster without learning: what came after moments like this one.

The library is a long stretch of past load: the training part of the scenario's own workload, or of another trace. The loads
just seen, relative to the last one, are held against every stretch of it; what followed the most similar ones, relative to
where they ended, times the last load, are courses that the load may take. No constant hangs on the unit of load.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from baselines.quantiles import QuantileForecaster
from envs.loads import DAY_S, opened
from envs.scenario import Scenario, Workload
from traces.load import RECORDED, Load

LEAST_RPS = 0.1  # loads below count as this: a ratio needs some load
LIBRARY_SEED = 0


class Analogs(QuantileForecaster):
    """Quantiles over the courses that followed the most similar stretches of a library.

    Args:
        trace: name or path whose training part is the library; None for the scenario's own workload.
        match: how many past intervals must be similar, >= 1; with 1 all stretches are, and quantiles are unconditional.
        count: how many stretches are taken.

    Raises:
        ValueError: a match or count below 1.
    """

    def __init__(self, trace: str | None = None, match: int = 8, count: int = 200) -> None:
        for name, value in (("match", match), ("count", count)):
            if value != int(value) or value < 1:
                raise ValueError(f"{name} {value}: give a whole number, at least 1")
        self.trace, self.match, self.count = trace, int(match), int(count)
        self.memory_intervals = self.match

    def reset(self, scenario: Scenario, service: str, horizon: int) -> None:
        """Opens the library.

        Raises:
            ValueError: the service is a stage of a chain, or the library is too short.
            TraceError: the trace is not there; give another.
        """
        application = next((n for n, a in scenario.applications.items() if tuple(a.services) == (service,)), None)
        if application is None:
            raise ValueError(f"service '{service}' is a stage of a chain: a library is of a service by itself")
        series = library(scenario.workload[application], self.trace, scenario.interval_s)
        if len(series) < self.match + horizon:
            raise ValueError(f"a library of {len(series)} intervals is too short to look {horizon} intervals ahead")
        windows = np.lib.stride_tricks.sliding_window_view(series, self.match + horizon)
        ends = windows[:, self.match - 1, None]
        self._before, self._after = windows[:, : self.match - 1] - ends, windows[:, self.match :] - ends

    def quantiles(self, history: np.ndarray) -> np.ndarray:
        """Quantiles over the similar courses, step by step."""
        return np.quantile(self._similar(history, self.count), self.levels, axis=0).T

    def paths(self, history: np.ndarray, count: int) -> np.ndarray:
        """The `count` most similar courses, the most similar first."""
        return self._similar(history, count)

    def _similar(self, history: np.ndarray, count: int) -> np.ndarray:
        last = np.log(max(history[-1], LEAST_RPS))
        seen = np.log(np.maximum(history[-self.match : -1], LEAST_RPS)) - last
        distance = np.square(self._before[:, self.match - 1 - len(seen) :] - seen).sum(1)
        count = min(count, len(distance))
        if len(seen) == 0:  # all alike: spread over the library
            chosen = np.linspace(0, len(distance) - 1, count).astype(np.int64)
        else:
            nearest = np.argpartition(distance, count - 1)[:count]
            chosen = nearest[np.lexsort((nearest, distance[nearest]))]
        return np.exp(last + self._after[chosen])


@lru_cache(maxsize=8)
def library(workload: Workload, trace: str | None, interval_s: float) -> np.ndarray:
    """(n,) logarithms of mean loads (req/s) of the intervals of a workload's training part, counted as requests arrive."""
    load = opened(workload, trace, "train", DAY_S).load
    counts = np.diff(_arrived(load, interval_s))
    if load.model != RECORDED:
        counts = np.random.default_rng(LIBRARY_SEED).poisson(counts)
    series: np.ndarray = np.log(np.maximum(counts / interval_s, LEAST_RPS))
    series.flags.writeable = False
    return series


def _arrived(load: Load, interval_s: float) -> np.ndarray:
    """Requests expected (recorded: counted) until the end of each whole interval, from 0 on."""
    if load.model == RECORDED:
        edges_s = np.arange(int(load.recorded_s[-1] // interval_s) + 1) * interval_s
        return np.searchsorted(load.recorded_s, edges_s).astype(float)
    total = np.concatenate([[0.0], np.cumsum(load.rate_rps * load.bin_s)])
    edges_s = np.arange(int(len(load.rate_rps) * load.bin_s // interval_s) + 1) * interval_s
    return np.interp(edges_s, np.arange(len(total)) * load.bin_s, total)

"""Statistics of paired runs: means, interquartile means, bootstrap intervals, paired differences, probability of improvement.

A *run* is one policy on one window of a trace with one seed. Runs of two policies on the same window and seed met the same
requests, so they are compared pair by pair. Windows are drawn again within their trace (the stratum), and all seeds of a
window stay together (the cluster): seeds of one window are no independent evidence about other windows. Where a trace has a
single window its seeds are drawn again, and the interval tells of the randomness of requests alone.

Sources: Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS 2021 (IQM,
stratified bootstrap, probability of improvement); Field and Welsh, "Bootstrapping clustered data", JRSS B 2007 (whole
clusters); Hesterberg, "What Teachers Should Know About the Bootstrap", The American Statistician 2015 (expanded percentiles
for small samples).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

Statistic = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Estimate:
    """A statistic with its interval, both in the unit of the values; nan ends: fewer than three windows (or seeds of one)."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """True where the whole interval lies on one side of zero."""
        return self.low > 0 or self.high < 0


def mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis; nan entries are absent."""
    return np.asarray(np.nanmean(values, axis=-1))


def interquartile_mean(values: np.ndarray) -> np.ndarray:
    """Mean of the middle half over the last axis: a quarter of the runs is cut at each end; nan entries are absent."""
    ordered = np.sort(values, axis=-1)  # nan goes last
    count = np.sum(~np.isnan(ordered), axis=-1, keepdims=True)
    cut = count // 4
    sums = np.cumsum(np.nan_to_num(ordered), axis=-1)
    sums = np.concatenate([np.zeros_like(sums[..., :1]), sums], axis=-1)
    middle = np.take_along_axis(sums, count - cut, axis=-1) - np.take_along_axis(sums, cut, axis=-1)
    return np.asarray((middle / (count - 2 * cut))[..., 0])


class Bootstrap:
    """Draws runs again, once for all measures and policies, so that every interval of a report rests on the same draws.

    Args:
        strata: (runs,) label of the trace of each run.
        clusters: (runs,) label of the window of each run; labels of one trace are distinct.
        rng: generator of the draws.
        resamples: how many times the runs are drawn again.
        level: coverage of the intervals.
    """

    def __init__(
        self,
        strata: Sequence[str],
        clusters: Sequence[object],
        rng: np.random.Generator,
        *,
        resamples: int = 2000,
        level: float = 0.95,
    ) -> None:
        self.level = level
        self.runs = len(strata)
        members: dict[str, dict[object, list[int]]] = {}
        for run, (stratum, cluster) in enumerate(zip(strata, clusters, strict=True)):
            members.setdefault(stratum, {}).setdefault(cluster, []).append(run)
        blocks, degrees = [], 0
        for windows in members.values():
            rows = list(windows.values()) if len(windows) > 1 else [[run] for run in next(iter(windows.values()))]
            table = np.full((len(rows), max(map(len, rows))), self.runs)  # index `runs` is a nan
            for row, runs in enumerate(rows):
                table[row, : len(runs)] = runs
            blocks.append(table[rng.integers(len(rows), size=(resamples, len(rows)))].reshape(resamples, -1))
            degrees += len(rows) - 1
        self._index = np.concatenate(blocks, axis=1) if blocks else np.zeros((resamples, 0), dtype=int)
        self._tail = expanded_tail(degrees + 1, level) if degrees >= 2 else np.nan  # two windows tell nothing

    def estimate(self, values: Sequence[float] | np.ndarray, statistic: Statistic = mean) -> Estimate:
        """A statistic of (runs,) values with its percentile interval; nan values are absent.

        Raises:
            ValueError: not one value per run.
        """
        row = np.asarray(values, dtype=np.float64)
        if row.shape != (self.runs,):
            raise ValueError(f"{row.shape} values for {self.runs} runs: give one value per run")
        if np.isnan(row).all():
            return Estimate(np.nan, np.nan, np.nan)
        value = float(statistic(row))
        if np.isnan(self._tail):
            return Estimate(value, np.nan, np.nan)
        draws = np.append(row, np.nan)[self._index]
        found = statistic(draws[~np.isnan(draws).all(axis=1)])
        low, high = np.quantile(found, [self._tail, 1 - self._tail])
        return Estimate(value, float(low), float(high))

    def difference(self, ours: np.ndarray, theirs: np.ndarray, statistic: Statistic = mean) -> Estimate:
        """The statistic of the paired differences ours - theirs, (runs,) each."""
        return self.estimate(np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64), statistic)

    def improvement(self, ours: np.ndarray, theirs: np.ndarray) -> Estimate:
        """Probability that ours is higher than theirs on the same window and seed; a tie counts a half."""
        pairs = np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
        return self.estimate((np.sign(pairs) + 1) / 2)


def expanded_tail(independent: int, level: float) -> float:
    """Share to cut at each end of the bootstrap distribution, so that the interval is as wide as Student's for few windows.

    Plain percentiles are too narrow by sqrt((n - 1) / n) and by normal against t quantiles (Hesterberg 2015, section 5.4).

    Args:
        independent: number n of independent units that were drawn again, at least 2.
        level: wanted coverage, in (0, 1).
    """
    quantile = stats.t.ppf((1 - level) / 2, independent - 1)
    return float(stats.norm.cdf(np.sqrt(independent / (independent - 1)) * quantile))

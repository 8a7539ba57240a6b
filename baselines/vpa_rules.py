"""The Kubernetes VerticalPodAutoscaler's recommender for CPU: a decaying histogram of use, percentiles, confidence.

Source: the recommender (kubernetes/autoscaler, vertical-pod-autoscaler/pkg/recommender: util/histogram.go,
util/decaying_histogram.go, model/aggregations_config.go, logic/estimator.go). It recommends a target (p90 of
use, plus a margin), and bounds (p50 and p95) that are wide while the history is short.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

FIRST_BUCKET_CORES, BUCKET_GROWTH, MOST_CORES = 0.001, 1.05, 1000.0
EMPTY_WEIGHT = 1e-4  # a bucket of less weight than this is empty
LEAST_WEIGHT = 0.1  # of a sample
HALF_LIFE_S = 86_400.0  # --cpu-histogram-decay-half-life
TARGET, LOWER, UPPER = 0.9, 0.5, 0.95  # percentiles
MARGIN = 0.15  # --recommendation-margin-fraction
LEAST_CORES = 0.025  # --pod-recommendation-min-cpu-millicores
DAY_S, MINUTES_A_DAY = 86_400.0, 1440
MOST_EXPONENT = 100  # of the weight of new samples, before all weights are scaled down


def bucket_start(bucket: int) -> float:
    """Where a bucket begins, cores: widths grow by 5 % from 0.001 core on."""
    return FIRST_BUCKET_CORES * (BUCKET_GROWTH**bucket - 1) / (BUCKET_GROWTH - 1)


BUCKETS = math.ceil(math.log(MOST_CORES * (BUCKET_GROWTH - 1) / FIRST_BUCKET_CORES + 1, BUCKET_GROWTH)) + 1


class DecayingHistogram:
    """Weights of samples by bucket; a sample loses half of its weight in each half-life.

    Args:
        half_life_s: seconds.
    """

    def __init__(self, half_life_s: float = HALF_LIFE_S) -> None:
        self.half_life_s = half_life_s
        self._weight = np.zeros(BUCKETS)
        self._total = 0.0
        self._reference_s: float | None = None

    def add(self, cores: float, weight: float, t_s: float) -> None:
        """Takes a sample of use at a time."""
        if self._reference_s is None:
            self._reference_s = t_s
        exponent = (t_s - self._reference_s) / self.half_life_s
        if exponent > MOST_EXPONENT:  # later samples weigh more; now and then all weights are scaled down
            self._weight *= 2.0**-exponent
            self._total *= 2.0**-exponent
            self._reference_s, exponent = t_s, 0.0
        bucket = int(math.log(cores * (BUCKET_GROWTH - 1) / FIRST_BUCKET_CORES + 1, BUCKET_GROWTH)) if cores > 0 else 0
        self._weight[min(bucket, BUCKETS - 1)] += weight * 2.0**exponent
        self._total += weight * 2.0**exponent

    def percentile(self, p: float) -> float:
        """End of the bucket that p (0 to 1) of all weight reaches into, cores; 0 where there is no weight."""
        filled = np.flatnonzero(self._weight >= EMPTY_WEIGHT)
        if not filled.size:
            return 0.0
        first, last = int(filled[0]), int(filled[-1])
        reached = np.cumsum(self._weight[first:last]) >= p * self._total
        bucket = first + int(np.argmax(reached)) if reached.any() else last
        return bucket_start(min(bucket + 1, BUCKETS - 1))


@dataclass(frozen=True)
class Recommendation:
    """What one container should request, cores."""

    lower: float
    target: float
    upper: float


class Recommender:
    """Recommends from samples of use.

    Args:
        half_life_s: of the histogram.
        percentile: of use, for the target.
        margin: on every percentile.
    """

    def __init__(self, half_life_s: float = HALF_LIFE_S, percentile: float = TARGET, margin: float = MARGIN) -> None:
        self._histogram = DecayingHistogram(half_life_s)
        self.percentile, self.margin = percentile, margin
        self._samples, self._first_s, self._last_s = 0, math.nan, math.nan

    def observe(self, used_cores: float, requested_cores: float, t_s: float) -> None:
        """Takes a sample, which weighs as much as was requested."""
        self._histogram.add(used_cores, max(requested_cores, LEAST_WEIGHT), t_s)
        self._first_s = t_s if not self._samples else self._first_s
        self._samples, self._last_s = self._samples + 1, t_s

    @property
    def confidence(self) -> float:
        """Days of history, or of one sample a minute where that is less."""
        return min((self._last_s - self._first_s) / DAY_S, self._samples / MINUTES_A_DAY) if self._samples else 0.0

    def recommend(self) -> Recommendation:
        """Target and bounds; without a history the bounds are those of ignorance, 0 (that is `LEAST_CORES`) and infinity."""
        days = self.confidence
        narrow, wide = ((1 + 0.001 / days) ** -2, 1 + 1 / days) if days > 0 else (0.0, math.inf)
        lower, target, upper = (self._histogram.percentile(p) * (1 + self.margin) for p in (LOWER, self.percentile, UPPER))
        return Recommendation(
            max(lower * narrow, LEAST_CORES), max(target, LEAST_CORES), max(upper * wide if upper else math.inf, LEAST_CORES)
        )

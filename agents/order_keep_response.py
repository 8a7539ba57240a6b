"""What each deployment earns in an interval, measured in the kernel, by the load of that interval and of the one before.

Load does not hang on what is decided, so a table tells what each deployment would have earned in each interval of a trace.
In place of a table for each trace the kernel plays every deployment at many ratios of load to capacity and of load to the
load before, which decides the routes. Any series of counted loads is then scored at once, at any scale, offline and online.

What it leaves out: bursts and slopes inside an interval (arrivals are Poisson at a constant rate), queues and routes from
longer ago, and what one deployment leaves to the next. Scores are for training and choosing; `run_episode`
tells what they are worth.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from agents.order_keep_menu import FAST_MARGIN
from envs.clusters import Clusters
from envs.reward import pricing, terms
from envs.routes import ROUTE_MARGIN, hosting_of, share_out
from envs.scenario import Scenario
from traces.samplers import POISSON, make_load

# Load / capacity of the deployment: dense where violations set in, which a few percent of load decide.
RATIOS = (0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.72, 0.78, 0.83, 0.87, 0.91, 0.95, 0.99, 1.03, 1.08, 1.14, 1.22, 1.35,
          1.6, 3.0)
# Load / load before: dense around the routes' margin, above which the most accurate replicas get more than they carry.
GROWTHS = (0.25, 0.5, 0.75, 0.95, 1.05, 1.15, 1.25, 1.33, 1.4, 1.47, 1.55, 1.7, 2.0, 2.6, 4.0, 8.0)
REPEATS = 1  # of each pair of ratio and growth, with other requests
FINE = 128  # loads of the table that is looked up, geometric
LOWEST, HIGHEST = 0.01, 1.8  # of what the largest deployment carries


@dataclass(frozen=True, eq=False)
class Response:
    """Means over the requests of an interval, for M deployments.

    Attributes:
        ratios: (R,) load / capacity, ascending.
        growths: (G,) load / load before, ascending.
        capacity_rps: (M,) of the deployments.
        accuracy, violation: (R, G, M).
    """

    ratios: np.ndarray
    growths: np.ndarray
    capacity_rps: np.ndarray
    accuracy: np.ndarray
    violation: np.ndarray

    def earned(self, before_rps: np.ndarray, now_rps: np.ndarray, w_accuracy: float, w_slo: np.ndarray | float) -> np.ndarray:
        """(..., M) reward for accuracy and violations at these loads, interpolated; ends hold beyond the table.

        `w_slo` may be an array that goes with (..., M).
        """
        accuracy, violation = self.outcomes(before_rps, now_rps)
        return np.asarray(w_accuracy * accuracy - w_slo * violation)

    def outcomes(self, before_rps: np.ndarray, now_rps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(..., M) accuracy and violation at these loads, float32."""
        (i, p), (j, q) = self._cells(before_rps), self._cells(now_rps)
        weights = [(1 - p) * (1 - q), (1 - p) * q, p * (1 - q), p * q]
        corners = [(i, j), (i, j + 1), (i + 1, j), (i + 1, j + 1)]
        accuracy, violation = (
            sum(weight[..., None] * table[corner] for weight, corner in zip(weights, corners)) for table in self._fine)
        return np.asarray(accuracy), np.asarray(violation)

    @cached_property
    def _fine(self) -> tuple[np.ndarray, np.ndarray]:
        """Accuracy and violation (FINE, FINE, M), float32, on a grid of loads that all deployments share."""
        rps = np.geomspace(LOWEST, HIGHEST, FINE) * self.capacity_rps.max()
        growth, q = _places(np.log(rps / rps[:, None]), np.log(self.growths))
        tables = np.empty((2, FINE, FINE, len(self.capacity_rps)), np.float32)
        for m, capacity in enumerate(self.capacity_rps):
            ratio, p = _places(np.log(rps / capacity), np.log(self.ratios))
            for table, coarse in zip(tables, (self.accuracy[..., m], self.violation[..., m])):
                low = (1 - q) * coarse[ratio, growth] + q * coarse[ratio, growth + 1]
                high = (1 - q) * coarse[ratio + 1, growth] + q * coarse[ratio + 1, growth + 1]
                table[..., m] = (1 - p) * low + p * high
        return tables[0], tables[1]

    def _cells(self, rps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lower point of the fine grid and the fraction beyond it."""
        step = np.log(HIGHEST / LOWEST) / (FINE - 1)
        place = np.log(np.maximum(rps, 1e-9) / (LOWEST * self.capacity_rps.max())) / step
        place = np.clip(place, 0.0, FINE - 1.000001)
        low = place.astype(np.int64)
        return low, (place - low).astype(np.float32)


def _places(values: np.ndarray, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower point of an ascending grid and the fraction beyond it."""
    place = np.interp(values, grid, np.arange(len(grid)))
    low = np.minimum(place.astype(np.int64), len(grid) - 2)
    return low, place - low


def measure(scenario: Scenario, levels: np.ndarray, capacity_rps: np.ndarray, repeats: int = REPEATS,
            seed: int = 0) -> Response:
    """Plays deployments in the kernel: for each pair of ratio and growth, in a random order, two intervals before and one now.

    Args:
        scenario: the problem; only its load times do not matter here.
        levels: (M, C) deployments within the budget.
        capacity_rps: (M,) of each, by which its loads are scaled.
        repeats: of each pair.
        seed: of requests and orders.
    """
    application = next(iter(scenario.applications))
    hosting, prices = hosting_of(scenario), pricing(scenario, scenario.kinds)
    rng = np.random.default_rng(seed)
    warm_up = int(np.ceil(max(map(scenario.load_s, scenario.kinds)) / scenario.interval_s)) + 1
    pairs = np.array([(i, j) for i in range(len(RATIOS)) for j in range(len(GROWTHS))])
    accuracy, violation = np.zeros((2, len(RATIOS), len(GROWTHS), len(levels)))
    for repeat in range(repeats):
        order = rng.permutation(pairs)
        now = np.asarray(RATIOS)[order[:, 0]]
        before = np.minimum(now / np.asarray(GROWTHS)[order[:, 1]], max(RATIOS))
        rates = np.concatenate([np.full(warm_up, RATIOS[0]), np.stack([before, before, now], 1).ravel()])
        clusters = Clusters(scenario, {application: make_load(POISSON, rates, scenario.interval_s)}, len(levels))
        clusters.begin([seed + repeat] * len(levels), [0.0] * len(levels), list(capacity_rps))
        clusters.advance(clusters.levels, clusters.shares)
        for t in range(1, len(rates)):
            clusters.advance(levels, share_out(hosting, levels, clusters.view.service_rps * (FAST_MARGIN / ROUTE_MARGIN)))
            if t >= warm_up and (t - warm_up) % 3 == 2:
                found = terms(prices, clusters.truth, 0.0, scenario.interval_s)
                pair = tuple(order[(t - warm_up) // 3])
                accuracy[pair] += found.accuracy / repeats
                violation[pair] += found.violation / repeats
    return Response(np.array(RATIOS), np.array(GROWTHS), np.asarray(capacity_rps, float), accuracy, violation)

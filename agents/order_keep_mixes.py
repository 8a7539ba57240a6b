"""The constant mixes on the menu: of each source of load the deployment that would earn most there if it stayed for ever.

A network is not told which source it serves, so it has those of all of them to go to. A model of routes and capacities, with
the loads of one interval and the next as they come, leaves a few of all mixes; the response of these says which is best.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agents.order_keep_menu import FAST_MARGIN, affordable, capacities, units_of
from agents.order_keep_response import measure
from envs.routes import hosting_of
from envs.scenario import Scenario

PAIRS = 400  # of an interval and the next, drawn from each source
SERVED = 0.85  # of its capacity, a pod serves in time: queues build up before it is full
SHORTLISTED = 5  # mixes of each source that the kernel plays


def best_mixes(scenario: Scenario, sources: Sequence[np.ndarray]) -> list[tuple[int, ...]]:
    """Level of each candidate in the best mix of each source, each once.

    Args:
        scenario: the problem.
        sources: (T,) rates of each, req/s.
    """
    rng = np.random.default_rng(0)
    pool, hosting = affordable(scenario), hosting_of(scenario)
    capacity, weights = capacities(hosting, pool), scenario.weights
    device = next(iter(scenario.devices.values()))
    cost = weights.cost * units_of(scenario, pool) / (device.price * device.budget)
    accuracy = np.array([scenario.variants[c.variants[0]].accuracy for c in scenario.candidates])
    order = hosting.order[0]  # the most accurate first
    pairs = [_pairs(rates, scenario.interval_s, rng) for rates in sources]
    few: dict[int, None] = {}
    for pair in pairs:
        worth = _worth(capacity[:, order], accuracy[order], *pair, weights.accuracy, weights.slo) - cost
        few |= dict.fromkeys(np.argsort(-worth)[:SHORTLISTED].tolist())
    some = np.array(list(few))
    response = measure(scenario, pool[some], capacity[some].sum(1))
    earned = [response.earned(*pair, weights.accuracy, weights.slo).mean(0) - cost[some] for pair in pairs]
    return list(dict.fromkeys(tuple(pool[some[row.argmax()]].tolist()) for row in earned))


def _pairs(rates: np.ndarray, interval_s: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(PAIRS,) counted loads of intervals, and of those after them."""
    at = rng.integers(len(rates) - 1, size=PAIRS)
    before, now = (np.maximum(rng.poisson(rates[at + k] * interval_s), 1) / interval_s for k in (0, 1))
    return before, now


def _worth(capacity: np.ndarray, accuracy: np.ndarray, before_rps: np.ndarray, now_rps: np.ndarray, w_accuracy: float,
           w_slo: float) -> np.ndarray:
    """(N,) mean reward for accuracy and violations of pods of capacity (N, C), the most accurate first."""
    total, below = capacity.sum(1), np.cumsum(capacity, 1) - capacity
    earned = np.zeros(len(capacity))
    for before, now in zip(before_rps, now_rps):
        routed = np.minimum(FAST_MARGIN * before, total)[:, None]
        served = np.minimum(np.clip(routed - below, 0.0, capacity) / routed * now, SERVED * capacity) / now
        earned += w_accuracy * (served @ accuracy) - w_slo * (1 - served.sum(1))
    return earned / len(now_rps)

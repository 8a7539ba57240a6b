"""Capacity of a replica, simulated: the largest Poisson load at which the P99 latency stays within the SLO.

The measuring recipe is that published with InfAdapter (EuroMLSys 2023): a binary search over the load between 0.3 and 1.0
times the saturation throughput (1.2 times above 100 req/s); each probe lasts 16 s, and its P99 is the largest of the P99s of
its 2-s windows. One measurement is noisy, as the published tables are; here it is repeated and averaged.

The replica is one queue, first come first served, before servers that each take one request for a fixed service time.
"""

from __future__ import annotations

import numpy as np
from numba import njit

PROBE_S = 16.0
WINDOW_S = 2.0
PERCENTILE = 99.0
LOWEST_RATIO, HIGHEST_RATIO, HIGHEST_RATIO_OVER_100 = 0.3, 1.0, 1.2  # of the saturation throughput
HALVINGS = 8


def capacity_rps(servers: int, service_s: float, slo_s: float, *, repeats: int = 40, seed: int = 0) -> float:
    """Simulates the measuring of one capacity.

    Args:
        servers: requests that are served at the same time (cores of a replica), >= 1.
        service_s: time that each of them takes, > 0.
        slo_s: limit of the P99 latency, > 0.
        repeats: measurements to average; each has its own arrivals, the same for every load that it probes.
        seed: of the arrivals.

    Returns:
        Requests per second; 0 where the service time alone exceeds the SLO.
    """
    if service_s > slo_s:
        return 0.0
    saturation_rps = servers / service_s
    highest_rps = saturation_rps * (HIGHEST_RATIO_OVER_100 if saturation_rps > 100 else HIGHEST_RATIO)
    expected = highest_rps * PROBE_S
    draws = int(expected + 6 * np.sqrt(expected) + 20)
    gaps = np.random.default_rng(seed).standard_exponential((repeats, draws))
    return float(_mean_capacity(gaps, servers, service_s, slo_s, LOWEST_RATIO * saturation_rps, highest_rps))


@njit(cache=True)
def _mean_capacity(gaps, servers, service_s, slo_s, lowest_rps, highest_rps):
    total = 0.0
    for repeat in range(gaps.shape[0]):
        low, high = lowest_rps, highest_rps
        for _ in range(HALVINGS):
            load = 0.5 * (low + high)
            if _worst_percentile(gaps[repeat], load, servers, service_s) <= slo_s:
                low = load
            else:
                high = load
        total += 0.5 * (low + high)
    return total / gaps.shape[0]


@njit(cache=True)
def _worst_percentile(gaps, load_rps, servers, service_s):
    """The largest P99 latency of the windows of one probe. With one fixed service time servers finish in turn."""
    finish = np.empty(gaps.size)
    latency = np.empty(gaps.size)
    worst, t, begin, window_end = 0.0, 0.0, 0, WINDOW_S
    for i in range(gaps.size):
        t += gaps[i] / load_rps
        if t >= window_end or i == gaps.size - 1:
            if i > begin:
                worst = max(worst, np.percentile(latency[begin:i], PERCENTILE))
            begin = i
            while window_end <= t:
                window_end += WINDOW_S
        if t >= PROBE_S:
            break
        start = t if i < servers else max(t, finish[i - servers])
        finish[i] = start + service_s
        latency[i] = finish[i] - t
    return worst

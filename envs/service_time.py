"""Service times fitted to measured capacities, for models whose latency under no load was not published.

    fit = fit_service_time({1: 19, 2: 43, 4: 90, 8: 190, 16: 385}, slo_s=0.75)
    fit.service_s                                  # 0.0436: one request on one core

The service time is that with which the simulated replica (`envs.capacity`) carries the measured loads best: least sum of
absolute errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from envs.capacity import capacity_rps

SEARCH_RATIOS = (0.5, 1.3)
STEPS = 17
ROUNDS = 3


@dataclass(frozen=True)
class ServiceTimeFit:
    """A fitted service time.

    Attributes:
        service_s: of one request on one core.
        error_ratio: sum of absolute errors / sum of the capacities that were fitted.
    """

    service_s: float
    error_ratio: float


def fit_service_time(measured_rps: Mapping[int, float], slo_s: float, *, repeats: int = 40, seed: int = 0) -> ServiceTimeFit:
    """Fits one service time to the capacities of one variant.

    Args:
        measured_rps: capacity by number of cores.
        slo_s: the limit of the P99 latency at which they were measured.
        repeats: simulated measurements of each capacity.
        seed: of their arrivals.

    Returns:
        The fit, its service time rounded to a tenth of a millisecond or, below 10 ms, to four digits.

    Raises:
        ValueError: no capacities, or no service time within the SLO comes near them.
    """
    if not measured_rps:
        raise ValueError("no capacities to fit")
    cores, rps = max(measured_rps.items())
    low_s, high_s = (min(ratio * cores / rps, slo_s) for ratio in SEARCH_RATIOS)
    for _ in range(ROUNDS):
        grid_s = np.linspace(low_s, high_s, STEPS)
        errors = [capacity_error_ratio(measured_rps, s, slo_s, repeats=repeats, seed=seed) for s in grid_s]
        best = int(np.argmin(errors))
        low_s, high_s = grid_s[max(best - 1, 0)], grid_s[min(best + 1, STEPS - 1)]
    service_s = round(float(grid_s[best]), 4) if grid_s[best] >= 0.01 else float(f"{grid_s[best]:.4g}")
    error_ratio = capacity_error_ratio(measured_rps, service_s, slo_s, repeats=repeats, seed=seed)
    if error_ratio >= 0.5:
        raise ValueError(f"no service time fits: at the best one, {service_s:g} s, the sum of errors is {error_ratio:.0%}")
    return ServiceTimeFit(service_s, error_ratio)


def capacity_error_ratio(
    measured_rps: Mapping[int, float], service_s: float, slo_s: float, *, repeats: int = 40, seed: int = 0
) -> float:
    """Sum over core counts of |simulated - measured capacity| / sum of measured capacities."""
    errors = [abs(capacity_rps(n, service_s, slo_s, repeats=repeats, seed=seed) - rps) for n, rps in measured_rps.items()]
    return sum(errors) / sum(measured_rps.values())

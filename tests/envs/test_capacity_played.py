"""The published capacities of five ResNets, measured on the event kernel itself: one service time for each explains 20 cells.

Profiles of InfAdapter (Salmani et al., EuroMLSys 2023): the largest Poisson load at which the P99 latency is within 750 ms,
for 1 to 20 cores. The service times of the scenario were fitted to 1, 2, 4, 8 and 16 cores.
"""

import numpy as np
import pytest
from answers import answered_after_s
from every_feature import Whole

from envs.capacity import (
    HALVINGS,
    HIGHEST_RATIO,
    HIGHEST_RATIO_OVER_100,
    LOWEST_RATIO,
    PERCENTILE,
    PROBE_S,
    WINDOW_S,
    capacity_rps,
)
from envs.contract import ReplicaKind, Shape
from envs.scenario_file import load
from traces.samplers import RECORDED, make_load

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
SLO_S = 0.75
REPEATS = 2


def worst_p99_s(scenario, arrival_s):
    """One probe: the largest P99 of the 2-s windows."""
    cluster = Whole(scenario, {"classify": make_load(RECORDED, recorded_s=arrival_s)}, record=True)
    cluster.advance()
    cluster.finish()
    (latency_s,) = answered_after_s(cluster, [arrival_s])
    windows = np.split(latency_s, np.searchsorted(arrival_s, np.arange(WINDOW_S, PROBE_S, WINDOW_S)))
    return max(np.percentile(window, PERCENTILE) for window in windows if len(window))


def measured_rps(scenario, servers, service_s, repeats):
    """The published recipe of measuring, step by step on the simulated cluster."""
    saturation_rps = servers / service_s
    highest_rps = saturation_rps * (HIGHEST_RATIO_OVER_100 if saturation_rps > 100 else HIGHEST_RATIO)
    expected = highest_rps * PROBE_S
    gaps = np.random.default_rng(0).standard_exponential((repeats, int(expected + 6 * np.sqrt(expected) + 20)))
    found = []
    for row in gaps:
        low, high = LOWEST_RATIO * saturation_rps, highest_rps
        for _ in range(HALVINGS):
            rps = 0.5 * (low + high)
            arrival_s = np.cumsum(row / rps)
            within = worst_p99_s(scenario, arrival_s[arrival_s < PROBE_S]) <= SLO_S
            low, high = (rps, high) if within else (low, rps)
        found.append(0.5 * (low + high))
    return np.mean(found)


@pytest.mark.parametrize("variant", RESNETS)
def test_the_event_kernel_carries_the_published_loads(variant):
    """The authors' own regression over the same cells errs by 2.2 to 8.4 % of each ResNet's sum."""
    builtin = load("resnet-variants")
    (service_s,) = builtin.profile.latency_s(variant, Shape(1), 1)
    errors, total = 0.0, 0.0
    for servers in range(1, 21):
        candidate = {"variants": [variant], "cores": [servers]}
        scenario = builtin.with_(candidates=[candidate], initial=[{"candidate": 0, "level": 1}],
                                 interval_s=PROBE_S, admission={})
        simulated = measured_rps(scenario, servers, service_s, REPEATS)
        assert simulated == capacity_rps(servers, service_s, SLO_S, repeats=REPEATS)
        published = builtin.capacity_rps(ReplicaKind((variant,), Shape(servers)), variant)
        errors, total = errors + abs(simulated - published), total + published
    assert errors / total <= 0.10

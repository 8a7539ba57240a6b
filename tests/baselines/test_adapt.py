"""ADAPT: the estimate of the cold start, the horizon, the objective."""

import numpy as np
import pytest
from observed import counted, missing, observe, only

from baselines.adapt import ADAPT, CHANGE, POD, SHORTFALL, ColdStart, cost, path_rps
from baselines.forecasters import LastValue, LinearAR, MaxOfLast
from envs.contract import ReplicaKind, Shape

LIGHT = ReplicaKind(("light",), Shape(cores=1))  # 40 req/s


def with_load_s(observation, seconds):
    return type(observation)(**{**vars(observation), "load_s": {**observation.load_s, "light": seconds}})


def test_the_cold_start_is_an_exponential_mean():
    cold = ColdStart(120.0, alpha=0.3)
    for measured, mean in ((60.0, 102.0), (200.0, 131.4), (float("nan"), 131.4), (0.0, 131.4)):
        cold.observe(measured)
        assert cold.mean_s == pytest.approx(mean)
    assert [cold.intervals(s) for s in (30, 60, 131.4, 200)] == [5, 3, 1, 1]


@pytest.mark.parametrize("seed", range(20))
def test_the_order_is_the_best_by_the_published_objective(seed):
    """Their objective, interval by interval, with their constants at 100 req/s a pod."""
    rng = np.random.default_rng(seed)
    demand_rps, ready, cold, before = rng.uniform(0, 1000, 4), int(rng.integers(1, 8)), int(rng.integers(1, 4)), 5

    def published(ordered):
        total, previous = 0.0, before
        for k, rps in enumerate(demand_rps):
            capacity = 100 * (ready if k < cold else ordered)
            total += 10 * max(0.0, rps - capacity) ** 2 + 1.0 * ordered + 0.5 * (ordered - previous) ** 2
            previous = ordered
        return total

    for ordered in range(1, 12):
        assert cost(ordered, demand_rps / 100, ready, cold, before) == pytest.approx(published(ordered))


def decided(policy, loads, cold_s=20.0, ready=None, pods=3):
    scenario = counted(mean_rps=60, load_s=20.0)
    policy.reset(scenario)
    policy.decide(missing(scenario))
    decision = None
    for i, rps in enumerate(loads):
        seen = observe(scenario, only(LIGHT, pods), rps, 30.0 * (i + 1), ready={LIGHT: (ready or [pods] * len(loads))[i]})
        decision = policy.decide(with_load_s(seen, cold_s))
    return decision


def test_a_rise_is_ordered_at_once_and_a_fall_is_followed_by_the_horizon():
    """With no load: minimise h p + 0.5 (p - before)^2, so p = before - h; the horizon is 2 intervals."""
    given = {"variant": "light", "forecast": "last", "margin": 1.0, "target": 1.0}
    assert decided(ADAPT(**given), [239.0]).deployment == only(LIGHT, 6)
    assert decided(ADAPT(**given), [0.0], pods=8).deployment == only(LIGHT, 6)
    assert decided(ADAPT(**given, change=0.1), [0.0], pods=8).deployment == only(LIGHT, 1)
    assert POD == 1 and CHANGE == 0.5 and SHORTFALL == 10 * 100**2


def test_a_longer_cold_start_looks_further_ahead():
    """A load that rises by 20 req/s an interval, forecast by an autoregression: after the cold start it is higher."""
    loads = [20.0 * k for k in range(1, 9)]
    given = {"variant": "light", "forecast": LinearAR(1), "target": 1.0}
    counts = [2, 3, 2, 3, 2, 3, 2, 3]  # a replica becomes ready again and again: 4 cold starts are measured
    near = decided(ADAPT(**given), loads, cold_s=20.0, ready=counts)
    far = decided(ADAPT(**given), loads, cold_s=400.0, ready=counts)
    estimate = ColdStart(20.0)
    for _ in range(4):
        estimate.observe(400.0)
    assert f"in {estimate.intervals(30.0) + 1} intervals" in far.reason and "in 2 intervals" in near.reason
    assert near.deployment == only(LIGHT, 5)  # 180 and 200 req/s
    assert far.deployment == only(LIGHT, 10)  # 180 to 180 + 20 (h - 1): more than all


def test_the_path_takes_each_forecast_for_the_next_observation():
    line, flat = LinearAR(1), MaxOfLast(2, margin=1.5)
    for rps in (10.0, 20.0, 30.0, 40.0):
        line.observe(rps)
        flat.observe(rps)
    assert path_rps(line, 3) == pytest.approx([50, 60, 70])
    assert path_rps(flat, 3) == pytest.approx([60, 60, 60]) and flat.forecast() == 60
    with pytest.raises(ValueError, match="no path"):
        path_rps(LastValue(), 2)

"""MArk: the greedy plan worked by hand, its properties, and the policy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from observed import NAN, counted, observe, only, pod

from baselines.mark import MArk
from baselines.mark_rules import Instance, plan

SMALL, LARGE = Instance(10.0, 1.0, 100), Instance(40.0, 3.0, 100)


@pytest.mark.parametrize(
    ("forecast", "types", "held"),
    [
        ([5, 5], [SMALL, LARGE], (1, 0)),  # per request 1 / 5 against 3 / 5
        # 40 req/s: small 1/10 + launch, large 3/40 + launch.
        ([40, 40], [SMALL, LARGE], (0, 1)),
        ([50, 50], [SMALL, LARGE], (1, 1)),
        ([0, 0], [SMALL, LARGE], (0, 0)),
        ([100, 100], [Instance(10.0, 1.0, 3), Instance(40.0, 3.0, 1)], (3, 1)),  # all there may be
        ([30, 30], [Instance(10.0, 1.0, 9), Instance(10.0, 1.0, 9)], (3, 0)),  # equal ones: the first
        # A launch costs 180 s of price: the second type runs already.
        ([10, 10], [Instance(10.0, 1.0, 9), Instance(10.0, 1.0, 9, running=1)], (0, 1)),
        # A request of 2 steps of 60 s: 1 x (120 + 180) / 1200 = 0.25 to launch, 2 x 120 / 1200 = 0.2 on the dearer that runs.
        ([10, 10], [Instance(10.0, 1.0, 9), Instance(10.0, 2.0, 9, running=1)], (0, 1)),
        ([10] * 50, [Instance(10.0, 1.0, 9), Instance(10.0, 2.0, 9, running=1)], (1, 0)),  # for long the cheaper one
        ([0] * 6 + [90], [SMALL], (0,)),  # not near
        ([0] * 5 + [90], [SMALL], (9,)),
    ],
)
def test_plans(forecast, types, held):
    assert plan(np.array(forecast, float), types) == held


@settings(max_examples=200)
@given(st.lists(st.floats(0, 200), min_size=6, max_size=12),
       st.lists(st.builds(Instance, st.floats(1, 50), st.floats(0.1, 5), st.integers(0, 30), st.integers(0, 5)), min_size=1,
                max_size=3), st.floats(0.01, 100))
def test_near_load_is_covered_within_what_there_may_be_whatever_the_currency(forecast, types, currency):
    load = np.array(forecast)
    held = plan(load, types)
    carried = sum(n * kind.capacity_rps for n, kind in zip(held, types))
    assert all(n <= kind.most for n, kind in zip(held, types))
    assert carried >= load[:6].max() - 1e-6 or all(n == kind.most for n, kind in zip(held, types))
    dearer = [Instance(k.capacity_rps, k.price * currency, k.most, k.running) for k in types]
    spent = sum(n * k.price for n, k in zip(held, types))
    assert sum(n * k.price for n, k in zip(plan(load, dearer), types)) == pytest.approx(spent, rel=0.2, abs=1e-9)


def started(scenario, **given_settings):
    policy = MArk(**given_settings)
    policy.reset(scenario)
    return policy


def test_the_greatest_load_of_a_minute_and_a_margin(resnet):
    """A core of resnet50 carries 10 req/s of 20: 1.2 x 100 req/s needs 12."""
    policy = started(resnet, variant="resnet50")
    start = only(pod("resnet50", 8))
    assert policy.decide(observe(resnet, start, 100.0)).deployment.replicas == {pod("resnet50", 12): 1}
    after = policy.decide(observe(resnet, only(pod("resnet50", 12)), 20.0, t_s=60.0))
    assert after.deployment.replicas == {pod("resnet50", 12): 1}


def test_what_one_of_the_last_plans_wanted_stays():
    scenario = counted()
    policy, running, track = started(scenario, keep=3, margin=1.0), only(pod("light", 1), 3), []
    for i, rps in enumerate([300.0, 300.0, 70.0, 70.0, 70.0, 70.0, 70.0]):
        decision = policy.decide(observe(scenario, running, rps, t_s=30.0 * (i + 1)))
        running = decision.deployment
        track.append(sum(running.replicas.values()))
    # 8 pods of 40 req/s; a minute remembers 300 req/s once more; three plans keep 8 for two intervals after that.
    assert track == [8, 8, 8, 8, 8, 2, 2]


def test_no_launch_while_the_last_one_cools_down():
    scenario = counted()
    policy, running, track = started(scenario, margin=1.0, cooldown=2), only(pod("light", 1), 2), []
    for i, rps in enumerate([100.0, 200.0, 200.0, 200.0, 300.0]):
        decision = policy.decide(observe(scenario, running, rps, t_s=30.0 * (i + 1)))
        running = decision.deployment
        track.append(sum(running.replicas.values()))
    assert track == [3, 3, 3, 5, 5]


def test_more_load_than_there_may_be_and_a_missing_one(resnet):
    policy = started(resnet, variant="resnet50")
    decision = policy.decide(observe(resnet, only(pod("resnet50", 8)), 900.0))
    assert decision.deployment.replicas == {pod("resnet50", 20): 1} and "more than there may be" in decision.reason
    fresh = started(resnet, variant="resnet50").decide(observe(resnet, only(pod("resnet50", 8)), NAN))
    assert fresh.deployment.replicas == {pod("resnet50", 8): 1} and "unchanged" in fresh.reason

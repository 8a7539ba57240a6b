"""Target tracking: alarms and cool-downs worked by hand from the user guide, and the policy."""

import math

import pytest
from observed import NAN, counted, observe, only, pod

from baselines.target_tracking import Activity, TargetTracking, adjusted, alarms

NEVER = Activity()


@pytest.mark.parametrize(
    ("metrics", "rings"),
    [
        ([11, 11, 11], (True, False)),  # three points of a minute above 10
        ([9, 11, 11, 11], (True, False)),
        ([11, 11], (False, False)),
        ([11, 10, 11], (False, False)),  # at the target is not above it
        ([8.9] * 15, (False, True)),  # fifteen below nine tenths
        ([8.9] * 14, (False, False)),
        ([9.0] + [8.9] * 15, (False, True)),
        ([8.9] * 14 + [9.0], (False, False)),
    ],
)
def test_alarms(metrics, rings):
    assert alarms(metrics, 10.0, 60.0) == rings


@pytest.mark.parametrize(
    ("current", "metric", "rings", "added", "removed", "wanted"),
    [
        (4, 15.0, (True, False), NEVER, NEVER, 6),  # 4 x 15 / 10
        (4, 10.1, (True, False), NEVER, NEVER, 5),
        (6, 15.0, (True, False), Activity(900.0, 6), NEVER, 9),  # cooling down, but more than the 6 on their way
        (6, 9.9, (True, False), Activity(900.0, 6), NEVER, 6),
        (5, 11.0, (True, False), Activity(900.0, 6), NEVER, 5),  # ceil(5.5) = 6 are on their way already
        (5, 11.0, (True, False), Activity(700.0, 6), NEVER, 6),  # 300 s after
        (6, 5.0, (False, True), NEVER, NEVER, 3),
        (6, 8.9, (False, True), NEVER, NEVER, 6),  # ceil(5.34)
        (6, 0.0, (False, True), NEVER, NEVER, 1),
        (6, 5.0, (False, True), NEVER, Activity(800.0, 6), 6),  # a removal cools down
        (6, 5.0, (False, True), Activity(800.0, 6), NEVER, 6),
        (6, 15.0, (True, False), NEVER, Activity(999.0, 6), 9),  # adding does not wait for a removal
        (6, 10.0, (False, False), NEVER, NEVER, 6),
    ],
)
def test_capacity_in_proportion_within_cool_downs(current, metric, rings, added, removed, wanted):
    assert adjusted(current, metric, 10.0, rings, 1000.0, added, removed) == wanted


def started(scenario, **settings):
    policy = TargetTracking(**settings)
    policy.reset(scenario)
    return policy


def test_out_after_three_minutes_in_after_fifteen():
    """Intervals of 30 s: 6 points above 20 req/s a pod; 30 below 18. A pod carries 40 req/s, the target is a half."""
    scenario = counted()
    policy, running, track = started(scenario, target=0.5), only(pod("light", 1), 2), []
    for i in range(60):
        rps = 60.0 if i < 12 else 15.0
        decision = policy.decide(observe(scenario, running, rps, t_s=30.0 * (i + 1)))
        running = decision.deployment
        track.append(sum(running.replicas.values()))
    changes = [(i, n) for i, (n, before) in enumerate(zip(track, [2, *track])) if n != before]
    # 30 req/s a pod: ceil(2 x 30 / 20) = 3 at the sixth point; 20 req/s a pod is not above. From point 12 on 5 req/s a pod:
    # the 30th of them is point 41: ceil(3 x 5 / 20) = 1.
    assert changes == [(5, 3), (41, 1)]


def test_missing_points_add_nothing():
    scenario = counted()
    policy, running = started(scenario, target=0.5, out_after_s=60), only(pod("light", 1), 2)
    for i, rps in enumerate([60.0, NAN, 60.0]):
        decision = policy.decide(observe(scenario, running, rps, t_s=30.0 * (i + 1)))
        assert ("missing" in decision.reason) == math.isnan(rps)
    assert sum(decision.deployment.replicas.values()) == 3


def test_utilisation(resnet):
    policy = started(resnet, variant="resnet50", metric="busy", target=0.5, out_after_s=30)
    decision = policy.decide(observe(resnet, only(pod("resnet50", 6)), 50.0, busy=0.75))
    assert decision.deployment.replicas == {pod("resnet50", 9): 1}


def test_a_wrong_metric_is_told():
    with pytest.raises(ValueError, match="metric 'memory'"):
        TargetTracking(metric="memory")

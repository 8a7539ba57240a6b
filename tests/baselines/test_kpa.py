"""Knative's autoscaler: tables worked by hand from autoscaler.go, and the policy."""

import pytest
from observed import NAN, counted, observe, only, pod

from baselines.kpa import KPA
from baselines.kpa_rules import Panic, delayed, desired_pods

CALM = Panic()


@pytest.mark.parametrize(
    ("stable", "panic", "ready", "wanted", "panics"),
    [
        (10, 10, 1, 1, False),  # ceil(10 / 10)
        (55, 55, 5, 6, False),
        (0, 0, 10, 5, False),  # at most half as many: floor(10 / 2)
        (0, 0, 5, 2, False),
        (0, 0, 1, 0, False),  # to zero; what calls it has a minimum
        (50, 99, 5, 10, True),  # the short window asks for 10 = 2 x 5 pods: that is the threshold
        (50, 90, 5, 5, False),  # 9 pods: below twice
        (10, 100, 5, 10, True),
        (200, 100, 5, 20, True),  # the greater of both windows
        (30000, 0, 2, 2000, False),  # at most 1000 times
    ],
)
def test_stable_and_panic(stable, panic, ready, wanted, panics):
    pods, state = desired_pods(stable, panic, 10.0, ready, 100.0, CALM)
    assert pods == wanted and state == (Panic(100.0, wanted) if panics else CALM)


def test_at_least_one_pod_more_where_the_rate_is_small():
    """Knative's own example: rate 1.1, 2 pods, 3 wanted: ceil(2.2) = 3."""
    assert desired_pods(3, 3, 1.0, 2, 0.0, CALM, most_up=1.1)[0] == 3
    assert desired_pods(9, 9, 1.0, 2, 0.0, CALM, most_up=1.1, threshold=99)[0] == 3


def test_panic_only_adds_and_ends_a_stable_window_after_its_cause():
    track, state = [], CALM
    for i, (stable, panic) in enumerate([(20, 20), (30, 90), (50, 40), (60, 20), (60, 20), (60, 20), (30, 10)]):
        pods, state = desired_pods(stable, panic, 10.0, 3, 30.0 * i, state)
        track.append((pods, state.since_s))
    # 9 pods of 3 begin it at t = 30; then the most wanted stays, until more than 60 s after, at t = 120.
    assert track == [(2, None), (9, 30.0), (9, 30.0), (9, 30.0), (6, None), (6, None), (3, None)]


def test_a_delay_keeps_the_most_of_its_time():
    assert delayed(3, [(0.0, 9), (30.0, 5), (60.0, 4)], 90.0, 60.0) == 4
    assert delayed(3, [(0.0, 9), (30.0, 5), (60.0, 4)], 90.0, 61.0) == 5
    assert delayed(7, [(60.0, 4)], 90.0, 0.0) == 7


def started(scenario, **settings):
    policy = KPA(**settings)
    policy.reset(scenario)
    return policy


LIGHT = pod("light", 1)


def pods(decision):
    return sum(decision.deployment.replicas.values())


def test_requests_in_flight_over_windows_of_intervals():
    """A pod of one server has a target of 0.5 requests; the stable window is two intervals, the panic one the last."""
    scenario = counted()
    policy = started(scenario, target=0.5)
    running = only(LIGHT, 1)
    first = policy.decide(observe(scenario, running, 10.0, t_s=30.0, busy=0.4))
    assert pods(first) == 1 and "concurrency 0.4" in first.reason  # ceil(0.4 / 0.5)
    second = policy.decide(observe(scenario, running, 10.0, t_s=60.0, busy=1.0))
    # Lately 1.0: ceil(2) = 2 pods, twice the one that is ready: panic. In the mean 0.7: ceil(1.4) = 2.
    assert pods(second) == 2 and "panic" in second.reason


def test_it_starts_in_panic_where_several_pods_are_ready():
    scenario = counted()
    policy, track = started(scenario), []
    for i in range(5):
        decision = policy.decide(observe(scenario, only(LIGHT, 8), 5.0, t_s=30.0 * (i + 1), busy=0.0))
        track.append(pods(decision))
    assert track == [8, 8, 8, 4, 4]  # more than 60 s after t = 30; then at most half as few


def test_load_per_pod_and_a_missing_metric(resnet):
    policy = started(resnet, variant="resnet50", metric="rps", target=0.8)
    # 20 cores carry 200 req/s, a core 10: 8 req/s for each.
    decision = policy.decide(observe(resnet, only(pod("resnet50", 2)), 100.0))
    assert decision.deployment.replicas == {pod("resnet50", 13): 1}
    held = policy.decide(observe(resnet, decision.deployment, NAN, t_s=60.0))
    assert held.deployment.replicas == decision.deployment.replicas and "missing" in held.reason


def test_a_wrong_metric_is_told():
    with pytest.raises(ValueError, match="metric 'cpu'"):
        KPA(metric="cpu")

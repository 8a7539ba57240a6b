"""KEDA's triggers through the controller's rules for external metrics."""

import math
from dataclasses import replace

import pytest
from observed import counted, observe, only, pod

from baselines.keda import KEDA, external_replicas


@pytest.mark.parametrize(("current", "total", "target", "wanted"), [
    (2, 20.0, 10.0, 2), (2, 21.9, 10.0, 2), (2, 22.1, 10.0, 3), (4, 5.0, 10.0, 1), (3, 0.0, 10.0, 1), (1, 95.0, 10.0, 10)])
def test_pods_are_the_sum_over_the_target_unless_within_a_tenth(current, total, target, wanted):
    assert external_replicas(current, total, target) == wanted


def seen(scenario, pods, rps, waiting, t_s):
    """An observation with requests that wait."""
    found = observe(scenario, only(pod("light", 1), pods), rps, t_s=t_s)
    return replace(found, services={name: replace(row, queue=waiting) for name, row in found.services.items()})


def pods_of(decision):
    return decision.deployment.replicas[pod("light", 1)]


def test_the_trigger_that_asks_for_most_counts():
    scenario = counted()  # a pod of light carries 40 req/s
    policy = KEDA("light", target=0.5, waiting=5)
    policy.reset(scenario)
    assert pods_of(policy.decide(seen(scenario, 2, 95, 0, 30))) == 5  # 95 / 20
    policy.reset(scenario)
    assert pods_of(policy.decide(seen(scenario, 2, 20, 29, 30))) == 6  # 29 / 5


def test_between_two_polls_nothing_changes_and_down_only_after_the_window():
    scenario = counted().with_(interval_s=10)
    policy = KEDA("light", target=0.5)
    policy.reset(scenario)
    assert pods_of(policy.decide(seen(scenario, 4, 80, 0, 10))) == 4
    assert pods_of(policy.decide(seen(scenario, 4, 160, 0, 20))) == 4  # polled 10 s ago
    assert pods_of(policy.decide(seen(scenario, 4, 160, 0, 40))) == 8
    held = [pods_of(policy.decide(seen(scenario, 8, 20, 0, 40 + 30 * i))) for i in range(1, 12)]
    assert held == [8] * 9 + [1, 1]  # 300 s after the last recommendation of 8


def test_a_missing_metric_never_scales_down():
    scenario = counted()
    policy = KEDA("light", target=0.5)
    policy.reset(scenario)
    assert pods_of(policy.decide(seen(scenario, 4, math.nan, 0, 30))) == 4
    with pytest.raises(ValueError, match="above 0"):
        KEDA(waiting=0)

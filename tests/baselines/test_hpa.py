"""The HPA policy: what it scales, and decisions worked by hand."""

import pytest
from observed import NAN, card, counted, observe, only, pod

from baselines.hpa import HPA
from baselines.hpa_rules import ScalingPolicy, ScalingRules

LIGHT = pod("light", 1)
FREE = ScalingRules((ScalingPolicy("percent", 900, 15),), window_s=0)  # up as far as it likes


def ready_to_scale(scenario, **settings):
    policy = HPA(**settings)
    policy.reset(scenario)
    return policy


def pods(decision):
    return sum(k.shape.cores * n if k.shape.cores > 1 else n for k, n in decision.deployment.replicas.items())


@pytest.mark.parametrize(("mean_rps", "variant"), [(25, "heavy"), (26, "light"), (320, "light"), (5000, "light")])
def test_by_default_the_most_accurate_that_carries_the_mean_load(mean_rps, variant):
    # Whole budget at 0.8: 0.8 x 4 cards x 8 req/s = 25.6; 0.8 x 10 cores x 40 req/s = 320.
    scenario = counted(mean_rps)
    decision = ready_to_scale(scenario).decide(observe(scenario, scenario.initial_deployment, 10.0))
    assert {v for k in decision.deployment.replicas for v in k.variants} == {variant}


def test_without_a_mean_load_the_variant_that_runs():
    scenario = counted()
    decision = ready_to_scale(scenario).decide(observe(scenario, scenario.initial_deployment, 10.0, busy=0.8))
    assert decision.deployment.replicas == {LIGHT: 3}


@pytest.mark.parametrize(("mean_rps", "variant"), [(90, "resnet50"), (70, "resnet101"), (161, "resnet34"), (900, "resnet18")])
def test_on_the_resnets_sizes_are_cores(resnet, mean_rps, variant):
    # 20 cores were measured to carry 67, 98, 200, 259, 473 req/s; 0.8 of that is 54, 78, 160, 207, 378.
    workload = resnet.workload["classify"].model_copy(update={"mean_rps": mean_rps})
    scenario = resnet.with_(workload={"classify": workload})
    policy = ready_to_scale(scenario)
    decision = policy.decide(observe(scenario, only(pod(variant, 8)), 90.0, busy=1.0))
    assert decision.deployment.replicas == {pod(variant, 10): 1}  # ceil(8 x 1.0 / 0.8)


def test_a_named_variant_starts_with_the_pods_that_the_load_needs(resnet):
    policy = ready_to_scale(resnet, variant="resnet34", target=0.8)
    decision = policy.decide(observe(resnet, resnet.initial_deployment, 90.0))
    # 20 cores carry 259 req/s, so a core 12.95: ceil(90 / (0.8 x 12.95)) = 9 cores.
    assert decision.deployment.replicas == {pod("resnet34", 9): 1}


def test_load_per_pod():
    # Capacity 40 req/s, target 0.5: 20 req/s for each pod. 130 req/s on 3 pods: ratio 2.17, ceil(6.5) = 7, just + 4 pods.
    scenario = counted()
    policy = ready_to_scale(scenario, metric="rps", target=0.5)
    assert pods(policy.decide(observe(scenario, only(LIGHT, 3), 130.0))) == 7


def test_of_two_metrics_the_one_that_asks_for_more_counts():
    """Busy 0.4 of 0.5 asks for ceil(3 x 0.8) = 3 pods; at 20 req/s a pod, 60 req/s ask for 3, 90 req/s for ceil(4.5) = 5."""
    scenario = counted()
    for rps, busy, wanted in ((60.0, 0.4, 3), (90.0, 0.4, 5), (60.0, 1.0, 6), (NAN, 1.0, 6)):
        policy = ready_to_scale(scenario, metric="both", target=0.5)
        assert pods(policy.decide(observe(scenario, only(LIGHT, 3), rps, busy=busy))) == wanted
    # With one of them missing it only scales up.
    policy = ready_to_scale(scenario, metric="both", target=0.5, window_s=0)
    assert pods(policy.decide(observe(scenario, only(LIGHT, 3), NAN, busy=0.1))) == 3
    policy = ready_to_scale(scenario, metric="busy", target=0.5, window_s=0)
    assert pods(policy.decide(observe(scenario, only(LIGHT, 3), NAN, busy=0.1))) == 1


def test_rise_within_the_policies_and_fall_after_the_window():
    scenario = counted()
    policy, running, track = ready_to_scale(scenario, window_s=120), only(LIGHT, 2), []
    for i, busy in enumerate([1.0, 1.0, 0.8, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2]):
        decision = policy.decide(observe(scenario, running, 50.0, t_s=30.0 * (i + 1), busy=busy))
        running = decision.deployment
        track.append(pods(decision))
    # Target 0.8. 2 -> ceil(2.5) 3 -> ceil(3.75) 4 -> stays (recommends 4 at t = 90). Then ceil(4 x 0.25) = 1 is asked for from
    # t = 120 on, but the 4 of t = 90 is inside 120 s until t = 210 is reached (90 > 210 - 120 no longer holds): 1.
    assert track == [3, 4, 4, 4, 4, 4, 1, 1, 1]


def test_pods_that_are_not_ready_damp_the_next_rise():
    scenario = counted()
    policy = ready_to_scale(scenario, up=FREE)
    seen = observe(scenario, only(LIGHT, 6), 100.0, busy=1.0, ready={LIGHT: 4}, pending={LIGHT: (5.0, 5.0)})
    # 4 ready at 1.0 and 2 unready at 0: mean 0.667 of 0.8, a turn of direction: unchanged.
    assert pods(policy.decide(seen)) == 6


def test_a_pod_being_resized_counts_its_old_cores(resnet):
    policy = ready_to_scale(resnet, variant="resnet50", target=0.5, up=FREE)
    running, old = only(pod("resnet50", 12)), {pod("resnet50", 8): 1}
    seen = observe(resnet, running, 100.0, busy=1.0, ready=old, pending={pod("resnet50", 12): (3.0,)})
    # 8 ready cores at 1.0, 4 unready at 0: mean 0.667, ratio 1.33 over 12: 16.
    assert policy.decide(seen).deployment.replicas == {pod("resnet50", 16): 1}


def test_missing_metric_leaves_the_scale_alone():
    scenario = counted()
    policy = ready_to_scale(scenario, window_s=0)
    for seen in (observe(scenario, only(LIGHT, 5), 10.0, busy=NAN), observe(scenario, only(LIGHT, 5), 10.0, ready={})):
        decision = policy.decide(seen)
        assert decision.deployment == only(LIGHT, 5) and "unchanged" in decision.reason
    nothing = ready_to_scale(scenario, metric="rps").decide(observe(scenario, only(LIGHT, 5), NAN))
    assert nothing.deployment == only(LIGHT, 5)


def test_each_service_has_its_own_autoscaler():
    scenario = counted(services=("see", "hear"), mean_rps=40)
    policy = ready_to_scale(scenario)
    hum = pod("hum", 1)
    start = observe(scenario, scenario.initial_deployment, {"see": 60.0, "hear": 20.0})
    first = policy.decide(start)
    # hum: ceil(20 / (0.8 x 16)); light: 0.5 of 0.8 asks for 2, the window holds 3.
    assert first.deployment.replicas == {LIGHT: 3, hum: 2}
    second = policy.decide(observe(scenario, first.deployment, {"see": 60.0, "hear": 20.0}, t_s=60.0, busy=1.0))
    assert second.deployment.replicas == {LIGHT: 4, hum: 3}


def test_never_beyond_the_budget_or_the_candidate(resnet):
    sixteen = only(pod("resnet50", 16))
    policy = ready_to_scale(resnet, variant="resnet50", up=FREE, window_s=0)
    assert policy.decide(observe(resnet, sixteen, 500.0, busy=1.0)).deployment.replicas == {pod("resnet50", 20): 1}
    assert policy.decide(observe(resnet, sixteen, 0.0, busy=0.0)).deployment.replicas == {pod("resnet50", 2): 1}
    scenario = counted(mean_rps=20)
    policy = ready_to_scale(scenario, up=FREE)
    three = only(card("heavy"), 3)
    assert policy.decide(observe(scenario, three, 99.0, busy=1.0)).deployment.replicas == {card("heavy"): 4}


def test_memory_covers_the_longest_window(resnet):
    assert ready_to_scale(resnet, window_s=100).memory_intervals == 4


@pytest.mark.parametrize(("settings", "message"), [({"metric": "memory"}, "metric 'memory'"), ({"target": 0}, "target 0")])
def test_wrong_settings_are_told(settings, message):
    with pytest.raises(ValueError, match=message):
        HPA(**settings)

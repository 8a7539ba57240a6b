"""INFaaS: rules worked by hand from its paper and program, and the policy."""

import pytest
from observed import NAN, card, counted, observe, only, pod

from baselines.infaas import INFaaS
from baselines.infaas_rules import CPU_VOTES, Running, additions, has_idle_replica, needed, shortfall_rps
from envs.contract import Deployment


def cpu(replicas, load_rps=0.0, capacity_rps=10.0, load_s=5.0, most=8):
    return Running(replicas, most, capacity_rps, load_s, True, load_rps)


def gpu(replicas, load_rps=0.0, capacity_rps=100.0, load_s=1.0, most=2):
    return Running(replicas, most, capacity_rps, load_s, False, load_rps)


@pytest.mark.parametrize(
    ("variant", "short"),
    [
        (cpu(2, 20), 1.0),  # 20 - 0.95 x 20
        (cpu(2, 19), 0.0),
        (gpu(1, 90), 10.0),  # 90 - 100 + 0.0002 x 100 x 1000 ms
        (gpu(1, 90, load_s=0.5), 0.0),
        (gpu(2, 100, load_s=0.5), -80.0),
    ],
)
def test_shortfalls(variant, short):
    assert shortfall_rps(variant) == pytest.approx(short)


def test_a_replica_is_idle_where_one_less_carries_the_load():
    assert [has_idle_replica(cpu(n, 20)) for n in (0, 1, 2, 3)] == [False, False, False, True]


def test_replicas_for_a_load():
    assert [needed(cpu(0), rps) for rps in (0.5, 10, 10.5, 30)] == [1, 1, 2, 3]


@pytest.mark.parametrize(
    ("variants", "added"),
    [
        ({"a": cpu(2, 15)}, {}),
        ({"a": cpu(2, 35)}, {"a": 2}),  # 35 - 19 = 16 short
        # b carries 16 with one replica that loads in 1 s, a needs two of 5 s: 10 > 1.5 x 1.
        ({"a": cpu(2, 35), "b": gpu(0)}, {"b": 1}),
        ({"a": cpu(2, 35), "b": gpu(0, load_s=8)}, {"a": 2}),  # 10 < 1.5 x 8
        ({"a": cpu(2, 35), "b": gpu(2)}, {"a": 2}),  # b has all that it may
        # a may have no more: a thousandfold, so b although it loads for 8 s.
        ({"a": cpu(2, 35, most=2), "b": gpu(0, load_s=8)}, {"b": 1}),
        ({"a": cpu(2, 35, most=2)}, {"a": 2}),  # nothing else is able; what limits it is the caller's
        # Both short, 16 and 6: 2 and 1 replicas of 5 s against one of 1 s for 22.
        ({"a": cpu(2, 35), "b": cpu(1, 15.5), "c": gpu(0)}, {"c": 1}),
    ],
)
def test_replicate_or_upgrade(variants, added):
    assert additions(variants) == added


def started(scenario, **settings):
    policy = INFaaS(**settings)
    policy.reset(scenario)
    return policy


def test_only_variants_that_are_accurate_enough(resnet):
    policy = started(resnet, least_accuracy=0.76)
    decision = policy.decide(observe(resnet, only(pod("resnet18", 20)), 90.0))
    # A core of resnet50 carries 10 req/s, of resnet101 4.9, of resnet152 3.35: 9 x 6.82 s is the least to load.
    assert decision.deployment.replicas == {pod("resnet50", 9): 1}
    with pytest.raises(ValueError, match=r"no variant of accuracy 0\.99"):
        started(resnet, least_accuracy=0.99)


def test_it_grows_at_once_and_shrinks_after_the_votes():
    """Pods of light carry 40 req/s: 3 are short of 130 - 114 = 16 req/s."""
    scenario = counted()
    policy, running, track = started(scenario, least_accuracy=0.6), only(pod("light", 1), 3), []
    for i in range(2 + 2 * CPU_VOTES):
        decision = policy.decide(observe(scenario, running, 130.0 if i < 2 else 50.0, t_s=30.0 * (i + 1)))
        running = decision.deployment
        track.append(running.replicas.get(pod("light", 1), 0))
    assert track == [4, 4] + [4] * (CPU_VOTES - 1) + [3] * CPU_VOTES + [2]


def test_it_upgrades_where_a_variant_has_all_that_it_may():
    """4 cards of 8 req/s, loaded in 40 s, and there may be no more: 40 - 32 + 0.2 x 40 x 32 = 264 req/s on light, 7 pods."""
    scenario = counted()
    decision = started(scenario).decide(observe(scenario, only(card("heavy"), 4), 40.0))
    assert decision.deployment.replicas == {card("heavy"): 4, pod("light", 1): 7}


def test_the_budget_bounds_what_is_added(resnet):
    running = Deployment({pod("resnet50", 12): 1, pod("resnet34", 4): 1})
    decision = started(resnet).decide(observe(resnet, running, 900.0))
    assert decision.deployment.units("cpu") == 20 and "room for" in decision.reason
    cores = {kind.variants[0]: kind.shape.cores for kind in decision.deployment.replicas}
    assert cores["resnet50"] >= 12 and cores["resnet34"] >= 4, "what runs is not given up for what grows"


def test_a_missing_load_changes_nothing(resnet):
    running = only(pod("resnet34", 7))
    assert started(resnet).decide(observe(resnet, running, NAN)).deployment.replicas == running.replicas

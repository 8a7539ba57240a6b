"""Model-Switching: the table of effective accuracy against closed forms, and what it chooses."""

import math

import pytest
from observed import counted, missing, observe, pod

from baselines.model_switching import ModelSwitching, in_time_ratio


def started(scenario, **settings):
    policy = ModelSwitching(**settings)
    policy.reset(scenario)
    return policy


@pytest.mark.parametrize(("service_s", "load_rps"), [(0.01, 30.0), (0.01, 60.0), (0.004, 200.0)])
def test_one_server_that_may_not_wait_is_idle_as_often_as_queueing_theory_says(service_s, load_rps):
    """M/D/1: a request waits not at all with probability 1 - load x service time; it is in time if the limit is that time."""
    ratios = in_time_ratio(1, service_s, service_s * (1 + 1e-9), load_rps)
    assert ratios == pytest.approx(1 - load_rps * service_s, abs=0.03)


def test_two_services_in_a_queue_of_one_server():
    """M/D/1 with use r: waiting less than one service time has probability (1 - r) e^r (Crommelin)."""
    r = 0.5
    assert in_time_ratio(1, 0.01, 0.02 - 1e-12, r / 0.01) == pytest.approx((1 - r) * math.exp(r), abs=0.03)


def test_limits():
    assert in_time_ratio(4, 0.1, 0.2, 0.0) == 1
    assert in_time_ratio(4, 0.3, 0.2, 1.0) == in_time_ratio(4, 0.3, 0.2, 0.0) == 0
    assert in_time_ratio(1000, 0.1, 0.2, 50.0) == 1
    assert in_time_ratio(2, 0.1, 0.2, 60.0) < 0.1


def test_accurate_variants_at_low_load_fast_ones_at_high_load(resnet):
    policy = started(resnet)
    chosen = []
    for i, rps in enumerate([10.0, 75.0, 90.0, 190.0, 240.0, 400.0, 5000.0]):
        decision = policy.decide(observe(resnet, resnet.initial_deployment, rps, t_s=30.0 * i))
        (kind, count), = decision.deployment.replicas.items()
        assert (count, kind.shape.cores) == (1, 20), "the hardware is fixed"
        assert decision.deployment.routes["classify"] == {(kind, kind.variants[0]): 1.0}
        chosen.append(kind.variants[0].removeprefix("resnet"))
    # Measured on 20 cores: 67, 98, 200, 259 and 473 req/s within the SLO.
    assert chosen == ["152", "101", "101", "50", "34", "18", "18"]


def test_no_variant_has_more_effective_accuracy_than_the_one_chosen(resnet):
    policy = started(resnet, units=12)
    for load, column in zip(policy.loads_rps, policy.table.T):
        decision = policy.decide(observe(resnet, resnet.initial_deployment, float(load)))
        assert decision.details["effective_accuracy"] == pytest.approx(column.max())
    assert {k.shape.cores for option, _ in policy.options for k in option} == {12}


def test_counts_are_used_as_far_as_the_candidate_goes():
    policy = started(counted())
    decision = policy.decide(observe(counted(), counted().initial_deployment, 300.0))
    assert decision.deployment.replicas == {pod("light", 1): 10}


def test_refusals(resnet):
    with pytest.raises(ValueError, match="serves one service"):
        started(counted(services=("see", "hear")))
    with pytest.raises(ValueError, match="fits into 1 units"):
        started(resnet, units=1)


def test_nothing_changes_before_a_load_is_seen(resnet):
    assert started(resnet).decide(missing(resnet)).deployment == resnet.initial_deployment

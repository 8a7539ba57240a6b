"""InfAdapter's policy: capacities, the hold rule, routes, and what it refuses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from observed import GPU, NAN, card, counted, missing, observe, only, pod
from published import VARIANTS, capacity_rps

from baselines import infadapter
from baselines.forecasters import EWM, LastValue
from baselines.infadapter import InfAdapter
from baselines.infadapter_ilp import Plan
from baselines.infadapter_tables import hosts_of, levels_in, regressed_capacity_rps
from envs import scenario_file
from envs.contract import Deployment, ReplicaKind
from envs.envelope import project


def started(scenario, **settings):
    policy = InfAdapter(**settings)
    policy.reset(scenario)
    return policy


def test_regression_over_the_profile_gives_the_published_capacities(resnet):
    for m, variant in enumerate(VARIANTS):
        for cores in range(2, 21):
            regressed = regressed_capacity_rps(resnet, pod(variant, cores), variant)
            assert int(0.8 * regressed) == capacity_rps(m, cores), (variant, cores)


@pytest.mark.parametrize(
    ("load", "config"),
    [(20, {"152": 8}), (43, {"50": 6}), (150, {"50": 19}), (175, {"18": 2, "50": 18}), (250, {"18": 8, "34": 2, "50": 10}),
     (350, {"18": 17, "34": 3}), (390, {"18": 20})],
)
def test_published_decisions_through_the_policy(resnet, load, config):
    policy = started(resnet, forecast=LastValue(1.0), capacity="regressed")
    decision = policy.decide(observe(resnet, only(pod("resnet152", 20)), float(load)))
    assert decision.deployment.replicas == {pod(f"resnet{name}", cores): 1 for name, cores in config.items()}
    assert ("more than the budget carries" in decision.reason) == (load == 390)


def test_routes_are_the_quotas_as_shares(resnet):
    policy = started(resnet, forecast=LastValue(1.0), capacity="regressed")
    shares = policy.decide(observe(resnet, only(pod("resnet152", 20)), 250.0)).deployment.routes["classify"]
    # Most accurate first: resnet50 on 10 cores carries int(0.8 x (103.212 - 3)) = 80, resnet34 on 2 int(0.8 x 25.09) = 20.
    assert shares == pytest.approx({(pod("resnet50", 10), "resnet50"): 80 / 250, (pod("resnet34", 2), "resnet34"): 20 / 250,
                                    (pod("resnet18", 8), "resnet18"): 150 / 250})


def test_hold_rule(resnet):
    """A plan is held while the forecast is within it, up to 4 times; the fifth plans anew; a greater one plans at once."""
    policy = started(resnet, forecast="last", margin=1.0)
    running, planned = resnet.initial_deployment, []
    for i, rps in enumerate([100, 100, 60, 60, 60, 60, 60, 60, 61]):
        decision = policy.decide(observe(resnet, running, float(rps), t_s=30.0 * (i + 1)))
        running = decision.deployment
        planned.append((decision.details["planned_rps"], decision.details["holds"]))
    assert planned == [(100, 0), (100, 1), (100, 2), (100, 3), (100, 4), (60, 0), (60, 1), (60, 2), (61, 0)]


def test_no_new_plan_while_the_last_one_is_rolled_out(resnet):
    """The artefact's loop waits until all new pods are ready; a replica stuck for three load times is not waited for."""
    start, one = resnet.initial_deployment, {"forecast": "last", "margin": 1.0}
    patient, hasty = started(resnet, **one), started(resnet, **one, finish_rollout=False)
    first = patient.decide(observe(resnet, start, 60.0)).deployment
    assert hasty.decide(observe(resnet, start, 60.0)).deployment == first
    new = next(kind for kind in first.replicas if kind not in start.replicas)
    for waited, waits in ((2.9, True), (3.1, False)):
        pending = {new: (waited * resnet.load_s(new),)}
        loading = observe(resnet, first, 300.0, ready=dict(start.replicas), pending=pending)
        assert (patient.decide(loading).deployment == first) == waits
    assert hasty.decide(loading).deployment != first


def test_the_margin_is_ten_per_cent_on_the_greatest_of_the_last_two(resnet):
    policy = started(resnet)
    for rps in (50.0, 80.0, 70.0):
        decision = policy.decide(observe(resnet, resnet.initial_deployment, rps))
    assert decision.details["forecast_rps"] == pytest.approx(88)


def test_missing_loads_are_held_not_taken_as_none(resnet):
    policy = started(resnet, hold=0)
    first = policy.decide(missing(resnet))
    assert first.deployment == resnet.initial_deployment and "unchanged" in first.reason
    planned = policy.decide(observe(resnet, first.deployment, 200.0))
    for i in range(3):
        decision = policy.decide(observe(resnet, planned.deployment, NAN, t_s=60.0 + 30 * i))
        assert decision.deployment.replicas == planned.deployment.replicas
        assert decision.details["forecast_rps"] == pytest.approx(220)


def test_a_load_of_zero_needs_little(resnet):
    decision = started(resnet).decide(observe(resnet, resnet.initial_deployment, 0.0))
    assert decision.deployment.replicas == {pod("resnet152", 2): 1}


def test_counted_candidates_on_two_device_types():
    scenario = counted(mean_rps=60)
    policy = started(scenario, forecast="last", margin=1.0, capacity_ratio=1.0)
    # Cards carry 8 req/s at accuracy 0.9 and price 3, cores 40 req/s at 0.6. The weight of cost is small: cards first.
    decision = policy.decide(observe(scenario, scenario.initial_deployment, 24.0))
    assert decision.deployment.replicas == {card("heavy"): 3}
    decision = policy.decide(observe(scenario, decision.deployment, 60.0))
    assert decision.deployment.replicas == {card("heavy"): 4, pod("light", 1): 1}
    shares = decision.deployment.routes["see"]
    assert shares == pytest.approx({(card("heavy"), "heavy"): 32 / 60, (pod("light", 1), "light"): 28 / 60})


def test_levels_in_force_that_are_no_choice_count_as_changed():
    scenario = counted()
    hosts = hosts_of(scenario, "see")
    assert levels_in(hosts, Deployment({pod("light", 1): 3})) == [3, 0]
    assert levels_in(hosts, Deployment({pod("light", 1): 99, ReplicaKind(("heavy",), GPU, batch=4): 1})) == [-1, 0]


def test_what_runs_stays_when_the_solver_runs_out_of_time(resnet, monkeypatch):
    policy = started(resnet)
    unfinished = Plan((0,) * 5, (0.0,) * 5, float("nan"), feasible=False, proven=False)
    monkeypatch.setattr(infadapter, "solve", lambda *_: unfinished)
    decision = policy.decide(observe(resnet, only(pod("resnet50", 9)), 100.0))
    assert decision.deployment == only(pod("resnet50", 9))
    assert decision.details["timeouts"] == 1


def test_forecasters_given_as_objects_are_not_shared(resnet):
    given = EWM(5)
    a, b = started(resnet, forecast=given), started(resnet, forecast=given)
    a.decide(observe(resnet, resnet.initial_deployment, 100.0))
    assert "no load observed" in b.decide(missing(resnet)).reason
    assert a.memory_intervals == given.memory_intervals + 5


def test_refusals(resnet):
    with pytest.raises(ValueError, match="plans one service; scenario 'counted' has 2: see, hear"):
        started(counted(services=("see", "hear")))
    with pytest.raises(ValueError, match="no regression for light @1c"):
        started(counted(), capacity="regressed")
    with pytest.raises(ValueError, match="capacity 'guessed'"):
        InfAdapter(capacity="guessed")


def test_a_rebuilt_memory_decides_the_same(resnet):
    """After a restart, a policy that has seen the last `memory_intervals` observations forecasts as before."""
    loads = np.random.default_rng(3).uniform(20, 300, 40)
    whole, rebuilt = started(resnet, memory=3, hold=0), started(resnet, memory=3, hold=0)
    seen = [observe(resnet, resnet.initial_deployment, float(rps), t_s=30.0 * i) for i, rps in enumerate(loads)]
    for observation in seen:
        last = whole.decide(observation)
    for observation in seen[-rebuilt.memory_intervals:]:
        again = rebuilt.decide(observation)
    assert last.deployment == again.deployment


@pytest.mark.parametrize("rps", [30.0, 240.0, 480.0, 640.0, 900.0])
def test_a_plan_always_fits_the_nodes_and_their_memory(rps):
    """20 + 20 + 8 cores are within a budget of 48, but not on two nodes of 24."""
    scenario = scenario_file.load("resnet-variants-48")
    policy = started(scenario, forecast="last", margin=1.0)
    decision = policy.decide(observe(scenario, scenario.initial_deployment, rps))
    assert project(decision.deployment, scenario) == (decision.deployment, ())
    assert decision.deployment.units("cpu") <= 48
    if rps == 640:
        assert "lowered" in decision.reason


@settings(max_examples=60)
@given(st.floats(0.5, 700), st.sampled_from([0.7, 0.8, 1.0]), st.integers(4, 40))
def test_a_plan_is_within_the_budget_and_each_variant_within_what_it_carries_in_time(resnet, rps, ratio, budget):
    scenario = resnet.with_(devices={"cpu": resnet.devices["cpu"].model_copy(update={"budget": max(20, budget)})})
    policy = started(scenario, forecast="last", margin=1.0, capacity_ratio=ratio)
    decision = policy.decide(observe(scenario, scenario.initial_deployment, rps))
    assert decision.deployment.units("cpu") <= scenario.devices["cpu"].budget
    if "more than the budget" not in decision.reason:
        for (kind, variant), share in decision.deployment.routes["classify"].items():
            assert share * rps <= ratio * scenario.capacity_rps(kind, variant) * (1 + 1e-6)

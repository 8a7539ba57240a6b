"""What all policies have in common: the first decision, missing numbers, determinism, settings."""

import pytest
from observed import NAN, counted, missing, observe, pod

from baselines.adapt import ADAPT
from baselines.autopilot import Autopilot
from baselines.band import OrderKeepBand
from baselines.fa2 import FA2Low
from baselines.hold import HoldPlanner
from baselines.hpa import HPA
from baselines.infaas import INFaaS
from baselines.infadapter import InfAdapter
from baselines.ipa import IPA
from baselines.ipa_fast import FastIPA
from baselines.kpa import KPA
from baselines.loki import FastLoki
from baselines.mark import MArk
from baselines.model_switching import ModelSwitching
from baselines.model_switching_plus import ModelSwitchingPlus
from baselines.proteus import Proteus
from baselines.quantile_planner import HeldQuantilePlanner, QuantilePlanner
from baselines.rim import RIM
from baselines.sponge import Sponge
from baselines.static import Static
from baselines.static_fast import ConstantMix, FastStatic
from baselines.target_tracking import TargetTracking
from baselines.two_time_scales import FastINFaaS, FastModelSwitching, FastModelSwitchingPlus, TwoTimeScales
from baselines.vpa import VPA
from envs.contract import Deployment, Policy

POLICIES = [Static, FastStatic, HPA, InfAdapter, TwoTimeScales, ModelSwitching, ModelSwitchingPlus, VPA, KPA, TargetTracking,
            Autopilot, INFaaS, MArk, FastModelSwitching, FastModelSwitchingPlus, FastINFaaS, HoldPlanner, QuantilePlanner,
            HeldQuantilePlanner, OrderKeepBand,
            IPA, FastIPA, FA2Low, RIM, Sponge, ADAPT,
            Proteus, FastLoki]


@pytest.fixture(params=["resnet", "counted"])
def scenario(request, resnet):
    return resnet if request.param == "resnet" else counted(mean_rps=60)


def play(policy, scenario, loads):
    """Decisions on a row of loads, each taking effect before the next."""
    policy.reset(scenario)
    decisions = [policy.decide(missing(scenario))]
    for i, rps in enumerate(loads):
        in_force = decisions[-1].deployment
        decisions.append(policy.decide(observe(scenario, in_force, rps, t_s=30.0 * (i + 1), busy=min(rps / 200, 1.0))))
    return decisions


LOADS = [90, 95, 180, 320, 500, 0, 40, NAN, 60, 60, 60, 60, 60, 5, 5]


@pytest.mark.parametrize("make", POLICIES)
def test_the_first_decision_keeps_the_initial_deployment_with_a_reason(make, scenario):
    decision = play(make(), scenario, [])[0]
    assert decision.deployment == scenario.initial_deployment
    assert decision.reason


@pytest.mark.parametrize("make", POLICIES)
def test_decisions_are_feasible_deterministic_and_forgotten_on_reset(make, scenario):
    policy = make()
    once, again, other = (play(p, scenario, LOADS) for p in (policy, policy, make()))
    assert once == again == other
    for decision in once:
        assert isinstance(decision.deployment, Deployment) and decision.reason
        assert decision.deployment.replicas
        for name, device in scenario.devices.items():
            assert decision.deployment.units(name) <= device.budget


@pytest.mark.parametrize("make", POLICIES)
def test_missing_numbers_are_not_zero(make, scenario):
    policy = make()
    running = play(policy, scenario, [150, 150])[-1].deployment
    decision = policy.decide(observe(scenario, running, NAN, t_s=90.0, busy=NAN))
    assert decision.deployment.replicas == running.replicas


@pytest.mark.parametrize("make", POLICIES)
def test_every_setting_of_the_space_makes_a_policy(make, scenario):
    for name, values in make.space(scenario).items():
        for value in values:
            policy = make(**{name: value})
            policy.reset(scenario)
            assert policy.decide(missing(scenario)).reason


def test_static_keeps_what_it_is_given(resnet):
    kept = Deployment({pod("resnet34", 7): 1})
    assert {d.deployment for d in play(Static(kept), resnet, LOADS)} == {kept}


def test_static_keeps_the_levels_it_is_given(resnet):
    levels = resnet.levels(Deployment({pod("resnet34", 7): 1}))
    assert {d.deployment for d in play(Static(levels=levels), resnet, LOADS)} == {Deployment({pod("resnet34", 7): 1})}
    with pytest.raises(ValueError, match="not both"):
        Static(Deployment(), levels)
    with pytest.raises(ValueError, match="levels"):
        Static(levels=levels[1:]).reset(resnet)


def test_a_policy_has_nothing_to_calibrate_unless_it_says_so(resnet):
    assert Policy.space(resnet) == {} and all(make.space(resnet) for make in POLICIES)


def test_static_space_is_every_single_pod_that_fits(resnet):
    constants = [resnet.deployment(levels) for levels in Static.space(resnet)["levels"]]
    assert len(constants) == len(set(constants)) == 5 * 19
    assert all(d.units("cpu") <= 20 for d in constants)


def test_mixes_are_all_deployments_of_one_or_two_kinds_within_the_budget(resnet):
    """Sizes of 2 to 20 cores: 19 of each kind, and of each pair those of 4 to 20 cores together."""
    mixes = [resnet.deployment(levels) for levels in ConstantMix.space(resnet)["levels"]]
    pairs = sum(m + n <= 20 for m in range(2, 21) for n in range(2, 21))
    assert len(mixes) == len(set(mixes)) == 5 * 19 + 10 * pairs
    assert max(len(d.replicas) for d in mixes) == 2 and max(d.units("cpu") for d in mixes) == 20
    assert resnet.deployment([8, 0, 10, 0, 0]) in mixes
    two = counted(services=("see", "hear"))
    assert ConstantMix.space(two) == Static.space(two)


def test_static_space_of_two_services_covers_both_within_the_budget():
    two = counted(services=("see", "hear"))
    constants = [two.deployment(levels) for levels in Static.space(two)["levels"]]
    hosted = [{v for kind in d.replicas for v in kind.variants} for d in constants]
    assert all("hum" in h and h & {"light", "heavy"} for h in hosted)
    assert all(d.units("cpu") <= 12 for d in constants)
    assert len(constants) == 10 * 5 - 6 + 4 * 5  # light + hum of more than 12 cores: 10+3..5, 9+4..5, 8+5

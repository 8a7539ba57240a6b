"""A policy before a target that changes numbers only: the same capacity in the target's kinds, and it says so."""

import math
from dataclasses import replace

import pytest

from baselines.static import Static
from envs.cluster import SimulatedCluster
from envs.contract import Decision, Deployment, Policy
from envs.profiles import ProfileError
from envs.scenario_file import load
from runtime.actuators.kind_names import kind_named
from runtime.actuators.replicas_only import ReplicasOnly, in_kinds

SCENARIO = load("live-demo")
KINDS = SCENARIO.kinds


class Wants(Policy):
    memory_intervals = 3

    def __init__(self, deployment):
        self.deployment = deployment

    def reset(self, scenario):
        self.limit_seen_s = self.limit_s

    def decide(self, observation):
        return Decision(self.deployment, "because")


def served_rps(deployment):
    """By its definition: servers x batch / latency, of the variant that each kind has for the only service."""
    total = 0.0
    for kind, n in deployment.replicas.items():
        (variant,) = kind.variants
        total += n * kind.shape.servers * kind.batch / max(SCENARIO.profile.latency_s(variant, kind.shape, kind.batch))
    return total


@pytest.mark.parametrize("to", KINDS)
@pytest.mark.parametrize("levels", [(1, 0, 0), (0, 1, 1), (2, 1, 0)])
def test_nothing_but_the_target_s_kind_and_just_enough_of_it(levels, to):
    wanted = SCENARIO.deployment(levels)
    given = in_kinds(wanted, [to], SCENARIO)
    assert set(given.replicas) == {to}
    most = max(c.max_count for c in SCENARIO.candidates if to in c.kinds)
    assert given.replicas[to] <= most
    if given.replicas[to] < most:
        assert served_rps(given) >= served_rps(wanted) * (1 - 1e-9)
    fewer = Deployment({to: given.replicas[to] - 1})
    assert served_rps(fewer) < served_rps(wanted)


def test_what_the_target_has_stays_and_routes_go():
    wanted = SCENARIO.deployment((1, 1, 0))
    (service,) = SCENARIO.services
    routed = Deployment(wanted.replicas, {service: {(kind, kind.variants[0]): 0.5 for kind in wanted.replicas}})
    assert in_kinds(routed, KINDS, SCENARIO) == wanted
    assert in_kinds(Deployment(), KINDS, SCENARIO) == Deployment()


def test_a_decision_says_what_became_of_it():
    observation = SimulatedCluster(SCENARIO, {}, seed=0).advance()
    wanted = Deployment({KINDS[1]: 1})
    inner = Wants(wanted)
    policy = ReplicasOnly(inner, KINDS[:1])
    policy.limit_s = 0.25
    policy.reset(SCENARIO)
    assert (policy.memory_intervals, policy.needs_profile, inner.limit_seen_s) == (3, True, 0.25)
    decision = policy.decide(observation)
    assert decision.deployment == in_kinds(wanted, KINDS[:1], SCENARIO)
    assert decision.reason == f"because; replicas only: {wanted} -> {decision.deployment}"
    same = ReplicasOnly(Wants(Deployment({KINDS[0]: 1})), KINDS[:1])
    same.reset(SCENARIO)
    assert same.decide(observation).reason == "because"


def test_a_policy_that_gives_no_decision_is_left_to_whoever_hosts_it():
    policy = ReplicasOnly(Static(), KINDS[:1])
    policy.reset(SCENARIO)
    policy._policy.decide = lambda observation: "nonsense"
    assert policy.decide(SimulatedCluster(SCENARIO, {}, seed=0).advance()) == "nonsense"


def test_a_kind_that_nobody_measured_counts_by_its_resources():
    kind = KINDS[0]
    strange = replace(kind, shape=replace(kind.shape, device="tpu", intra_op=3))
    with pytest.raises(ProfileError):
        SCENARIO.capacity_rps(strange, kind.variants[0])
    assert in_kinds(Deployment({strange: 1}), [kind], SCENARIO).replicas[kind] == min(
        math.ceil(3 / kind.shape.units), SCENARIO.candidates[0].max_count)


def test_names_of_kinds():
    assert kind_named("", KINDS[:1]) == KINDS[0]
    assert kind_named(str(KINDS[1]), KINDS) == KINDS[1]
    assert kind_named(KINDS[1].variants[0], KINDS) == KINDS[1]
    for name, told in (("", "name one of several kinds"), ("huge", "no kind named 'huge'")):
        with pytest.raises(ValueError, match=told):
            kind_named(name, KINDS)
    with pytest.raises(ValueError, match="several kinds named"):
        kind_named(load("resnet-variants").kinds[0].variants[0], load("resnet-variants").kinds)

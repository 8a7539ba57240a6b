"""No replica at all: live and simulated, who is turned away, who waits for the first one to load, and how many may.

A policy wakes a service at its next decision, by the load that was offered, not served (docs/scale_to_zero.md).
"""

import numpy as np
import pytest
from emulation import changed, made
from test_equals_simulator import same

from agents import registry
from envs.cluster import SimulatedCluster
from envs.contract import Deployment
from envs.envelope import guard
from envs.scenario_file import load
from traces.load import POISSON, make_load

LOAD_S, ZERO_S, WAKES_S, READY_S = 1.5, 2.0, 4.0, 5.5
ARRIVALS_S = {"s": np.arange(16, 80) / 10 + 0.01}  # ten a second; live, the first replica has loaded by then


def played(binding, **more):
    """One replica; none from 2 s on; one again, that loads, from 4 s on. The fates, the same in both."""
    scenario = made({"v": 0.02}, [{"variants": ["v"], "cores": [1]}], binding=binding, interval_s=1.0, service_cv=0.0,
                    slo_s=LOAD_S + 0.5, variants={"v": {"accuracy": 0.9, "load_s": LOAD_S}}, **more)
    (kind,) = scenario.kinds
    live, cluster = changed(scenario, ARRIVALS_S, {2: Deployment(), 4: Deployment({kind: 1})})
    frame = same(live, cluster)
    came_s = ARRIVALS_S["s"][frame["number"]]
    return frame.assign(came_s=came_s, waited_s=frame["t_s"] - came_s)


def those(frame, begin_s, end_s):
    return frame[(frame.came_s > begin_s) & (frame.came_s < end_s)]


def test_while_nothing_is_wanted_requests_are_rejected_at_once():
    asleep = those(played("late"), ZERO_S, WAKES_S)
    assert len(asleep) == 20 and (asleep.fate == "rejected").all() and (asleep.waited_s == 0).all()


def test_those_that_come_while_the_first_replica_loads_wait_for_it_and_are_answered():
    loading = those(played("late"), WAKES_S, READY_S)
    assert len(loading) == 15 and (loading.fate == "good").all()
    first = loading.iloc[0]
    assert first.t_s == pytest.approx(READY_S + 0.02)  # it waited for the cold start, and for nothing else
    np.testing.assert_allclose(np.diff(loading.t_s), 0.02, atol=1e-9)  # then the backlog, one after the other


def test_early_binding_has_no_queue_before_there_is_a_replica():
    loading = those(played("early"), WAKES_S, READY_S)
    assert (loading.fate == "rejected").all()


def test_no_more_wait_than_the_bound_and_none_longer_than_its_patience():
    bounded = those(played("late", admission={"queue_limit_s": 0.1}), WAKES_S, READY_S)  # 0.1 s of 50 req/s: five
    assert list(bounded.fate) == ["good"] * 5 + ["rejected"] * 10
    patient = those(played("late", admission={"drop_after_s": 1.0}), WAKES_S, READY_S)
    dropped = patient.came_s < READY_S - 1.0
    assert (patient.fate[dropped] == "dropped").all() and (patient.fate[~dropped] == "good").all() and dropped.sum() == 5


@pytest.mark.parametrize("name", ["hpa", "kpa", "keda", "target-tracking", "infadapter"])
def test_a_policy_wakes_a_service_by_what_was_offered_at_its_next_decision(name):
    scenario = load("live-demo")
    policy, cluster = registry.make(name, scenario), SimulatedCluster(scenario, {
        "classify": make_load(POISSON, np.array([0.0, 40.0]), bin_s=2 * scenario.interval_s)}, seed=0)
    policy.reset(scenario)
    seen = cluster.first_observation
    for _ in range(3):  # asleep, whatever the policy says; the load comes in the third interval
        policy.decide(seen)
        cluster.apply(Deployment())
        seen = cluster.advance()
    assert not any(kind.ready for kind in seen.kinds.values()) and seen.applications["classify"].rejected_ratio == 1
    decision, _, _ = guard(policy.decide(seen), seen, scenario)
    assert decision.deployment.units("cpu") >= 1

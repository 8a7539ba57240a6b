"""No replica at all: live and simulated, who is turned away, who waits for the first one to load, and how many may.

A policy wakes a service at its next decision, by the load that was offered, not served (docs/scale_to_zero.md).
"""

import asyncio
from contextlib import asynccontextmanager

import numpy as np
import pytest
from emulation import changed, made
from every_feature import Whole
from test_equals_simulator import same
from web import call, infer, until

from agents import registry
from envs import state as st
from envs.cluster import SimulatedCluster
from envs.contract import Decision, Deployment
from envs.envelope import Limits, guard
from envs.scenario_file import load
from envs.waking import woken
from runtime.serving.service import Service
from traces.load import POISSON, RECORDED, make_load

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


# ---- services that wake at a request

WAKES = {"s": {"variants": ["v"], "slo_s": LOAD_S + 0.5, "wake": 0}}


def woke(wanted, arrivals_s=ARRIVALS_S, **more):
    """As `played`, with a service that wakes: both clusters, and the fates, the same in both."""
    scenario = made({"v": 0.02}, [{"variants": ["v"], "cores": [1]}], binding="late", interval_s=1.0, service_cv=0.0,
                    variants={"v": {"accuracy": 0.9, "load_s": LOAD_S}}, services=WAKES, **more)
    live, cluster = changed(scenario, arrivals_s, wanted)
    frame = same(live, cluster)
    came_s = arrivals_s["s"][frame["number"]]
    return live.cluster, cluster, frame.assign(came_s=came_s, waited_s=frame["t_s"] - came_s)


def test_the_first_request_wakes_the_service_and_waits_for_the_cold_start():
    live, cluster, frame = woke({2: Deployment()})
    assert set(frame.fate) == {"good"} and len(frame) == len(ARRIVALS_S["s"])
    first = those(frame, ZERO_S, 8.0).iloc[0]
    assert first.waited_s == pytest.approx(LOAD_S + 0.02)
    assert live.desired.current.deployment == cluster.deployment == live.scenario.initial_deployment
    assert live.desired.current.grounds.reason == "woken by a request for s"


def test_a_decision_made_without_knowing_of_those_that_wait_does_not_turn_them_away():
    _, _, frame = woke({2: Deployment(), 3: Deployment()})
    assert set(frame.fate) == {"good"}


def test_with_the_decision_on_its_way_a_request_wakes_what_is_in_force():
    """Simulated: the second decision, for nothing, takes effect while the woken replica loads; it is kept for who waits."""
    scenario = made({"v": 0.02}, [{"variants": ["v"], "cores": [1]}], binding="late", interval_s=1.0, service_cv=0.0,
                    variants={"v": {"accuracy": 0.9, "load_s": 1.0}}, services=WAKES, decision_delay_s=0.5)
    cluster = Whole(scenario, {"s": make_load(RECORDED, recorded_s=np.array([1.2]))}, record=True)
    cluster.apply(Deployment())
    cluster.advance()
    assert cluster.deployment == Deployment()
    cluster.apply(Deployment())
    there = cluster.snapshot()
    for _ in range(2):  # the second time from a snapshot
        cluster.restore(there)
        seen = [cluster.advance(), cluster.advance()]
        assert [o.deployment for o in seen] == [scenario.initial_deployment] * 2
        assert cluster.records().t_s.tolist() == [pytest.approx(2.22)]


def test_asleep_again_it_costs_nothing():
    _, cluster, frame = woke({2: Deployment(), 6: Deployment()}, {"s": np.array([2.5, 9.0])})
    assert set(frame.fate) == {"good"}
    held_s = cluster.totals().kind_ns[0, st.HELD] / 1e9
    assert held_s == pytest.approx(2.0 + 3.5 + cluster.t_s - 9.0 + (cluster.totals().t_s - cluster.t_s))


def test_a_chain_wakes_whole_at_its_first_stage():
    """So a request waits for the longest cold start, and not for one after the other."""
    chain = {"s": {"variants": ["v"], "slo_s": 9.0, "wake": 0}, "z": {"variants": ["w"], "slo_s": 9.0, "wake": 1}}
    scenario = made({"v": 0.02, "w": 0.03}, [{"variants": ["v"], "cores": [1]}, {"variants": ["w"], "cores": [1]}],
                    binding="late", interval_s=1.0, service_cv=0.0, services=chain,
                    variants={"v": {"accuracy": 0.9, "load_s": 1.0}, "w": {"accuracy": 0.9, "load_s": 2.0}},
                    applications={"a": {"services": ["s", "z"], "slo_s": 9.0}})
    came_s = np.array([2.6, 4.25, 4.5, 9.5])  # live, both have loaded by then
    live, cluster = changed(scenario, {"a": came_s}, {3: Deployment(), 8: Deployment()})
    frame = same(live, cluster)
    assert set(frame.fate) == {"good"}
    assert (frame.t_s - came_s).tolist() == pytest.approx([0.05, 2.03, 1.81, 2.03])
    assert live.cluster.desired.current.deployment == scenario.initial_deployment


def test_where_there_is_no_room_requests_are_rejected_as_ever():
    scenario = made({"v": 0.02, "w": 0.02}, [{"variants": ["v"], "cores": [1]}, {"variants": ["w"], "cores": [1]}],
                    binding="late", devices={"cpu": {"budget": 1}}, initial=[{"candidate": 1, "level": 1}],
                    services={"s": {"variants": ["v"], "slo_s": 1.0, "wake": 0}, "z": {"variants": ["w"], "slo_s": 1.0}})
    assert woken(scenario.initial_deployment, ["s"], scenario) is scenario.initial_deployment
    assert woken(Deployment(), ["s", "z"], scenario) == Deployment({scenario.kinds[0]: 1})


def test_the_envelope_keeps_a_service_awake_while_requests_come_whatever_the_pin():
    scenario = made({"v": 0.02}, [{"variants": ["v"], "cores": [1]}], binding="late", interval_s=1.0, services=WAKES,
                    scrape={"interval_s": 0.0})
    asleep = Decision(Deployment(), "night")
    for came, kept in ((ARRIVALS_S["s"], scenario.initial_deployment), (np.array([5.0]), Deployment())):
        cluster = Whole(scenario, {"s": make_load(RECORDED, recorded_s=came)}, record=True)
        cluster.advance()
        seen = cluster.advance()
        decision, notes, _ = guard(asleep, seen, scenario, Limits(min_levels=(0,), max_levels=(0,)))
        assert decision.deployment == kept and bool(notes) == (kept != Deployment())


@pytest.mark.parametrize("changes, reason", [
    ({"binding": "early"}, "no queue before"),
    ({"services": {"s": {**WAKES["s"], "wake": 1}}}, "no candidate 1; there are 1"),
    ({"services": {"s": WAKES["s"] | {"variants": ["w"]}, "z": {"variants": ["v"], "slo_s": 1.0}}}, "hosts none"),
])
def test_what_cannot_wake_is_refused(changes, reason):
    with pytest.raises(ValueError, match=reason):
        made({"v": 0.02, "w": 0.02}, [{"variants": ["v"], "cores": [1]}],
             **{"binding": "late", "services": WAKES} | changes)


@asynccontextmanager
async def served(load_s, **more):
    """A live cluster over HTTP, emulated in real time, with nothing ready."""
    scenario = made({"v": 0.005}, [{"variants": ["v"], "cores": [1]}], binding="late", service_cv=0.0, initial=[],
                    variants={"v": {"accuracy": 0.9, "load_s": load_s}}, services=WAKES, **more)
    service = Service(scenario)
    await service.start(("127.0.0.1", 0), ("127.0.0.1", 0))
    try:
        yield service, int(service.gateway.url.rsplit(":", 1)[1])
    finally:
        await service.close()


def test_live_a_first_request_ever_is_answered_after_the_cold_start():
    async def play():
        async with served(0.3) as (service, port):
            assert (await call(port, "GET", "/v2/health/ready")).status == 200  # or nobody would send it requests
            assert (await call(port, "GET", "/v2/models/s/ready")).status == 200
            assert not service.cluster.replicas()
            began_s = service.cluster.clock.now_s()
            answers = await asyncio.gather(*(infer(port) for _ in range(5)))
            assert [answer.status for answer in answers] == [200] * 5
            assert service.cluster.clock.now_s() - began_s >= 0.3
            assert len(service.cluster.replicas()) == 1

    asyncio.run(asyncio.wait_for(play(), 60))


def test_live_those_beyond_the_bound_are_told_when_to_come_again_and_deadlines_are_kept():
    async def play():
        async with served(3600.0, admission={"queue_limit_s": 0.01}) as (service, port):  # of 200 req/s: two
            waiting = [asyncio.ensure_future(infer(port, Tidal_Timeout_Seconds="0.5"))
                       for _ in range(2)]
            await until(lambda: service.dispatcher.outstanding == 2)
            beyond = await infer(port)
            assert beyond.status == 503 and beyond.headers["Retry-After"] == "3600"
            for answer in await asyncio.gather(*waiting):  # long before there is a replica
                assert answer.status == 503 and "waited too long" in answer.body["error"]
            service.cluster.change(Deployment(), service.cluster.desired.current.number)
            assert not service.cluster.desired.current.deployment.replicas  # nobody waits: it may sleep

    asyncio.run(asyncio.wait_for(play(), 60))


def test_live_a_pin_holds_against_requests():
    async def play():
        async with served(0.3) as (service, port):
            service.cluster.pin(60.0, "maintenance")
            assert (await infer(port)).status == 503
            assert not service.cluster.replicas()

    asyncio.run(asyncio.wait_for(play(), 60))

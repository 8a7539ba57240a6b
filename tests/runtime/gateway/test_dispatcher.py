"""The dispatcher where replicas come, go and break: every request is settled once, by nobody twice."""

import asyncio
import math

import numpy as np
import pytest
from emulation import Emulated, Live, made, poisson
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.contract import Deployment, ReplicaKind, Shape
from runtime.gateway.request import DROPPED, FAILED, GOOD, LATE, Cause
from runtime.gateway.settling import LIVES
from runtime.serving.replica import RequestRefused

ONE = [{"variants": ["v"], "cores": [1], "max_count": 3}]
PAIRS = [{"variants": ["v"], "cores": [2], "batch": 2, "max_wait_s": 0.05, "max_count": 3}]
TABLE = {1: 0.1, 2: 0.15, 4: 0.25}


def play(scenario, story):
    """Plays a story on the fake clock. Returns the live dispatcher."""
    live = Live(scenario)

    async def run():
        await live.begin()
        await story(live)
        if live.requests:
            await asyncio.wait([request.settled for request in live.requests])
        assert live.dispatcher.outstanding == 0
        live.totals = live.dispatcher.sample()
        await live.dispatcher.close()

    asyncio.run(live.clock.drive(run()))
    return live


def fates(live):
    return [request.settled.result().fate for request in live.requests]


def lose(live, replica):
    replica.fence()
    live.dispatcher.lost(replica)


async def until(live, t_s):
    await live.clock.sleep_until(t_s)


def conserved(live):
    """Each request has one fate, the counters say the same, and each answer is to the request that was sent."""
    count = live.totals.app_count[0]
    assert count[0] == len(live.requests) == count[GOOD : FAILED + 1].sum()
    found = np.bincount(fates(live), minlength=FAILED + 1)[GOOD:]
    np.testing.assert_array_equal(found, count[GOOD : FAILED + 1])
    for request in live.requests:
        outcome = request.settled.result()
        if outcome.fate in (GOOD, LATE):
            assert outcome.answer[0].item() == live.requests.index(request)
            assert outcome.cause is None
        else:
            assert outcome.cause is not None and not outcome.answer


@settings(max_examples=40)
@given(st.data())
def test_losses_and_drains_at_any_time(data):
    scenario = made(
        {"v": TABLE}, PAIRS, binding=data.draw(st.sampled_from(["early", "late"]), "binding"),
        dispatch=data.draw(st.sampled_from(["shortest-queue", "least-expected-finish"]), "dispatch"),
        failures={"in_flight": data.draw(st.sampled_from(["requeued", "lost"]), "in flight")},
        admission=data.draw(st.sampled_from([{}, {"drop_after_s": 0.6}, {"queue_limit_s": 0.5}]), "admission"))
    event = st.tuples(st.floats(0.0, 3.0), st.sampled_from(["lose", "drain", "add", "leave"]), st.integers(0, 9))
    events = data.draw(st.lists(event, max_size=8), "events")
    served = []

    async def story(live):
        async def happen(t_s, what, i):
            await until(live, t_s)
            if what == "add":
                await live.add(scenario.kinds[0])
            elif what == "leave":
                waiting = [request for request in live.requests if request.queue]
                if waiting:
                    live.dispatcher.withdraw(waiting[i % len(waiting)])
            elif live.dispatcher.hosts:
                host = list(live.dispatcher.hosts.values())[i % len(live.dispatcher.hosts)]
                if what == "lose":
                    lose(live, host.replica)
                else:
                    await live.dispatcher.drain(host.replica)
                    assert host.replica.under_way == 0 or host.replica.fenced
                    assert host.replica.number not in live.dispatcher.hosts

        others = [asyncio.ensure_future(happen(*event)) for event in events]
        for t_s in poisson(40.0, 100):
            await until(live, t_s)
            live.send("s")
        await asyncio.gather(*others)
        if not live.dispatcher.hosts:  # with late binding requests wait for one that is to come
            await live.add(scenario.kinds[0])
        served.extend(live.replicas)

    live = play(scenario, story)
    conserved(live)
    assert all(replica.most_under_way <= replica.kind.shape.servers + 1 for replica in served)


def test_what_a_lost_replica_had_goes_to_another():
    async def story(live):
        for _ in range(9):
            live.send("s")
        await until(live, 0.01)
        lose(live, live.replicas[0])

    live = play(made({"v": 0.1}, ONE, slo_s=5.0), story)
    assert fates(live) == [GOOD] * 9
    conserved(live)


def test_requests_that_a_scenario_says_are_lost():
    async def story(live):
        for _ in range(9):
            live.send("s")
        await until(live, 0.01)
        lose(live, live.replicas[0])

    live = play(made({"v": 0.1}, ONE, slo_s=5.0, failures={"in_flight": "lost"}), story)
    assert sorted(fates(live)) == [GOOD] * 6 + [FAILED] * 3
    assert {r.settled.result().cause for r in live.requests} == {None, Cause.LOST}


def test_a_request_that_breaks_replicas_does_not_break_them_all():
    class Breaks(Emulated):
        async def answers(self, variant, requests, head, freed):
            answers = await super().answers(variant, requests, head, freed)
            if any(tensors[0].item() == 0 for tensors in requests):
                live.dispatcher.lost(self)
                await asyncio.sleep(0)
            return answers  # late: it was given up already

    async def story(it):
        nonlocal live
        live = it
        for number in range(LIVES + 2):
            replica = Breaks(live.scenario, live.scenario.kinds[0], 100 + number, live.clock)
            await replica.load()
            live.dispatcher.add(replica)
        for _ in range(30):
            live.send("s")

    live = None
    live = play(made({"v": 0.1}, ONE, slo_s=60.0, initial=()), story)
    assert fates(live) == [FAILED] + [GOOD] * 29
    assert len(live.dispatcher.hosts) == 2
    conserved(live)


def test_a_refused_request_alone_fails():
    class Refuses(Emulated):
        async def answers(self, variant, requests, head, freed):
            await super().answers(variant, requests, head, freed)
            return [RequestRefused("too long") if tensors[0].item() == 1 else tensors for tensors in requests]

    async def story(live):
        replica = Refuses(live.scenario, live.scenario.kinds[0], 100, live.clock)
        await replica.load()
        live.dispatcher.add(replica)
        for _ in range(4):
            live.send("s")

    live = play(made({"v": TABLE}, PAIRS, initial=()), story)
    assert fates(live) == [GOOD, FAILED, GOOD, GOOD]
    outcome = live.requests[1].settled.result()
    assert (outcome.cause, outcome.details) == (Cause.REFUSED, "too long")
    assert 100 in live.dispatcher.hosts


@pytest.mark.parametrize("error", [OSError("odd"), None], ids=["raises", "too few answers"])
def test_a_replica_that_does_not_keep_the_protocol(error):
    class Odd(Emulated):
        async def answers(self, variant, requests, head, freed):
            if error:
                raise error
            return []

    async def story(live):
        live.dispatcher.add(Odd(live.scenario, live.scenario.kinds[0], 100, live.clock))
        live.send("s")

    live = play(made({"v": 0.1}, ONE, initial=()), story)
    assert live.requests[0].settled.result().cause == Cause.BROKEN
    conserved(live)


def test_draining_answers_what_it_has_and_gets_nothing_new():
    async def story(live):
        for _ in range(9):
            live.send("s")
        drained = asyncio.ensure_future(live.dispatcher.drain(live.replicas[0]))
        await until(live, 0.01)
        before = len(live.replicas[0].batches) + live.dispatcher.hosts[0].queue.waiting
        for _ in range(9):
            live.send("s")
        assert not drained.done() and live.dispatcher.queue_length(live.replicas[0]) == 3
        await drained
        assert len(live.replicas[0].batches) == before == 3
        assert live.dispatcher.queue_length(live.replicas[0]) == 0
        await live.dispatcher.drain(live.replicas[0])  # again: nothing to wait for

    live = play(made({"v": 0.1}, ONE, slo_s=60.0), story)
    assert fates(live) == [GOOD] * 18


def test_late_binding_waits_for_a_replica_that_is_to_come():
    scenario = made({"v": 0.1}, ONE, binding="late", slo_s=5.0)

    async def story(live):
        for replica in list(live.replicas):
            lose(live, replica)
        live.send("s")
        await until(live, 1.0)
        assert not live.requests[0].settled.done()
        await live.add(scenario.kinds[0])
        await live.requests[0].settled
        for replica in live.replicas[3:]:
            lose(live, replica)
        live.send("s")
        live.dispatcher.set_deployment(Deployment({}))  # none is to come any more
        assert live.requests[1].settled.done()

    live = play(scenario, story)
    assert fates(live) == [GOOD, FAILED]


def test_new_routes_wait_for_their_kinds():
    scenario = made({"u": 0.05, "v": 0.1}, [{"variants": ["u"], "cores": [1]}, {"variants": ["v"], "cores": [1]}],
                    initial=[{"candidate": 0, "level": 1}])
    v = scenario.kinds[1]

    async def story(live):
        live.dispatcher.set_deployment(Deployment({v: 1}, {"s": {(v, "v"): 1.0}}))
        await live.send("s").settled
        await live.add(v)
        await live.send("s").settled
        with pytest.raises(ValueError, match="unknown service 'q'"):
            live.dispatcher.set_deployment(Deployment({v: 1}, {"q": {(v, "v"): 1.0}}))
        with pytest.raises(ValueError, match="not a variant of both"):
            live.dispatcher.set_deployment(Deployment({v: 1}, {"s": {(v, "u"): 1.0}}))
        other = ReplicaKind(("v",), Shape(cores=7))
        with pytest.raises(ValueError, match="neither deployed nor a candidate"):
            live.dispatcher.set_deployment(Deployment({v: 1}, {"s": {(other, "v"): 1.0}}))

    live = play(scenario, story)
    assert [request.settled.result().variant for request in live.requests] == ["u", "v"]


def test_one_batch_goes_ahead_and_no_other():
    """Only what would be the same later: with two tenants, or requests that may be given up, none does."""
    async def story(live):
        for _ in range(30):
            live.send("s")

    services = {name: {"variants": ["v"], "slo_s": 9.0, "tenant": name} for name in "sz"}
    two_tenants = {"services": services, "tenants": {"s": {}, "z": {}}}
    for more, ahead in (({}, 1), ({"admission": {"drop_after_s": 5.0}}, 0), ({"binding": "late"}, 0), (two_tenants, 0)):
        live = play(made({"v": TABLE}, PAIRS, slo_s=60.0, **more), story)
        assert [replica.most_under_way for replica in live.replicas] == [2 + ahead] * 3


def test_of_several_variants_one_goes_ahead_where_batches_are_of_one():
    """Then the oldest request is the next, of whichever variant; else it may be any that fills a batch first."""
    async def story(live):
        for i in range(12):
            live.send("st"[i % 2])

    both = {"variants": ["u", "v"], "cores": [1], "max_count": 1}
    services = {"s": {"variants": ["u"], "slo_s": 60.0}, "t": {"variants": ["v"], "slo_s": 60.0}}
    for batch, ahead in ((1, 1), (2, 0)):
        live = play(made({"u": TABLE, "v": TABLE}, [{**both, "batch": batch}], services=services), story)
        assert [replica.most_under_way for replica in live.replicas] == [1 + ahead]
        assert [variant for variant, _ in live.replicas[0].batches[:4]] == ["u", "v", "u", "v"]


def test_what_is_brief_goes_ahead_before_it_is_full():
    async def story(live):
        for i in range(5):
            await until(live, 0.0001 * i)
            live.send("s")

    fours = [{"variants": ["v"], "cores": [1], "batch": 4}]
    for full_s, batches in ((0.0005, [1, 1, 3]), (0.0006, [1, 4])):
        live = play(made({"v": {1: full_s, 4: full_s}}, fours, service_cv=0.0), story)
        assert [size for _, size in live.replicas[0].batches] == batches


def test_what_comes_in_one_turn_goes_in_one_batch():
    """The simulator would start the first alone: on a machine it has no time to start before the others are there."""
    async def story(live):
        for _ in range(3):
            live.send("s")
        await until(live, 1.0)
        live.send("s")

    live = play(made({"v": TABLE}, [{"variants": ["v"], "cores": [1], "batch": 4}], slo_s=5.0), story)
    assert live.replicas[0].batches == [("v", 3), ("v", 1)]


def test_what_is_ahead_still_waits():
    async def story(live):
        for _ in range(4):
            live.send("s")
        await until(live, 0.01)
        waiting = live.dispatcher.sample()
        assert (waiting.service_waiting.sum(), waiting.kind_waiting.sum()) == (1, 1)

    play(made({"v": 0.1}, ONE), story)


def test_a_client_that_leaves_while_it_is_served_is_counted_as_answered():
    async def story(live):
        first = live.send("s")
        await until(live, 0.01)
        live.dispatcher.withdraw(first)
        for _ in range(5):
            last = live.send("s")
        await until(live, 0.02)
        live.dispatcher.withdraw(last)

    live = play(made({"v": 0.1}, ONE), story)
    assert fates(live) == [GOOD] * 6

    live = play(made({"v": 0.1}, ONE, binding="late"), story)
    assert fates(live) == [GOOD] * 5 + [DROPPED]


def test_a_deadline_of_its_own_rejects_or_drops():
    async def story(live):
        for patience_s in (math.inf, 5.0, 0.15, 0.05):
            live.send("s", patience_s=patience_s)

    quiet = {"service_cv": 0.0, "initial": [{"candidate": 0, "level": 1}]}
    live = play(made({"v": 0.1}, ONE, **quiet), story)
    assert [r.settled.result().cause for r in live.requests] == [None, None, Cause.EXPIRED, Cause.EXPIRED]
    live = play(made({"v": 0.1}, ONE, **quiet, admission={"deadline": True}), story)
    assert [r.settled.result().cause for r in live.requests] == [None, None, Cause.DEADLINE, Cause.DEADLINE]


def test_closing_fails_what_is_outstanding():
    async def story(live):
        for _ in range(9):
            live.send("s")
        await until(live, 0.01)
        await live.dispatcher.close()

    live = play(made({"v": 0.1}, ONE), story)
    assert {request.settled.result().cause for request in live.requests} == {Cause.STOPPED}
    conserved(live)


def test_server_time_counts_what_was_offered_and_computed():
    async def story(live):
        await until(live, 1.0)
        for _ in range(4):
            live.send("s")
        await asyncio.wait([request.settled for request in live.requests])
        await until(live, 2.0)
        await live.dispatcher.drain(live.replicas[0])
        await until(live, 3.0)
        lose(live, live.replicas[1])
        await until(live, 4.0)

    live = play(made({"v": 0.1}, ONE, service_cv=0.0), story)
    _, ready_ns, busy_ns = live.totals.kind_ns[0]
    assert ready_ns == pytest.approx((2 + 3 + 4) * 1e9, abs=10)
    assert busy_ns == pytest.approx(4 * 0.1e9, abs=10)
    assert (live.totals.ready[0], live.totals.draining[0]) == (1, 0)


@pytest.mark.parametrize("binding", ["early", "late"])
def test_a_tenant_that_floods_leaves_the_others_attainment_where_it_was(binding):
    """A fifth of the capacity each; then one sends three times the capacity, freely or held back by a quota."""
    services = {n: {"variants": ["v"], "slo_s": 0.6, "tenant": n} for n in ("calm", "flood")}

    def attainment(flood_rps, quota_rps=None):
        scenario = made({"v": 0.05}, [{"variants": ["v"], "cores": [2]}], binding=binding, services=services,
                        tenants={"calm": {}, "flood": {"quota_rps": quota_rps, "burst": 2.0}})

        async def story(live):
            flood = [(t_s, "flood") for t_s in poisson(flood_rps, int(flood_rps * 15), seed=9)]
            for t_s, name in sorted([(t_s, "calm") for t_s in poisson(8.0, 120)] + flood):
                await until(live, t_s)
                live.send(name)

        totals = play(scenario, story).totals.app_count
        return totals[:, GOOD] / totals[:, 0]

    before, flooded, limited = attainment(8.0), attainment(120.0), attainment(120.0, quota_rps=10.0)
    assert before.min() > 0.98
    assert flooded[0] >= before[0] - 0.01 and flooded[1] < 0.5
    assert limited[0] >= before[0] - 0.01 and limited[1] < 0.5


def test_who_is_told_of_an_answer_may_ask_again_and_may_fail():
    """All of a batch has settled and its server is free before anybody is told; a fault there is nobody else's."""
    seen = []

    async def story(live):
        def then(outcome):
            (host,) = live.dispatcher.hosts.values()
            seen.append((live.dispatcher.outstanding, host.in_flight, outcome.fate))
            live.send("s")
            raise RuntimeError("a fault in what follows")

        for request in [live.send("s"), live.send("s")]:
            request.then.append(then)
        await until(live, 0.4)  # both batches; else the requests that follow would not be waited for

    one = [{**PAIRS[0], "cores": [1]}]
    live = play(made({"v": TABLE}, one, initial=[{"candidate": 0, "level": 1}]), story)
    assert seen == [(0, 0, GOOD), (1, 0, GOOD)] and fates(live) == [GOOD] * 4
    assert len({request.settled.result().t_s for request in live.requests[:2]}) == 1


def test_who_is_refused_at_once_is_told_after_the_call_that_asks():
    told = []

    async def story(live):
        request = live.send("s")
        assert request.outcome.cause is Cause.QUOTA
        request.then.append(told.append)
        assert not told
        await asyncio.sleep(0)
        assert told == [request.outcome]

    scenario = made({"v": TABLE}, ONE, tenants={"t": {"quota_rps": 1.0, "burst": 1.0}},
                    services={"s": {"variants": ["v"], "slo_s": 1.0, "tenant": "t"}})
    live = Live(scenario)

    async def run():
        await live.begin()
        await live.send("s").settled
        await story(live)
        await live.dispatcher.close()

    asyncio.run(live.clock.drive(run()))


@pytest.mark.parametrize("more, good_ratio", [({"deadline": True}, 0.1), ({"deadline": True, "queue_limit_s": 0.8}, 1.0)])
def test_a_flood_over_replicas_that_are_slower_than_their_profile(more, good_ratio):
    """Admission by deadline alone lives by the profile: what each batch takes longer adds up. A bounded queue sees it."""
    scenario = made({"v": 0.1}, ONE, service_cv=0.0, initial=[{"candidate": 0, "level": 1}], admission=more)
    live = Live(scenario)
    live.scenario = made({"v": 0.105}, ONE, service_cv=0.0)  # as replicas are in truth

    async def run():
        await live.begin()
        await live.play({"s": np.arange(0.0, 30.0, 0.025)})
        await live.dispatcher.close()

    asyncio.run(live.clock.drive(run()))
    found = [(r.arrival_s, o.fate, o.t_s - r.arrival_s) for r in live.requests if not (o := r.settled.result()).cause]
    assert sum(fate == GOOD for _, fate, _ in found) / len(found) == pytest.approx(good_ratio, abs=0.1)
    late_s = np.array([took_s for t_s, _, took_s in found if t_s > 25.0]) - 1.0
    assert (late_s > 1.0).all() if good_ratio < 1 else (late_s < 0).all()

"""The live cluster and the simulated one, given the same deployments at the same times, always have the same replicas."""

import asyncio

import numpy as np
from every_feature import Whole
from hypothesis import given, settings
from hypothesis import strategies as some
from live_cases import live, states

from envs import state as st
from envs.contract import Deployment
from envs.rules import nanoseconds
from envs.scenario import Admission, Device, Failures
from envs.scenario_file import load
from traces.samplers import RECORDED, make_load

STEP_S = 0.25
DEMO = load("live-demo").with_(initial=(), interval_s=STEP_S, admission=Admission(), devices={"cpu": Device(budget=64)})
KINDS = DEMO.kinds
SIZES = DEMO.with_(in_place_resize_s=0.6, candidates=[{"variants": [v], "cores": [1, 2, 4]} for v in ("large", "small")])
SERVICE = "classify"


class Simulated(Whole):
    """The simulated cluster, and what is compared of it."""

    def states(self):
        s = self.state
        return [tuple(int(n[k]) for n in (s.kind_pending, s.kind_ready, s.kind_draining)) for k in range(len(self.kinds))]

    def routes(self):
        s = self.state
        return {(self.kinds[s.route_i[0, st.IN_FORCE, e, 0]], float(s.route_f[0, st.IN_FORCE, e, 0]))
                for e in range(s.route_count[0, st.IN_FORCE])}


@some.composite
def deployments(draw, routed=True, apart=1, kinds=KINDS):
    """What is wanted from which step on."""
    steps = [apart * n for n in draw(some.lists(some.integers(0, 20 // apart), min_size=1, max_size=8, unique=True))]
    found = {}
    for step in sorted(steps):
        counts = draw(some.lists(some.integers(0, 3), min_size=len(kinds), max_size=len(kinds)))
        weights = draw(some.lists(some.integers(0, 2), min_size=len(kinds), max_size=len(kinds)))
        routes = {}
        if routed and sum(weights) and draw(some.booleans()):
            routes = {SERVICE: {(k, k.variants[0]): w / sum(weights) for k, w in zip(kinds, weights) if w}}
        found[step] = Deployment(dict(zip(kinds, counts)), routes)
    return found


async def compare(scenario, wanted, seed, arrivals_s=()):
    loads = {SERVICE: make_load(RECORDED, recorded_s=np.array(arrivals_s))} if len(arrivals_s) else {}
    theirs = Simulated(scenario, loads, seed=seed, record=True)
    async with live(scenario, seed=seed) as (ours, _, dispatcher, clock):
        arriving = [asyncio.ensure_future(arrive(clock, dispatcher, t_s, n)) for n, t_s in enumerate(arrivals_s)]
        for step in range(32):
            t_s = step * STEP_S
            await clock.run_until(t_s, inclusive=False)
            assert states(ours, scenario.kinds) == theirs.states(), f"at {t_s}"
            shares = ours.routes.get(SERVICE, {})
            assert {(kind, share) for (kind, _), share in shares.items()} == theirs.routes(), f"at {t_s}"
            held_ns = ours.census.held_ns(t_s)
            for k, kind in enumerate(scenario.kinds):  # a few nanoseconds of rounding: the live one adds up at each step
                told = theirs.state.kind_ns[k, st.HELD] + held_since(theirs, k, t_s)
                assert abs(held_ns[kind] - told) < 2000, f"{kind} at {t_s}: {held_ns[kind]} and {told} ns"
            await clock.run_until(t_s)
            if step in wanted:
                theirs.apply(wanted[step])
                await clock.run_until(t_s + scenario.decision_delay_s)  # deciding takes ours that long
                ours.change(wanted[step], ours.desired.current.number)
            theirs.advance()
        await asyncio.gather(*(task for task in arriving if task.done()))
        for task in arriving:
            task.cancel()


def held_since(cluster, k, t_s):
    """Nanoseconds that the kernel has not yet added up."""
    s = cluster.state
    there = [slot for slot in range(len(s.replica_status)) if s.replica_status[slot] != st.FREE and s.replica_kind[slot] == k]
    return sum(nanoseconds(t_s - s.replica_held_from[slot]) for slot in there)


async def arrive(clock, dispatcher, t_s, number):
    await clock.sleep_until(t_s)
    await dispatcher.arrive(SERVICE, number)


@settings(max_examples=25)
@given(deployments(), some.integers(0, 2**32), some.sampled_from([0.0, 0.5]), some.sampled_from([0.0, 0.13]))
def test_replicas_and_routes(wanted, seed, load_cv, delay_s):
    asyncio.run(compare(DEMO.with_(failures=Failures(load_cv=load_cv), decision_delay_s=delay_s), wanted, seed))


@settings(max_examples=25)
@given(deployments(), some.integers(0, 2**32))
def test_replicas_that_break(wanted, seed):
    failures = Failures(load_cv=0.5, mean_time_s=2.0, detection_s=0.3)
    asyncio.run(compare(DEMO.with_(failures=failures), wanted, seed))


@settings(max_examples=10)
@given(deployments(routed=False, apart=5), some.integers(0, 2**32), some.floats(20, 60))
def test_draining_replicas_that_still_answer(wanted, seed, load_rps):
    """Apart by more than a load, for where a pending replica goes and another comes, slots (which break ties of the
    dispatch) are the simulator's own affair."""
    arrivals_s = np.random.default_rng(seed).uniform(0, 7, int(7 * load_rps))
    asyncio.run(compare(DEMO.with_(service_cv=0.5), wanted, seed, arrivals_s=np.sort(arrivals_s)))


@settings(max_examples=25)
@given(deployments(kinds=SIZES.kinds), some.integers(0, 2**32), some.booleans())
def test_replicas_that_are_resized_in_place(wanted, seed, breaks):
    failures = Failures(load_cv=0.5, **({"mean_time_s": 3.0, "detection_s": 0.3} if breaks else {}))
    asyncio.run(compare(SIZES.with_(failures=failures), wanted, seed))


@settings(max_examples=10)
@given(deployments(routed=False, apart=5, kinds=SIZES.kinds), some.integers(0, 2**32), some.floats(40, 120))
def test_which_replica_is_resized_under_load(wanted, seed, load_rps):
    arrivals_s = np.random.default_rng(seed).uniform(0, 7, int(7 * load_rps))
    asyncio.run(compare(SIZES.with_(service_cv=0.5), wanted, seed, arrivals_s=np.sort(arrivals_s)))

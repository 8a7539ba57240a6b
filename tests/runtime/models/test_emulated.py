"""Emulated replicas against the simulator: the same arrivals are answered at the same times, to the last bit."""

import asyncio
from collections import deque

import numpy as np
import pandas as pd
import pytest
from every_feature import Whole
from virtual_clock import VirtualClock

from envs.contract import Deployment, ReplicaKind, Shape
from envs.profiles import LATENCY_COLUMNS, Profile
from envs.rules import batch_ready
from envs.scenario import Scenario
from runtime.models.dilated_clock import DilatedClock
from runtime.models.emulated import PAYLOAD, EmulatedReplica
from runtime.models.model import ModelError
from runtime.models.server_clocks import Head
from traces.samplers import RECORDED, make_load

SEED = 7


def scenario(candidate, rows, **more):
    """One service, one variant, one replica of one kind."""
    profile = pd.DataFrame(rows, columns=LATENCY_COLUMNS)
    return Scenario.model_validate({
        "name": "one", "source": "made here", "interval_s": 10.0, "binding": "early", "service_cv": 0.6,
        "devices": {"cpu": {"budget": 16}, "gpu": {"budget": 16, "price": 2.0}},
        "variants": {"v": {"accuracy": 1.0, "load_s": 0.0, "memory_bytes": 600}},
        "services": {"s": {"variants": ["v"], "slo_s": 5.0}}, "workload": {}, "profile": Profile(profile),
        "candidates": [{"variants": ["v"], **candidate}],
        "initial": [{"candidate": 0, "level": 1}], **more})


def latencies(device, cores, stages, batches):
    return [("v", device, cores, stages, 1, batch, stage, 0.1 * (1 + 0.4 * (batch - 1)) * (1 + 0.3 * stage) / stages)
            for batch in batches for stage in range(stages)]


CORES = scenario({"cores": [3]}, latencies("cpu", np.nan, 1, [1]))
STAGES = scenario({"device": "gpu", "inter_op": 4}, latencies("gpu", 0, 4, [1]), stage_overhead_ratio=0.009, overhead_s=0.011)
BOTH = scenario({"cores": [1]}, latencies("cpu", np.nan, 1, [1]) + latencies("cpu", 2, 3, [1]), stage_overhead_ratio=0.02)
BATCHES = scenario({"cores": [2], "batch": 4}, latencies("cpu", np.nan, 1, [1, 2, 4]))
WAITS = scenario({"device": "gpu", "inter_op": 2, "batch": 4, "max_wait_s": 0.05}, latencies("gpu", 0, 2, [1, 2, 4]))


def arrivals(rate_rps, n=400):
    return np.cumsum(np.random.default_rng(3).exponential(1 / rate_rps, n))


def simulated(scenario, arrivals_s, kind=None):
    """When the simulator answers each request."""
    cluster = Whole(scenario, {"s": make_load(RECORDED, recorded_s=arrivals_s)}, seed=SEED, record=True)
    if kind is not None:  # in place of the initial replica, before anything arrives
        cluster.apply(Deployment({kind: 1}))
    while cluster.t_s <= arrivals_s[-1]:
        cluster.advance()
    cluster.finish()
    return cluster.records()["t_s"].to_numpy()


def emulated(scenario, arrivals_s, kind):
    """When an emulated replica answers them, under a gateway that forms batches by the rules of the simulator."""
    clock = VirtualClock()
    replica = EmulatedReplica(scenario, kind, number=0, seed=SEED, clock=clock)
    answered_s = np.full(len(arrivals_s), np.nan)
    queue, tasks = deque(), []

    def serve():
        while queue and replica.idle:
            oldest_s = arrivals_s[queue[0]]
            if not batch_ready(len(queue), kind.batch, clock.now_s(), oldest_s, kind.max_wait_s):
                tasks.append(asyncio.ensure_future(later(oldest_s + kind.max_wait_s)))
                return
            batch = [queue.popleft() for _ in range(min(kind.batch, len(queue)))]
            held = replica.start("v", len(batch), Head("s", batch[0]))
            answered_s[batch] = held.finish_s
            tasks.append(asyncio.ensure_future(later(held.free_s)))

    async def later(t_s):
        await clock.sleep_until(t_s)
        serve()

    async def play():
        await replica.load()
        for i, t_s in enumerate(arrivals_s):
            await clock.sleep_until(t_s)
            queue.append(i)
            serve()
        while queue or tasks:
            await tasks.pop(0)

    asyncio.run(clock.drive(play()))
    return answered_s


@pytest.mark.parametrize("scenario, rate_rps", [
    (CORES, 25.0), (CORES, 40.0), (STAGES, 20.0), (BATCHES, 35.0), (WAITS, 10.0), (WAITS, 35.0)],
    ids=["cores", "cores-overloaded", "stages", "batches", "waits-idle", "waits-busy"])
def test_answers_come_when_the_simulator_says(scenario, rate_rps):
    arrivals_s = arrivals(rate_rps)
    wanted = simulated(scenario, arrivals_s)
    found = emulated(scenario, arrivals_s, scenario.kinds[0])
    assert (wanted > arrivals_s).all() and len(np.unique(wanted - arrivals_s)) > 100
    np.testing.assert_array_equal(found, wanted)


def test_servers_with_stages_of_their_own():
    kind = ReplicaKind(("v",), Shape(cores=2, inter_op=3))
    arrivals_s = 0.5 + arrivals(30.0)
    np.testing.assert_array_equal(emulated(BOTH, arrivals_s, kind), simulated(BOTH, arrivals_s, kind))


def test_the_replica_queues_first_come_first_served():
    """Batches handed over before a server is idle are answered as if a gateway had kept them."""
    arrivals_s, clock = arrivals(40.0), VirtualClock()
    replica = EmulatedReplica(CORES, CORES.kinds[0], number=0, seed=SEED, clock=clock)
    answered_s = np.zeros(len(arrivals_s))

    async def request(i):
        await clock.sleep_until(arrivals_s[i])
        held = await replica.run("v", 1, Head("s", i))
        answered_s[i] = clock.now_s()
        assert arrivals_s[i] <= held.start_s <= held.free_s == held.finish_s == clock.now_s()

    async def play():
        await replica.load()
        await asyncio.gather(*(request(i) for i in range(len(arrivals_s))))

    asyncio.run(clock.drive(play()))
    np.testing.assert_array_equal(answered_s, simulated(CORES, arrivals_s))


def test_each_request_takes_its_own_draw():
    """Two applications on one replica, one of them a chain that comes to it twice: other variants, other noise."""
    rows = [("u", "cpu", np.nan, 1, 1, 1, 0, 0.05), ("v", "cpu", np.nan, 1, 1, 1, 0, 0.08)]
    shared = scenario(
        {"cores": [3]}, rows, variants={name: {"accuracy": 1.0, "load_s": 0.0} for name in "uv"},
        services={name: {"variants": [name[0]], "slo_s": 5.0} for name in ("u1", "v1", "v2")},
        applications={"chain": {"services": ["u1", "v1"], "slo_s": 5.0}},
        candidates=[{"variants": ["u", "v"], "cores": [3]}])
    arrivals_s = {"chain": arrivals(12.0, 200), "v2": arrivals(9.0, 150) + 0.01}
    loads = {name: make_load(RECORDED, recorded_s=times) for name, times in arrivals_s.items()}
    cluster = Whole(shared, loads, seed=SEED, record=True)
    while cluster.t_s <= 30:
        cluster.advance()
    cluster.finish()
    clock = VirtualClock()
    replica = EmulatedReplica(shared, shared.kinds[0], number=0, seed=SEED, clock=clock)
    answered_s = {name: np.zeros(len(times)) for name, times in arrivals_s.items()}

    async def request(name, number):
        await clock.sleep_until(arrivals_s[name][number])
        for stage, service in enumerate(shared.applications[name].services):
            await replica.run(shared.services[service].variants[0], 1, Head(name, number, stage))
        answered_s[name][number] = clock.now_s()

    async def play():
        await replica.load()
        await asyncio.gather(*(request(name, i) for name, times in arrivals_s.items() for i in range(len(times))))

    asyncio.run(clock.drive(play()))
    wanted = cluster.records()
    for name in arrivals_s:
        np.testing.assert_array_equal(answered_s[name], wanted[wanted["application"] == name]["t_s"].to_numpy())


def test_load_time_is_the_simulators():
    slow = CORES.with_(variants={"v": {"accuracy": 1.0, "load_s": 3.0}}, failures={"load_cv": 0.5}, scrape={"interval_s": 0})
    cluster = Whole(slow.with_(initial=()), {}, seed=SEED, record=True)
    cluster.apply(slow.initial_deployment)
    observation = cluster.advance()  # its replica has number 0, and was started at t = 0
    clock = VirtualClock()
    replica = EmulatedReplica(slow, slow.kinds[0], number=0, seed=SEED, clock=clock)
    asyncio.run(clock.drive(replica.load()))
    assert clock.now_s() == replica.load_s == observation.load_s["v"] != 3.0
    other = EmulatedReplica(slow, slow.kinds[0], number=1, seed=SEED, clock=clock)
    assert other.load_s != replica.load_s


def test_what_a_replica_says_of_itself():
    clock = VirtualClock()
    replica = EmulatedReplica(STAGES, STAGES.kinds[0], number=0, seed=SEED, clock=clock)
    assert replica.inputs == replica.outputs == (PAYLOAD,)
    assert replica.memory_bytes == 0
    with pytest.raises(ModelError, match="not loaded"):
        replica.start("v", 1, Head("s", 0))
    asyncio.run(clock.drive(replica.load()))
    assert (replica.memory_bytes, replica.idle) == (150, 1)  # 600 bytes over 4 devices
    for wrong, message in (((("w", 1, Head("s", 0))), "a batch of 1 for 'w'"), (("v", 2, Head("s", 0)), "takes 1 to 1"),
                           (("v", 1, Head("t", 0)), "a request of 't': the scenario has s")):
        with pytest.raises(ModelError, match=message):
            replica.start(*wrong)
    replica.unload()
    assert replica.memory_bytes == 0


def test_real_time_is_dilated_and_lateness_does_not_add_up():
    quick = CORES.with_(service_cv=0.0, candidates=[{"variants": ["v"], "cores": [1]}])
    clock = DilatedClock(time_dilation=0.1)

    async def play():
        replica = EmulatedReplica(quick, quick.kinds[0], number=0, seed=SEED, clock=clock)
        await replica.load()
        return await asyncio.gather(*(replica.run("v", 1, Head("s", i)) for i in range(10)))

    begun_s = clock.now_s()
    held, real_s = asyncio.run(_timed(play()))
    assert [h.start_s for h in held[1:]] == [h.free_s for h in held[:-1]]  # not when the event loop came to it
    assert held[-1].finish_s - held[0].start_s == pytest.approx(10 * 0.1, abs=1e-9)
    assert held[0].start_s >= begun_s
    assert 0.1 <= real_s < 5.0  # ten of 0.1 s in a tenth of the time, on a machine that may be busy


async def _timed(coroutine):
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    return await coroutine, loop.time() - begun_s


def test_a_dilation_is_above_zero():
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="give a number above 0"):
            DilatedClock(wrong)

"""A dispatcher over emulated replicas on a clock that stands still until all wait for it, and the simulator beside it."""

import asyncio
from itertools import count

import numpy as np
import pandas as pd
from every_feature import Whole
from virtual_clock import VirtualClock

from envs import state as st
from envs.profiles import LATENCY_COLUMNS, Profile
from envs.scenario import Scenario
from runtime.gateway.cascade import ByDraw
from runtime.gateway.dispatcher import Dispatcher
from runtime.models.emulated import PAYLOAD, EmulatedReplica
from runtime.models.server_clocks import Head
from runtime.serving.emulated_replica import EmulatedLiveReplica
from runtime.serving.live_cluster import LiveCluster
from runtime.serving.replica import ReplicaLost, answer_by
from traces.samplers import RECORDED, make_load

SEED = 7


class Emulated:
    """An emulated replica as the live cluster knows replicas; what it was sent is what it answers."""

    def __init__(self, scenario, kind, number, clock, seed=SEED):
        self.number, self.kind = number, kind
        self.inputs = self.outputs = {variant: (PAYLOAD,) for variant in kind.variants}
        self._emulated = EmulatedReplica(scenario, kind, number=number, seed=seed, clock=clock)
        self.batches = []  # (variant, size)
        self.under_way = self.most_under_way = 0
        self.fenced, self._tasks = False, set()

    async def load(self):
        await self._emulated.load()

    def serve(self, variant, requests, head: Head, traces, freed, answered):
        self.traces = traces
        task = asyncio.ensure_future(answer_by(self.answers(variant, requests, head, freed), answered))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def answers(self, variant, requests, head, freed):
        if self.fenced:
            raise ReplicaLost(f"replica {self.number} is gone")
        self.batches.append((variant, len(requests)))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await self._emulated.run(variant, len(requests), head, freed)
        self.under_way -= 1
        return list(requests)

    async def stop(self):
        self._emulated.unload()

    def fence(self):
        self.fenced = True

    def on_lost(self, call):
        self.call = call

    @property
    def memory_bytes(self):
        return self._emulated.memory_bytes


class Live:
    """A dispatcher with the initial deployment's replicas ready."""

    def __init__(self, scenario, clock=None, seed=SEED):
        self.scenario, self.clock, self.seed = scenario, clock or VirtualClock(), seed
        self.dispatcher = Dispatcher(scenario, self.clock, ByDraw(scenario, seed))
        self.replicas, self.numbers, self.requests = [], count(), []

    async def add(self, kind):
        replica = Emulated(self.scenario, kind, next(self.numbers), self.clock, self.seed)
        await replica.load()
        self.replicas.append(replica)
        self.dispatcher.add(replica)
        return replica

    async def begin(self):
        deployment = self.scenario.initial_deployment
        for kind in sorted(deployment.replicas, key=self.scenario.kinds.index):
            for _ in range(deployment.replicas[kind]):
                await self.add(kind)

    def send(self, application, **more):
        payload = np.array([[len(self.requests)]], np.float32)
        request = self.dispatcher.submit(application, (payload,), **more)
        self.requests.append(request)
        return request

    async def play(self, arrivals_s):
        """Sends the requests of all applications (in the scenario's order at equal times) and waits for their fates."""
        rows = sorted((t, i, name) for i, (name, times) in enumerate(arrivals_s.items()) for t in times)
        for t_s, _, name in rows:
            await self.clock.sleep_until(t_s)
            self.send(name)
        await asyncio.gather(*(request.settled for request in self.requests))

    def records(self):
        """As `SimulatedCluster.records`."""
        rows = [(r.application.name, r.number, st.FATES[o.fate], o.t_s, o.variant)
                for r in self.requests for o in (r.settled.result(),)]
        frame = pd.DataFrame(rows, columns=["application", "number", "fate", "t_s", "variant"])
        return frame.sort_values(["application", "number"], kind="stable", ignore_index=True)


class Reconciled(Live):
    """The same with a live cluster before it, which changes its deployment."""

    def __init__(self, scenario):
        super().__init__(scenario)
        self.cluster = LiveCluster(scenario, self._make, self.dispatcher, self.clock)

    def _make(self, number, kind):
        return EmulatedLiveReplica(number, kind, scenario=self.scenario, seed=self.seed, clock=self.clock)

    async def change_at(self, t_s, deployment):
        await self.clock.sleep_until(t_s)
        self.cluster.change(deployment, self.cluster.desired.current.number)


def simulated(scenario, arrivals_s, deployment=None):
    """The simulator's cluster after these arrivals; `deployment` is applied before the first."""
    loads = {name: make_load(RECORDED, recorded_s=times) for name, times in arrivals_s.items()}
    cluster = Whole(scenario, loads, seed=SEED, record=True)
    if deployment is not None:
        cluster.apply(deployment)
    while cluster.t_s <= max(times[-1] for times in arrivals_s.values()):
        cluster.advance()
    cluster.finish()
    return cluster


def lived(scenario, arrivals_s, deployment=None):
    """The same by a dispatcher."""
    live = Live(scenario)

    async def run():
        await live.begin()
        if deployment is not None:
            live.dispatcher.set_deployment(deployment)
        await live.play(arrivals_s)
        live.totals = live.dispatcher.sample()
        await live.dispatcher.close()

    asyncio.run(live.clock.drive(run()))
    return live


def changed(scenario, arrivals_s, wanted):
    """Both, live and simulated, while the deployment changes: at the beginning of intervals, by number."""
    live, loads = Reconciled(scenario), {name: make_load(RECORDED, recorded_s=times) for name, times in arrivals_s.items()}

    async def run():
        live.cluster.start()
        changes = [asyncio.ensure_future(live.change_at(n * scenario.interval_s, d)) for n, d in wanted.items()]
        await live.play(arrivals_s)
        await asyncio.gather(*changes)
        live.totals = live.dispatcher.sample()
        await live.cluster.close()
        await live.dispatcher.close()

    asyncio.run(live.clock.drive(run()))
    cluster = Whole(scenario, loads, seed=SEED, record=True)
    for n in range(int(max(times[-1] for times in arrivals_s.values()) / scenario.interval_s) + 1):
        if n in wanted:
            cluster.apply(wanted[n])
        cluster.advance()
    cluster.finish()
    return live, cluster


def poisson(rate_rps, n, seed=3):
    return np.cumsum(np.random.default_rng(seed).exponential(1 / rate_rps, n))


def made(latency_s, candidates, *, slo_s=1.0, **more):
    """A scenario of one service `s` over the variants of `latency_s` (one request on one core, or a table by batch)."""
    rows = []
    for variant, table in latency_s.items():
        for batch, seconds in (table if isinstance(table, dict) else {1: table}).items():
            rows.append((variant, "cpu", np.nan, 1, 1, batch, 0, seconds))
    accuracy = dict(zip(latency_s, np.linspace(0.7, 0.9, len(latency_s))))
    return Scenario.model_validate({
        "name": "made", "source": "made here", "interval_s": 5.0, "binding": "early", "service_cv": 0.5,
        "devices": {"cpu": {"budget": 64}}, "variants": {v: {"accuracy": accuracy[v], "load_s": 0.0} for v in latency_s},
        "services": {"s": {"variants": list(latency_s), "slo_s": slo_s}}, "workload": {},
        "profile": Profile(pd.DataFrame(rows, columns=LATENCY_COLUMNS)), "candidates": candidates,
        "initial": [{"candidate": i, "level": c.get("max_count", 1)} for i, c in enumerate(candidates)], **more})

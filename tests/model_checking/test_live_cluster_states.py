"""The reconciler as it is, in all orders of what can happen: every state that a few events can lead to is visited.

An event is a change of the deployment, the end of a load (well or not), the loss of a replica, the end of a drain or of a
stop, a minute that passes, or a SIGKILL of the cluster process and its restart. A state is reached again by playing its
events from the start; states that look alike are followed once. In each the invariants hold, and from each the cluster
settles once nothing goes wrong any more.
"""

import asyncio
import os
from itertools import count

import pytest
from virtual_clock import VirtualClock

from envs.contract import Deployment
from envs.scenario_file import load
from runtime.serving.live_cluster import LiveCluster
from runtime.serving.replica import ReplicaLost
from runtime.serving.state_file import StateFile

SCENARIO = load("live-demo")
SMALL, MEDIUM, LARGE = SCENARIO.kinds
DEPLOYMENTS = [SCENARIO.initial_deployment, Deployment({SMALL: 1}), Deployment({MEDIUM: 2}), Deployment({SMALL: 1, LARGE: 1}),
               Deployment({})]
PASSES_S = 64.0
ROUNDS = 12  # in which a cluster settles at the latest, a minute each


class Process:
    """What runs a replica, and outlives the cluster process."""

    def __init__(self, number, kind):
        self.number, self.kind, self.loaded, self.alive = number, kind, False, True


class Puppet:
    """A replica whose loads and stops end when the model says so."""

    whereabouts, inputs, outputs, memory_bytes = {"somewhere": 1}, {}, {}, 0.0

    def __init__(self, number, kind, processes):
        self.number, self.kind, self._processes = number, kind, processes
        self.loading = self.stopping = None

    @property
    def process(self):
        return self._processes.get(self.number)

    async def load(self):
        if self.process is None:
            self._processes[self.number] = Process(self.number, self.kind)
        self.loading = asyncio.get_running_loop().create_future()
        await self.loading
        self.process.loaded = True

    async def stop(self):
        self.stopping = asyncio.get_running_loop().create_future()
        await self.stopping
        self.fence()

    def fence(self):
        if self.process:
            self.process.alive = False

    def on_lost(self, call):
        self.lost = call


class Drains:
    """A dispatcher without requests; a drain ends when the model says so."""

    def __init__(self):
        self.serving, self.draining = set(), {}

    def add(self, replica):
        assert replica.number not in self.serving
        self.serving.add(replica.number)

    def drain(self, replica):
        self.serving.discard(replica.number)
        self.draining[replica.number] = asyncio.get_running_loop().create_future()
        return self.draining[replica.number]

    def lost(self, replica):
        self.serving.discard(replica.number)
        self.draining.pop(replica.number, None)

    def set_deployment(self, deployment):
        pass

    def queue_length(self, replica):
        return 0

    def oldest(self, replica):
        return None


class World:
    """The cluster, what it runs, and what may happen next."""

    def __init__(self, folder):
        self.folder, self.clock, self.processes, self.made = folder, VirtualClock(), {}, {}
        self.numbers, self.restarts = set(), 0

    def begin(self):
        self.drains, self.puppets = Drains(), {}
        self.file = StateFile(self.folder / "state.json")
        self.cluster = LiveCluster(SCENARIO, self._make, self.drains, self.clock, remember=self.file, adopt=self._adopt)
        self.cluster.start()

    def _make(self, number, kind):
        assert number not in self.numbers, f"number {number} is given twice"
        self.numbers.add(number)
        return self._puppet(number, kind)

    def _adopt(self, number, kind, whereabouts):
        process = self.processes.get(number)
        return self._puppet(number, kind) if process and process.alive else None

    def _puppet(self, number, kind):
        self.puppets[number] = Puppet(number, kind, self.processes)
        return self.puppets[number]

    # ---- what may happen

    def events(self):
        """By names that mean the same whenever they are played."""
        found = [("want", n) for n, deployment in enumerate(DEPLOYMENTS) if deployment != self.wanted]
        for number, puppet in self.puppets.items():
            if _open(puppet.loading):
                found += [("loaded", number), ("load fails", number)]
            if _open(puppet.stopping):
                found.append(("stopped", number))
            if number in self.cluster._members and puppet.process and puppet.process.alive and puppet.process.loaded:
                found.append(("lost", number))
        found += [("drained", number) for number, future in self.drains.draining.items() if _open(future)]
        return [*found, ("a minute", 0)] + ([("restart", 0)] if not self.restarts else [])

    async def play(self, what, number):
        puppet = self.puppets.get(number)
        match what:
            case "want":
                self.cluster.change(DEPLOYMENTS[number], self.cluster.desired.current.number)
            case "loaded":
                puppet.loading.set_result(None)
            case "load fails":
                puppet.process.alive = False
                puppet.loading.set_exception(ReplicaLost("no weights"))
            case "lost":
                puppet.process.alive = False
                puppet.lost("killed")
            case "stopped":
                puppet.stopping.set_result(None)
            case "drained":
                self.drains.draining[number].set_result(None)
            case "a minute":
                await self.clock.run_until(self.clock.now_s() + PASSES_S)
            case "restart":
                self.restarts += 1
                await self.die()
                self.begin()
        await self.clock.settle()

    async def die(self):
        """As by SIGKILL: nothing of it goes on, and what it ran lives."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for puppet in self.puppets.values():
            puppet.fence = puppet.stop = None  # nobody is there who could
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.clock._waiting.clear()
        self.file.close()

    # ---- what must hold

    @property
    def wanted(self):
        return self.cluster.desired.current.deployment

    @property
    def members(self):
        return self.cluster._members

    def check(self, before, what):
        live = [m for m in self.members.values() if m.state in ("pending", "ready")]
        for kind in SCENARIO.kinds:
            n, wanted = sum(m.kind == kind for m in live), self.wanted.replicas.get(kind, 0)
            assert n >= wanted, f"{n} x {kind} live, {wanted} wanted"
            assert n <= wanted or any(m.state == "pending" for m in live), f"{kind}: {n} of {wanted}, and nothing is awaited"
            assert sum(m.kind == kind and m.state == "pending" for m in live) <= wanted
        assert self.drains.serving == {n for n, m in self.members.items() if m.state == "ready"}
        for number in self.drains.serving:
            assert self.processes[number].alive and self.processes[number].loaded
        unknown = [p.number for p in self.processes.values() if p.alive and p.number not in self.members]
        assert not unknown, f"processes {unknown} run, and nobody knows them"
        if before and what not in ("lost", "restart") and self.wanted.replicas:
            assert self.drains.serving, "nobody serves any more, though nothing was lost"

    def looks(self):
        """What the future depends on."""
        place = {number: i for i, number in enumerate(sorted(self.members))}
        rows = tuple((place[n], m.kind, m.state, m.served, _open(self.puppets[n].loading), _open(self.puppets[n].stopping),
                      _open(self.drains.draining.get(n)), bool(m.replica.process and m.replica.process.loaded))
                     for n, m in sorted(self.members.items()))
        failures = tuple(self.cluster._lives._backoff.failures(kind) for kind in SCENARIO.kinds)
        return DEPLOYMENTS.index(self.wanted), rows, failures, self.restarts, self.clock.now_s()

    async def settles(self):
        """Nothing goes wrong any more."""
        for _ in range(ROUNDS):
            for what, number in self.events():
                if what in ("loaded", "stopped", "drained") and (what, number) in self.events():
                    await self.play(what, number)
            if self.cluster.settled:
                break
            await self.play("a minute", 0)
        assert self.cluster.settled, f"it does not settle: {self.looks()}"
        ready = {n for n, m in self.members.items() if m.state == "ready"}
        assert {n for n, p in self.processes.items() if p.alive} == ready == self.drains.serving


def _open(future):
    return future is not None and not future.done()


async def played(path, folder):
    """The world after these events, its invariants checked after the last one."""
    world = World(folder)
    world.begin()
    await world.clock.settle()
    for at, (what, number) in enumerate(path):
        serving = bool(world.drains.serving)
        await world.play(what, number)
        if at == len(path) - 1:
            world.check(serving, what)
    return world


def explored(depth, folder):
    """Visits every state that so many events lead to; how many states and transitions that were."""
    names, seen, transitions = count(), set(), 0
    frontier = [()]

    async def visit(path, here):
        world = await played(path, here)
        looks, events = world.looks(), world.events()
        if looks not in seen:
            await world.settles()
        await world.die()
        return looks, events

    with asyncio.Runner() as runner:
        for _ in range(depth + 1):
            following = []
            for path in frontier:
                here = folder / f"{next(names)}"
                here.mkdir()
                try:
                    looks, events = runner.run(visit(path, here))
                except AssertionError as error:
                    raise AssertionError(f"after {path}: {error}") from error
                for file in here.iterdir():
                    file.unlink()
                here.rmdir()
                transitions += 1
                if looks not in seen:
                    seen.add(looks)
                    following += [(*path, event) for event in events]
            frontier = following
    return len(seen), transitions


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)


def test_every_state_that_two_events_lead_to(tmp_path):
    states, transitions = explored(2, tmp_path)
    assert states > 20 and transitions > states


@pytest.mark.slow
def test_every_state_that_four_events_lead_to(tmp_path):
    states, transitions = explored(4, tmp_path)
    print(f"{states} states, {transitions} transitions")
    assert states > 1000


def test_the_model_finds_a_reconciler_that_drains_too_early(tmp_path, monkeypatch):
    from runtime.serving import reconcile

    monkeypatch.setattr(reconcile, "_share_service", lambda a, b, scenario: False)
    with pytest.raises(AssertionError, match="nobody serves any more"):
        explored(2, tmp_path)


def test_the_model_finds_a_cluster_that_remembers_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(StateFile, "write", lambda self, remembered: None)
    with pytest.raises(AssertionError, match=r"is given twice|nobody knows them"):
        explored(3, tmp_path)

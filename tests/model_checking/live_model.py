"""The reconciler as it is, driven by hand: what runs its replicas, who drains them, and what may happen next are puppets.

An event is a change of the deployment, the end of a load (well or not), the loss of a replica, the end of a drain or of a
stop, a minute that passes, or a SIGKILL of the cluster process and its restart.
"""

import asyncio
import json

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
MANY_FAILURES = 8  # further ones make no next load wait longer


class Clock(VirtualClock):
    """Whose tasks have done all that they can once none of them is about to run."""

    async def settle(self):
        ready = asyncio.get_running_loop()._ready
        await asyncio.sleep(0)
        while ready:
            await asyncio.sleep(0)


class Process:
    """What runs a replica, and outlives the cluster process."""

    def __init__(self, number, kind):
        self.number, self.kind, self.loaded, self.alive = number, kind, False, True


class Puppet:
    """A replica whose loads and stops end when the model says so."""

    whereabouts, inputs, outputs, memory_bytes = {"somewhere": 1}, {}, {}, 0.0

    def __init__(self, number, kind, processes, clock):
        self.number, self.kind, self._processes, self._clock = number, kind, processes, clock
        self.loading = self.stopping = None
        self.loads_since_s = self.stops_since_s = 0.0

    @property
    def process(self):
        return self._processes.get(self.number)

    async def load(self):
        if self.process is None:
            self._processes[self.number] = Process(self.number, self.kind)
        self.loading, self.loads_since_s = asyncio.get_running_loop().create_future(), self._clock.now_s()
        await self.loading
        self.process.loaded = True

    async def stop(self):
        self.stopping, self.stops_since_s = asyncio.get_running_loop().create_future(), self._clock.now_s()
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
    """The cluster, what it runs, and what may happen next.

    Args:
        folder: for its state file.
        deployments: those that may be wanted.
        most: while there are so many replicas, nothing is asked for or goes wrong; so the states are finitely many.
    """

    def __init__(self, folder, deployments, most):
        self.folder, self._deployments, self._most = folder, deployments, most
        self.clock, self.processes = Clock(), {}
        self.numbers, self.adopted, self.restarts = set(), set(), 0

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
        if not process or not process.alive:
            return None
        self.adopted.add(number)
        return self._puppet(number, kind)

    def _puppet(self, number, kind):
        self.puppets[number] = Puppet(number, kind, self.processes, self.clock)
        return self.puppets[number]

    # ---- what may happen

    def events(self):
        """By names that mean the same whenever they are played."""
        grows = len(self.members) < self._most
        found = [("want", n) for n, deployment in enumerate(self._deployments) if deployment != self.wanted and grows]
        for number, puppet in self.puppets.items():
            if _open(puppet.loading):
                found += [("loaded", number)] + ([("load fails", number)] if grows else [])
            if _open(puppet.stopping):
                found.append(("stopped", number))
            if grows and number in self.members and puppet.process and puppet.process.alive and puppet.process.loaded:
                found.append(("lost", number))
        found += [("drained", number) for number, future in self.drains.draining.items() if _open(future)]
        return [*found, ("a minute", 0)] + ([("restart", 0)] if not self.restarts else [])

    async def play(self, what, number):
        puppet = self.puppets.get(number)
        match what:
            case "want":
                self.cluster.change(self._deployments[number], self.cluster.desired.current.number)
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
        """What the future depends on: what there is by age, how long each wait has lasted, and what a restart would read."""
        now_s, place = self.clock.now_s(), {number: at for at, number in enumerate(sorted(self.members))}
        failed = self.cluster._lives._backoff._failed
        failures = tuple(min(self.cluster._lives._backoff.failures(kind), MANY_FAILURES) for kind in SCENARIO.kinds)
        rows = []
        for number, m in sorted(self.members.items()):
            puppet, process = self.puppets[number], self.processes.get(number)
            loads_s = now_s - puppet.loads_since_s if _open(puppet.loading) else None
            counts = loads_s is not None and number not in self.adopted and (
                m.kind not in failed or puppet.loads_since_s >= failed[m.kind][1])  # for the next wait, if this load fails
            rows.append((m.kind, m.state, m.served, loads_s, counts, _open(self.drains.draining.get(number)),
                         now_s - puppet.stops_since_s if _open(puppet.stopping) else None,
                         process and (process.alive, process.loaded)))
        return self._deployments.index(self.wanted), tuple(rows), failures, self.restarts or self._remembered(place)

    def _remembered(self, place):
        """What a restart would find, beside what runs."""
        file = self.folder / "state.json"
        read = json.loads(file.read_text())["replicas"] if file.is_file() else ()
        return tuple((place[r["number"]], r["state"]) for r in read if r["number"] in place)

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

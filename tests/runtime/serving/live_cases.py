"""A live cluster put together for tests: a clock that jumps, a small dispatcher, replicas that fail when told to."""

import asyncio
from contextlib import asynccontextmanager

from virtual_clock import VirtualClock

from runtime.models.server_clocks import Head
from runtime.serving.emulated_replica import EmulatedLiveReplica
from runtime.serving.live_cluster import LiveCluster
from runtime.serving.replica import ReplicaLost


async def served(replica, variant, requests, head, freed=lambda: None):
    """The answers of a replica to a batch."""
    done = asyncio.get_running_loop().create_future()
    replica.serve(variant, requests, head, [""] * len(requests), freed, done.set_result)
    answers = await done
    if isinstance(answers, Exception):
        raise answers
    return answers


class ShortestQueue:
    """A dispatcher of early binding with batches of one: the fewest outstanding requests, ties to the lowest slot.

    Slots are given as in the simulator: the lowest free one, from creation until gone.
    """

    def __init__(self):
        self.hosts, self.slots, self.outstanding, self.drained = {}, {}, {}, {}
        self.deployments, self.answered, self.failed, self.lost_replicas, self.resizes = [], [], [], [], []

    def add(self, replica):
        self.hosts[replica.number] = replica
        self.outstanding[replica.number] = 0

    async def drain(self, replica):
        del self.hosts[replica.number]
        self.drained[replica.number] = asyncio.get_running_loop().create_future()
        self._done(replica.number)
        await self.drained[replica.number]

    def lost(self, replica):
        self.lost_replicas.append(replica.number)
        self.hosts.pop(replica.number, None)

    def set_deployment(self, deployment):
        self.deployments.append(deployment)

    def resize(self, replica):
        self.resizes.append((replica.number, replica.kind))

    def resized(self, replica):
        self.resizes.append((replica.number, "done"))

    def oldest(self, replica):
        return None

    def queue_length(self, replica):
        return self.outstanding[replica.number]

    async def arrive(self, application, number, payload=None):
        """One request; its answer, or None where there is nobody, or it was lost."""
        if not self.hosts:
            self.failed.append(number)
            return None
        chosen = min(self.hosts.values(), key=lambda r: (self.outstanding[r.number] / r.kind.shape.servers,
                                                         self.slots.get(r.number, r.number)))
        self.outstanding[chosen.number] += 1
        try:
            answer, = await served(chosen, chosen.kind.variants[0], [[payload]], Head(application, number))
            self.answered.append(number)
            return answer
        except ReplicaLost:
            self.failed.append(number)
            return None
        finally:
            self.outstanding[chosen.number] -= 1
            self._done(chosen.number)

    def _done(self, number):
        if number in self.drained and not self.outstanding[number] and not self.drained[number].done():
            self.drained[number].set_result(None)


class Launcher:
    """Makes emulated replicas; what is to go wrong is said to it beforehand."""

    def __init__(self, scenario, clock, dispatcher, seed=0):
        self.scenario, self.clock, self.dispatcher, self.seed = scenario, clock, dispatcher, seed
        self.made, self.bad_kinds, self.hanging_kinds = {}, set(), set()

    def __call__(self, number, kind):
        assert number not in self.made, f"number {number} is given twice"
        slots = self.dispatcher.slots
        slots[number] = min(set(range(len(slots) + 1)) - set(slots.values()))
        self.made[number] = replica = Told(number, kind, self)
        return replica

    def adopt(self, number, kind, whereabouts):
        """Replicas that are still there after a restart of the cluster."""
        return self.made.get(number)


class Told(EmulatedLiveReplica):
    """Fails as its launcher says, besides what its scenario says."""

    def __init__(self, number, kind, launcher):
        super().__init__(number, kind, scenario=launcher.scenario, seed=launcher.seed, clock=launcher.clock)
        self.launcher, self.clock, self.log, self.loaded = launcher, launcher.clock, [], False

    async def load(self):
        self.log.append("load")
        if self.loaded:  # adopted
            return
        if self.kind in self.launcher.hanging_kinds:
            await asyncio.Event().wait()
        await super().load()
        if self.kind in self.launcher.bad_kinds:
            raise ReplicaLost(f"replica {self.number}: no such weights")
        self.loaded = True

    async def stop(self):
        self.log.append("stop")
        self._gone()
        await super().stop()

    def fence(self):
        self.log.append("fence")
        self._gone()
        super().fence()

    def _gone(self):
        self.launcher.dispatcher.slots.pop(self.number, None)
        self.launcher.made[self.number].loaded = False


@asynccontextmanager
async def live(scenario, *, seed=0, launcher=None, **options):
    """A started cluster on a virtual clock, with its launcher, dispatcher and clock; closed afterwards."""
    clock = launcher.clock if launcher else VirtualClock()
    dispatcher = ShortestQueue()
    launcher = launcher or Launcher(scenario, clock, dispatcher, seed)
    launcher.dispatcher = dispatcher
    cluster = LiveCluster(scenario, launcher, dispatcher, clock, **options)
    cluster.start()
    await clock.settle()
    try:
        yield cluster, launcher, dispatcher, clock
    finally:
        closing = asyncio.ensure_future(cluster.close())
        for _ in range(20):
            await clock.run_until(clock.now_s() + 10.0)
        assert closing.done(), cluster.events.after()[-10:]
        await closing


def states(cluster, kinds):
    """(pending, ready, draining) of each kind."""
    counted = [cluster.census.count(state) for state in ("pending", "ready", "draining")]
    return [tuple(count[kind] for count in counted) for kind in kinds]

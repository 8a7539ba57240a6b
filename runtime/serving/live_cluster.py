"""The live cluster: replicas that a launcher starts, kept as the deployment wants them (`runtime.serving.reconcile`).

All of it runs on one event loop. What is decided is remembered on disk first, and done then.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from envs.contract import Deployment, ReplicaKind
from envs.scenario import Scenario
from envs.waking import wakeful, woken
from runtime.account import UNSAID, Grounds
from runtime.models.dilated_clock import AsyncClock
from runtime.serving.acceptance import DeploymentRefused, check
from runtime.serving.desired import Desired, Version, hold
from runtime.serving.lives import Dispatcher, Lives, Member
from runtime.serving.reconcile import Routes, Standing, State, plan
from runtime.serving.replica import Adopt, MakeReplica, Replica
from runtime.serving.state_file import Remembered, Started, StateFile

TAKEN_OVER_S = 30.0  # at most: clients wait meanwhile


@dataclass(frozen=True)
class Row:
    """A replica, for people: its number, kind and state, and since when it has been started."""

    number: int
    kind: ReplicaKind
    state: State
    started_s: float


class LiveCluster:
    """Keeps the replicas of a deployment.

    Args:
        scenario: the problem.
        make: makes replicas: a launcher, or emulation.
        dispatcher: gives them requests.
        clock: of all times here; where they are shown or remembered, it should tell Unix time.
        remember: the file that lets it go on after a restart; None: nothing is remembered.
        adopt: finds replicas that still run after a restart; without it all are made anew.

    Attributes:
        desired: what is wanted: versions, pin and pause.
        events: what happened.
        census: replicas by state, and what they held.
        routes: those in force.
    """

    def __init__(self, scenario: Scenario, make: MakeReplica, dispatcher: Dispatcher, clock: AsyncClock, *,
                 remember: StateFile | None = None, adopt: Adopt | None = None) -> None:
        self.scenario, self.clock = scenario, clock
        self._make, self._dispatcher, self._remember, self._adopt = make, dispatcher, remember, adopt
        self._lives = Lives(scenario, dispatcher, clock, changed=self._reconcile, gone=self.save)
        self.events, self.census, self._members = self._lives.events, self._lives.census, self._lives.members
        self.desired = Desired.first(scenario.initial_deployment)
        self.routes: Routes = {}
        self._kinds = list(scenario.kinds)
        self._next_number = 0
        self._given: Deployment | None = None  # what the dispatcher has
        self._saved: Remembered | None = None
        self._resuming: asyncio.Task[None] | None = None
        self._running = False
        self._adopted: list[Member] = []
        self._wakeful = wakeful(scenario)
        if self._wakeful:
            dispatcher.on_asleep(self._wake)

    def start(self) -> None:
        """Begins with the initial deployment, or goes on where an earlier process ended.

        Raises:
            DeploymentRefused: what was wanted cannot be run in this scenario.
        """
        remembered = self._remember.remembered if self._remember else None
        if remembered:
            self.desired, self._next_number = remembered.desired, remembered.next_number
        check(self.desired.current.deployment, self.scenario)
        self._running = True
        for started in remembered.replicas if remembered else ():
            self._take_over(started)
        self._wait_for_resume()
        self._reconcile("start")

    async def taken_over(self) -> None:
        """Returns when the replicas of an earlier process serve, or are lost; where there were none, when all do."""
        there = self._adopted or list(self._members.values())
        if loading := [member.task for member in there if member.task]:
            await asyncio.wait(loading, timeout=TAKEN_OVER_S)

    def mend(self) -> None:
        """Makes good what failed midway, for want of memory, say; there is nothing to be done where none has. To be called now
        and then.
        """
        self._lives.mend()
        self._reconcile("a look")
        if self._running:
            self.save()

    def rest(self) -> None:
        """Starts and stops nothing any more, and leaves replicas as they are: another process goes on with them."""
        self._running = False
        if self._resuming:
            self._resuming.cancel()

    async def close(self) -> None:
        """Drains and stops all replicas."""
        self._running = False
        if self._resuming:
            self._resuming.cancel()
        for member in self._members.values():
            if member.state in ("pending", "ready"):
                self._lives.retire(member, "the cluster ends")
        while tasks := [m.task for m in self._members.values() if m.task and not m.task.done()]:
            await asyncio.wait(tasks)

    # --- What is wanted ---

    def change(self, deployment: Deployment, expected: int, decision_id: str = "", grounds: Grounds = UNSAID) -> Version:
        """Makes a deployment the desired one; returns the version in force. See `Desired.changed`.

        While an application has requests, none of its services that may wake is put to sleep (`envs.waking`).

        Raises:
            VersionConflict, DeploymentPinned: nothing was changed.
            DeploymentRefused: it cannot be run; nothing was changed.
        """
        if self._wakeful:
            deployment = woken(deployment, self._dispatcher.busy(), self.scenario)
        desired = self.desired.changed(deployment, expected, decision_id, self.clock.now_s(), grounds)
        if desired is not self.desired:
            check(deployment, self.scenario)
            self._want(desired, "deployment", f"version {desired.current.number}: {deployment}", desired.current)
        return self.desired.current

    def roll_back(self, expected: int, decision_id: str = "") -> Version:
        """Makes the deployment before this one the desired one again, as a new version.

        Raises:
            NothingBefore: there is none.
            VersionConflict, DeploymentPinned, DeploymentRefused: as `change`.
        """
        if self.desired.repeats(decision_id):
            return self.desired.current
        return self.change(self.desired.before.deployment, expected, decision_id, Grounds(reason="rolled back"))

    def _wake(self, application: str) -> None:
        """A request finds a service asleep: from now on a replica is wanted, unless nobody may change that."""
        current = self.desired.current
        deployment = woken(current.deployment, [application], self.scenario)
        if not self._running or deployment is current.deployment or self.desired.pinned(self.clock.now_s()):
            return
        try:
            self.change(deployment, current.number, grounds=Grounds(reason=f"woken by a request for {application}"))
        except OSError as error:
            self._lives.note("not woken", f"{application}: {error}")

    def pin(self, for_s: float, why: str) -> None:
        """Lets nobody change the deployment for a time.

        Raises:
            ValueError: the time is not above 0.
        """
        self._want(replace(self.desired, pin=hold(self.clock.now_s(), for_s, why)), "pin", f"for {for_s:g} s: {why}")

    def unpin(self) -> None:
        """Ends the pin."""
        self._want(replace(self.desired, pin=None), "pin", "ended")

    def pause(self, for_s: float, why: str) -> None:
        """Starts and stops nothing for a time; the deployment may change meanwhile.

        Raises:
            ValueError: the time is not above 0.
        """
        self._want(replace(self.desired, pause=hold(self.clock.now_s(), for_s, why)), "pause", f"for {for_s:g} s: {why}")

    def resume(self) -> None:
        """Ends the pause."""
        self._want(replace(self.desired, pause=None), "pause", "ended")

    # --- What is there ---

    def replicas(self) -> list[Row]:
        """All that are not gone, by number."""
        return [Row(m.number, m.kind, m.state, m.started_s) for _, m in sorted(self._members.items())]

    def running(self) -> list[Replica]:
        """The same, for those who measure them."""
        return [member.replica for member in self._members.values()]

    @property
    def kinds(self) -> tuple[ReplicaKind, ...]:
        """Candidates, and then all other kinds that were ever wanted."""
        return tuple(self._kinds)

    @property
    def settled(self) -> bool:
        """Whether all replicas that are wanted are ready, and no others are left."""
        ready = self.census.count("ready")
        return ready == self.desired.current.deployment.replicas and ready.total() == len(self._members)

    # --- Reconciling ---

    def _want(self, desired: Desired, what: str, why: str, version: Version | None = None) -> None:
        before, self.desired = self.desired, desired
        try:
            self._save()
        except OSError:
            self.desired = before
            raise
        self._lives.note(what, why, version=version)
        self._wait_for_resume()
        self._reconcile(what)

    def _reconcile(self, why: str) -> None:
        """Does what is to be done now."""
        if not self._running or self.desired.paused(self.clock.now_s()):
            return
        deployment = self.desired.current.deployment
        self._kinds += [kind for kind in deployment.replicas if kind not in self._kinds]
        standing = [Standing(m.number, m.kind, m.state, self._dispatcher.queue_length(m.replica) if m.state == "ready" else 0)
                    for m in self._members.values()]
        steps = plan(deployment, standing, self.routes, scenario=self.scenario, kinds=self._kinds,
                     in_place=self.scenario.in_place_resize_s is not None)
        for number, kind in steps.resize:
            self._lives.resize(self._members[number], kind)
        new = [self._enrol(kind) for kind in steps.start]
        if new or steps.resize or steps.stop or steps.drain:
            self.save()
        for member in new:
            self._lives.bring_up(member, why)
        for number in (*steps.stop, *steps.drain):
            self._lives.retire(self._members[number], "no longer wanted")
        self.routes = steps.routes
        self._give_deployment(replace(deployment, routes=steps.routes))

    def _give_deployment(self, deployment: Deployment) -> None:
        if deployment != self._given:
            self._given = deployment
            self._dispatcher.set_deployment(deployment)

    def _enrol(self, kind: ReplicaKind) -> Member:
        number = self._next_number
        self._next_number += 1
        return self._lives.admit(self._make(number, kind), self.clock.now_s())

    def _wait_for_resume(self) -> None:
        """Has the end of a pause noticed."""
        if self._resuming:
            self._resuming.cancel()
        pause = self.desired.pause
        self._resuming = asyncio.create_task(self._resume_at(pause.until_s)) if pause else None

    async def _resume_at(self, t_s: float) -> None:
        await self.clock.sleep_until(t_s)
        self._reconcile("the pause is over")

    # --- Remembering ---

    def _take_over(self, started: Started) -> None:
        """A replica of an earlier process: it goes on, or ends where it was ending."""
        replica = self._adopt(started.number, started.kind, started.whereabouts) if self._adopt else None
        if replica is None:
            why = "not there, or not whole, after the restart"
            self.events.add(self.clock.now_s(), "gone", why, started.number, started.kind)
            return
        member = self._lives.admit(replica, started.started_s)
        try:
            check(Deployment({started.kind: 1}), self.scenario)
        except DeploymentRefused as error:
            self._lives.retire(member, f"the scenario is another one since the restart: {error}")
            return
        if started.state in ("pending", "ready"):
            self._lives.bring_up(member, "it ran before the restart", adopted=True)
            self._adopted.append(member)
        else:
            self._lives.retire(member, f"it was {started.state} before the restart")

    def _save(self) -> None:
        if self._remember:
            started = (Started(m.number, m.kind, m.state, m.started_s, m.replica.whereabouts) for m in self._members.values())
            now = Remembered(self.desired, self._next_number, tuple(started))
            if now != self._saved:
                self._remember.write(now)
                self._saved = now

    def save(self) -> None:
        """Remembers what there is; where that fails, goes on, and says so."""
        try:
            self._save()
        except OSError as error:
            self._lives.note("not remembered", f"{error}; after a restart, replicas of now are not known")

"""The life of each replica, from pending to gone: loading, ready, draining, or lost, fenced and buried."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from envs.contract import Deployment, ReplicaKind
from envs.scenario import Scenario
from runtime.models.dilated_clock import AsyncClock
from runtime.serving.backoff import Backoff
from runtime.serving.census import Census
from runtime.serving.desired import Version
from runtime.serving.events import EventLog
from runtime.serving.reconcile import State
from runtime.serving.replica import Replica, ReplicaLost

LOAD_PATIENCE_S = 120.0  # a replica that is not ready after this, and ten times its load time, never will be
STOP_PATIENCE_S = 30.0
STILL_S = 1.0
BATCH_PATIENCE_S = 30.0  # a replica that has a batch for longer than this, and ten times what it should take, hangs


class Dispatcher(Protocol):
    """Who gives requests to replicas: the gateway."""

    def add(self, replica: Replica) -> None:
        """A replica is ready."""

    def drain(self, replica: Replica) -> Awaitable[None]:
        """Gives it nothing new from now on; what is returned is done when what it had is answered, or it is lost."""

    def lost(self, replica: Replica) -> None:
        """It is gone and fenced: what it had goes elsewhere."""

    def set_deployment(self, deployment: Deployment) -> None:
        """The deployment that is wanted, with the routes that are in force."""

    def resize(self, replica: Replica) -> None:
        """A ready replica is of another kind, which differs only in cores."""

    def resized(self, replica: Replica) -> None:
        """And now it has that kind's servers."""

    def queue_length(self, replica: Replica) -> int:
        """Requests that a ready replica has, waiting and in flight (late binding: in flight)."""

    def oldest(self, replica: Replica) -> object | None:
        """The batch that it has had for longest; None where it has none."""

    def busy(self) -> Collection[str]:
        """The applications that have requests."""

    def on_asleep(self, call: Callable[[str], None]) -> None:
        """Calls it with the application of a request that finds a service asleep which it may wake, before it is placed."""


@dataclass(eq=False)
class Member:
    """One replica of the cluster, until it is gone."""

    replica: Replica
    started_s: float
    state: State = "pending"
    served: bool = False  # the dispatcher has it
    task: asyncio.Task[None] | None = None  # of its present state: loading, draining, or going
    resizing: asyncio.Task[None] | None = None
    watching: asyncio.Task[None] | None = None

    @property
    def number(self) -> int:
        return self.replica.number

    @property
    def kind(self) -> ReplicaKind:
        return self.replica.kind


class Lives:
    """All replicas that are not gone.

    Args:
        scenario: how long loads take.
        dispatcher: is told which replicas are ready, draining or lost.
        clock: of all times.
        changed: called, with why, when a replica became ready or failed: it is time to reconcile.
        gone: called when one is gone.

    Attributes:
        members: by number.
        events, census: what happened, and what there is.
    """

    def __init__(self, scenario: Scenario, dispatcher: Dispatcher, clock: AsyncClock, *,
                 changed: Callable[[str], None], gone: Callable[[], None]) -> None:
        self._scenario, self._dispatcher, self._clock, self._changed, self._gone = scenario, dispatcher, clock, changed, gone
        self.members: dict[int, Member] = {}
        self.events, self.census = EventLog(), Census()
        self._backoff = Backoff()

    def admit(self, replica: Replica, started_s: float) -> Member:
        """A replica that is pending, since `started_s`; it does nothing yet."""
        if replica.number in self.members:
            raise AssertionError(f"replica {replica.number} is there already")
        member = Member(replica, started_s)
        replica.on_lost(lambda why: self._lose(member, why))
        self.census.started(member.number, member.kind, started_s, self._clock.now_s())
        self.members[replica.number] = member
        return member

    def mend(self) -> None:
        """Makes good what failed midway, for want of memory, say: a replica that nothing goes on with is lost, or ended. To be
        called now and then.
        """
        for member in list(self.members.values()):
            task = member.task
            if not task or (task.done() and (member.state != "ready" or task.cancelled() or task.exception())):
                self._lose(member, "nothing goes on with it")
                if member.task is task:
                    member.task = asyncio.create_task(self._end(member))
            elif member.served and (not member.watching or member.watching.done()):
                member.watching = asyncio.create_task(self._watch(member))

    def bring_up(self, member: Member, why: str, *, adopted: bool = False) -> None:
        """Has it load and become ready."""
        self.note("pending", why, member)
        member.task = asyncio.create_task(self._bring_up(member, adopted))

    async def _bring_up(self, member: Member, adopted: bool) -> None:
        """From pending to ready, or failed."""
        kind, wait_s = member.kind, 0.0 if adopted else self._backoff.wait_s(member.kind)
        if wait_s:
            self.note("back-off", f"{self._backoff.failures(kind)} loads in a row failed; the next in {wait_s:g} s", member)
            await self._clock.sleep_until(self._clock.now_s() + wait_s)
        began_s = self._clock.now_s()
        try:
            await self._within(LOAD_PATIENCE_S + 10 * self._scenario.load_s(kind), member.replica.load())
        except Exception as error:  # whatever it is: this replica is none
            if not adopted:
                self._backoff.failed(kind, began_s, self._clock.now_s())
            self._lose(member, _said(error))
            return
        if member.state != "pending":
            return
        member.served = True
        self._dispatcher.add(member.replica)
        member.state = "ready"
        self._backoff.succeeded(kind)
        self.census.ready(member.number, None if adopted else self._clock.now_s() - began_s)
        self.note("ready", f"after {self._clock.now_s() - began_s:.3g} s" if not adopted else "taken over", member)
        member.watching = asyncio.create_task(self._watch(member))
        self._changed(f"replica {member.number} became ready")

    async def _watch(self, member: Member) -> None:
        """Gives one up that hangs: its process lives, and a batch is never answered. Also while it drains."""
        while member.served:
            kind, oldest = member.kind, self._dispatcher.oldest(member.replica)
            profiled_s = max(sum(self._scenario.profile.latency_s(v, kind.shape, kind.batch)) for v in kind.variants)
            limit_s = BATCH_PATIENCE_S + 10 * profiled_s
            due_s = self._clock.now_s() + limit_s
            await self._clock.sleep_until(due_s)
            if self._clock.now_s() > due_s + STILL_S:
                continue  # it was we who stood still: what has been answered meanwhile has yet to be read
            if oldest is not None and oldest is self._dispatcher.oldest(member.replica):
                self._lose(member, f"it hangs: a batch is not answered after {limit_s:g} s")

    def resize(self, member: Member, kind: ReplicaKind) -> None:
        """A ready one is of another kind, which differs only in cores: at once, and with its servers when it has them."""
        if member.resizing:
            member.resizing.cancel()
        self.note("resizing", f"to {kind}", member)
        coming = member.replica.resize(kind)
        self.census.resized(member.number, kind, self._clock.now_s())
        self._dispatcher.resize(member.replica)
        member.resizing = asyncio.create_task(self._resize(member, coming))

    async def _resize(self, member: Member, coming: Awaitable[None]) -> None:
        try:
            await coming
        except Exception as error:
            self._lose(member, _said(error))
            return
        if member.served:
            self._dispatcher.resized(member.replica)
            self.note("resized", f"{member.kind.shape.servers} servers", member)

    def retire(self, member: Member, why: str) -> None:
        """It is not wanted: a pending replica goes at once, a ready one when it has answered what it has."""
        self._leave(member, "draining", why)
        if not member.served:
            self._fence(member)
        drained = self._dispatcher.drain(member.replica) if member.served else None
        member.task = asyncio.create_task(self._drain(member, drained) if drained else self._end(member))

    async def _drain(self, member: Member, drained: Awaitable[None]) -> None:
        try:
            await drained
        except Exception as error:
            self.note("not drained", _said(error), member)
        else:
            member.served = False
        await self._end(member)

    def _lose(self, member: Member, why: str) -> None:
        """It is gone, or never came up: fence it, then replace it, then give what it had to others."""
        if member.state == "failed" or (member.state == "draining" and not member.served):
            return
        self._leave(member, "failed", why)
        self._fence(member)
        member.task = asyncio.create_task(self._end(member))
        self._changed(f"replica {member.number} failed")
        self._serves_no_more(member)

    def _serves_no_more(self, member: Member) -> None:
        if member.served:
            self._dispatcher.lost(member.replica)
            member.served = False

    def _leave(self, member: Member, state: State, why: str) -> None:
        if member.task and member.task is not asyncio.current_task():
            member.task.cancel()
        member.state = state
        self.census.leaves(member.number, state)
        self.note(state, why, member)

    async def _end(self, member: Member) -> None:
        """Ends it, if need be by force, and forgets it."""
        for task in (member.resizing, member.watching):
            if task:
                task.cancel()
        try:
            await self._within(STOP_PATIENCE_S, member.replica.stop())
        except Exception as error:
            self.note("not stopped", f"{_said(error)}; it was fenced", member)
            self._fence(member)
        self._serves_no_more(member)
        number = member.number
        self.census.gone(number, self._clock.now_s())
        del self.members[number]
        self.note("gone", "stopped" if member.state == "draining" else "fenced", member)
        self._gone()

    def _fence(self, member: Member) -> None:
        try:
            member.replica.fence()
        except Exception as error:
            self.note("not fenced", _said(error), member)

    async def _within(self, limit_s: float, work: Coroutine[Any, Any, None]) -> None:
        """Waits for it, but not for longer than this."""
        doing = asyncio.ensure_future(work)
        limit = asyncio.ensure_future(self._clock.sleep_until(self._clock.now_s() + limit_s))
        try:
            await asyncio.wait((doing, limit), return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                raise TimeoutError(f"not done after {limit_s:g} s")
            doing.result()
        finally:
            doing.cancel()
            limit.cancel()

    def note(self, what: str, why: str, member: Member | None = None, version: Version | None = None) -> None:
        """Something happened, to a replica or to all."""
        replica, kind = (member.number, member.kind) if member else (None, None)
        self.events.add(self._clock.now_s(), what, why, replica, kind, version)


def _said(error: Exception) -> str:
    """An error in one line."""
    return f"{error}".splitlines()[0] if isinstance(error, ReplicaLost) and f"{error}" else f"{type(error).__name__}: {error}"

"""Serving: who of those that wait is served by which replica, when; and what follows from answers."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial

from runtime.gateway.hosts import Host
from runtime.gateway.placement import Placement
from runtime.gateway.queues import Batch, Queue
from runtime.gateway.request import DROPPED, FAILED, REJECTED, Cause, Request
from runtime.gateway.settling import Settling
from runtime.gateway.timers import Timers
from runtime.models.dilated_clock import AsyncClock
from runtime.models.server_clocks import Head
from runtime.serving.replica import Replica, ReplicaLost, RequestRefused, Tensors

log = logging.getLogger(__name__)
AGAIN_S = 0.1  # after which there may be memory


class Serving:
    """Queues and servers of one scenario. Nothing here waits: a batch goes to its replica, and comes back by a call.

    Queues that requests join, or whose servers are free again, are tried at the end of the event loop's turn, before anything
    else can come: so all that has come in one turn goes in one batch.

    Args:
        placement: where requests go.
        requests: settles them.
        clock: its time.
        lost: called with a replica that says so itself.
        emptied: called with a replica that may have no requests any more.

    Attributes:
        thresholds: of cascades, in force.
    """

    def __init__(self, placement: Placement, requests: Settling, clock: AsyncClock, *,
                 lost: Callable[[Replica, ReplicaLost], None], emptied: Callable[[Host], None]) -> None:
        self._placement, self._requests, self._clock = placement, requests, clock
        self._lost, self._emptied = lost, emptied
        self._timers = Timers(clock, self._wake)
        self._due: dict[Queue, None] = {}
        self.thresholds: Mapping[tuple[str, int], float] = {}

    def place(self, requests: Iterable[Request], t_s: float, refusal: int) -> None:
        """Each request joins a queue, or settles with the refusal as its fate."""
        for request in requests:
            place = self._placement.place(request, t_s, arriving=refusal == REJECTED)
            if isinstance(place, Cause):
                self._requests.unanswered(request, refusal, t_s, place)
            elif place.kind.limit is None:
                self.try_soon(place)
            else:  # those of one turn must not fill it while servers idle
                self.try_one(place, t_s)

    def try_one(self, queue: Queue, t_s: float) -> None:
        """Starts as many batches as there are servers for; where one must wait, sets the queue's timer."""
        again_s = math.inf
        dropped: list[Request] = []
        while queue.waiting and (host := _next_host(queue)):
            batch, again_s = queue.next_batch(t_s, dropped)
            if batch is None:
                break
            self._start(host, batch, t_s)
        self._timers.set(queue, again_s if queue.waiting else math.inf)
        for request in dropped:
            self._requests.unanswered(request, DROPPED, t_s, Cause.EXPIRED)

    def try_soon(self, queue: Queue) -> None:
        """Tries it at the end of the turn."""
        if not self._due:
            asyncio.get_running_loop().call_soon(self._end_of_turn)
        self._due[queue] = None

    def mend(self, held: Collection[Request]) -> None:
        """Makes good what has failed midway: requests that neither wait nor are held are placed again, queues in which some
        wait although there is a server are tried at the end of the turn, and who has not been told what has settled is told.
        """
        self.place([request for request in self._requests if not request.queue and request not in held],
                   self._clock.now_s(), FAILED)
        waiting = dict.fromkeys(request.queue for request in self._requests if request.queue)
        self._due.update(dict.fromkeys(queue for queue in waiting if _next_host(queue)))
        if self._due:
            asyncio.get_running_loop().call_soon(self._end_of_turn)
        self._requests.tell()

    def try_own(self, host: Host) -> None:
        """Tries, at the end of the turn, the queue that a replica takes from: of its kind, while it does not drain."""
        if not host.gone or host.own_queue:
            self.try_soon(host.queue)

    def _end_of_turn(self) -> None:
        due, self._due = self._due, {}
        for queue in due:
            self._wake(queue)

    def _start(self, host: Host, batch: Batch, t_s: float) -> None:
        host.start(batch, t_s)
        first = batch.requests[0]
        try:
            host.replica.serve(batch.variant, [request.tensors for request in batch.requests],
                               Head(first.application.name, first.number, first.stage),
                               [request.trace.parent if request.trace else "" for request in batch.requests],
                               partial(self._freed, host, batch), partial(self._answered, host, batch))
        except Exception:  # it has not come there, and no answer follows
            host.finish(batch, t_s)
            raise

    def _freed(self, host: Host, batch: Batch) -> None:
        """A batch has left the first stage: its server takes the next one."""
        if host.freed(batch, self._clock.now_s()):
            self.try_own(host)

    def _answered(self, host: Host, batch: Batch, answers: Sequence[Tensors | Exception] | Exception) -> None:
        """A batch comes back."""
        try:
            if isinstance(answers, ReplicaLost):
                self._lost(host.replica, answers)
            else:
                self._finish(host, batch, answers)
        except MemoryError:  # nobody answers it a second time
            asyncio.get_running_loop().call_later(AGAIN_S, self._answered, host, batch, answers)
            raise

    def _finish(self, host: Host, batch: Batch, answers: Sequence[Tensors | Exception] | Exception) -> None:
        """Its server takes the next one. A batch that comes when the replica was given up already is nobody's."""
        t_s = self._clock.now_s()
        if not host.finish(batch, t_s):
            return
        try:
            self._settle(host, batch, answers, t_s)
            if host.queue.waiting:
                self.try_own(host)
            self._emptied(host)
        finally:
            self._requests.tell()  # now, as who is told may ask again at once

    def _settle(self, host: Host, batch: Batch, answers: Sequence[Tensors | Exception] | Exception, t_s: float) -> None:
        """Its requests settle or go on."""
        if not isinstance(answers, Exception) and len(answers) != len(batch):
            answers = ValueError(f"{len(answers)} answers to {len(batch)} requests")
        if isinstance(answers, Exception):
            traces = " ".join(request.trace.id for request in batch.requests if request.trace) or "none"
            log.error("replica %d could not serve a batch of '%s' (traces: %s)", host.replica.number, batch.variant, traces,
                      exc_info=answers)
            answers = [answers] * len(batch)
        outputs = host.replica.outputs.get(batch.variant, ())
        for request, answer in zip(batch.requests, answers):
            if isinstance(answer, Exception):
                cause = Cause.REFUSED if isinstance(answer, RequestRefused) else Cause.BROKEN
                self._requests.unanswered(request, FAILED, t_s, cause, str(answer))
            elif self._requests.answered(request, answer, outputs, t_s, self.thresholds):
                self.place([request], t_s, DROPPED)

    def _wake(self, queue: Queue) -> None:
        """It is time to try a queue."""
        self.try_one(queue, self._clock.now_s())
        if queue.owner:
            self._emptied(queue.owner)

    async def close(self) -> None:
        """Starts nothing by itself any more."""
        self._due.clear()
        await self._timers.close()


def _next_host(queue: Queue) -> Host | None:
    """The replica that takes the queue's next batch: its own, or the ready one of the lowest number with an idle server."""
    if queue.owner:
        return queue.owner if queue.owner.takes_a_batch else None
    return next((host for host in queue.kind.ready if host.idle), None)

"""One replica as the dispatcher sees it: what it computes, what waits for it, and when it is expected to be free."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import chain

from envs.rules import nanoseconds
from envs.scenario import Scenario
from runtime.gateway.kinds import Kind
from runtime.gateway.queues import Batch, Queue
from runtime.gateway.request import Request
from runtime.serving.replica import Replica


class Host:
    """A replica that is ready or draining.

    Args:
        scenario: the problem.
        replica: what serves.
        kind: what it is of.
        t_s: when it became ready.

    Attributes:
        queue: what it takes batches from: its own, or with late binding its kind's.
        served: batches that it computes, in order of start.
        ahead: one batch more that it holds already; it starts as soon as a server is free.
        gone: set when it drains; done when its work is answered, or it is lost.
    """

    def __init__(self, scenario: Scenario, replica: Replica, kind: Kind, t_s: float) -> None:
        self.replica, self.kind = replica, kind
        self.queue = kind.queue or Queue(scenario, kind)
        if self.own_queue:
            self.queue.owner = self
        self.served: list[Batch] = []
        self.ahead: Batch | None = None
        self._servers = kind.servers
        self._idle = list(range(kind.servers))[::-1]  # a stack, server 0 on top
        self._resizing = False
        self._occupied: dict[Batch, int] = {}  # the server of each batch that has not left the first stage
        self._stages = kind.what.shape.inter_op
        self.gone: asyncio.Future[None] | None = None
        self._overhead_s = scenario.overhead_s
        self._expected_s = [[t_s] * kind.what.shape.inter_op for _ in range(kind.servers)]
        self._busy_since_s = self._ready_since_s = t_s
        self.busy_ns = self.ready_server_ns = 0

    @property
    def own_queue(self) -> bool:
        """Whether binding is early."""
        return self.queue is not self.kind.queue

    @property
    def idle(self) -> bool:
        """Whether a server could start a batch: its first stage is free."""
        return bool(self._idle)

    @property
    def takes_a_batch(self) -> bool:
        """Whether it gets its next batch now: for an idle server, or one ahead, which then starts without the event loop's
        lateness. Ahead goes only what would be the same later, or what is so brief that to wait for more takes longer.
        """
        if self.idle:
            return True
        if not self.own_queue or self.ahead or self._resizing:
            return False
        return self.kind.brief or self.queue.next_is_certain

    @property
    def requests(self) -> Iterator[Request]:
        """Those that the replica has."""
        return chain.from_iterable(batch.requests for batch in (*self.served, *([self.ahead] if self.ahead else ())))

    @property
    def in_flight(self) -> int:
        """Requests that the replica has."""
        return sum(map(len, self.served)) + (len(self.ahead) if self.ahead else 0)

    @property
    def outstanding(self) -> int:
        """Requests that it has or that wait for it alone."""
        return self.in_flight + (self.queue.waiting if self.own_queue else 0)

    @property
    def waiting(self) -> int:
        """Requests for it alone that no server has started."""
        return (self.queue.waiting if self.own_queue else 0) + (len(self.ahead) if self.ahead else 0)

    def start(self, batch: Batch, t_s: float) -> None:
        """A server takes a batch; where none is idle, the next one to be free will."""
        self.account(t_s)
        if self._idle:
            self._occupy(self._idle.pop(), batch)
        else:
            self.ahead = batch

    def freed(self, batch: Batch, t_s: float) -> bool:
        """A batch has left the first stage: its server takes what was ahead, or is idle. False where that was known."""
        if batch not in self._occupied:
            return False
        self.account(t_s)
        self._free(batch)
        return True

    def _free(self, batch: Batch) -> None:
        server = self._occupied.pop(batch)
        if self.ahead:
            self._occupy(server, self.ahead)
            self.ahead = None
        elif server < self._servers:
            self._idle.append(server)

    def finish(self, batch: Batch, t_s: float) -> bool:
        """A batch is answered. False where the replica no longer had it."""
        self.account(t_s)
        if batch is self.ahead:  # it was quicker than word of the server that took it
            self.ahead = None
        elif batch in self.served:
            if batch in self._occupied:
                self._free(batch)
            self.served.remove(batch)
        else:
            return False
        return True

    def _occupy(self, server: int, batch: Batch) -> None:
        self._occupied[batch] = server
        self.served.append(batch)

    def become(self, kind: Kind) -> None:
        """It is of another kind, which differs only in cores; its server time up to now has been counted."""
        own_queue = self.own_queue
        self.kind, self._resizing = kind, True
        self.busy_ns = self.ready_server_ns = 0
        if own_queue:
            self.queue.kind = kind
        else:
            assert kind.queue is not None
            self.queue = kind.queue

    def resized(self, t_s: float) -> None:
        """It has its kind's servers: the highest are cut and take no more batches, new ones are idle, the lowest on top."""
        before, self._servers, self._resizing = self._servers, self.kind.servers, False
        occupied = self._occupied.values()
        self._idle = [server for server in self._idle if server < self._servers]
        self._idle += [server for server in range(self._servers - 1, before - 1, -1) if server not in occupied]
        more = range(before, self._servers)
        self._expected_s = [*self._expected_s[: self._servers], *([t_s] * self._stages for _ in more)]
        self._start_ahead()

    def mend(self) -> None:
        """Makes good what failed midway: a server is idle or occupied, by a batch that is served, and then none is ahead."""
        self._occupied = {batch: server for batch, server in self._occupied.items() if batch in self.served}
        occupied = set(self._occupied.values())
        idle = [server for server in self._idle if server not in occupied]
        self._idle = [server for server in range(self._servers) if server not in occupied and server not in idle] + idle
        self._start_ahead()

    def _start_ahead(self) -> None:
        if self.ahead and self._idle:
            self._occupy(self._idle.pop(), self.ahead)
            self.ahead = None

    def give_up(self, t_s: float) -> tuple[list[Request], list[Request]]:
        """Takes everything away from a lost replica: the requests that it computed, and those that waited for it alone."""
        self.account(t_s)
        had = list(chain.from_iterable(batch.requests for batch in self.served))
        waited = list(self.queue) if self.own_queue else []
        for request in waited:
            self.queue.leave(request)
        waited = [*(self.ahead.requests if self.ahead else ()), *waited]
        self.served, self.ahead, self._occupied = [], None, {}
        return had, waited

    def account(self, t_s: float) -> None:
        """Counts server time up to now: computing, and offered while ready."""
        self.busy_ns += nanoseconds((t_s - self._busy_since_s) * len(self.served) / self._stages)
        self._busy_since_s = t_s
        if not self.gone:
            self.ready_server_ns += nanoseconds(t_s - self._ready_since_s) * self.kind.servers
            self._ready_since_s = t_s

    # Expected clocks: when work that was given out is expected to be done, whatever happens.

    @property
    def expected_last_stage_s(self) -> float:
        """When the last stage is expected to be free, of the server that would take a request."""
        return self._first_free()[-1]

    def expected_finish_s(self, variant: str, t_s: float, *, commit: bool = False) -> float:
        """When a request that joined now would be answered; with `commit` it does join."""
        clock_s = self._first_free()
        x_s = t_s
        for stage, work_s in enumerate(self.kind.work_s(variant)):
            x_s = max(x_s, clock_s[stage]) + work_s
            if commit:
                clock_s[stage] = x_s
        return x_s + self._overhead_s

    def _first_free(self) -> list[float]:
        return min(self._expected_s, key=lambda clock_s: clock_s[0])

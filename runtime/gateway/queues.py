"""Requests that wait: lanes of tenants and variants, and which of them make the next batch (`docs/simulator.md`, Serving)."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from itertools import count, islice
from typing import TYPE_CHECKING

from envs.rules import batch_ready, expired
from envs.scenario import Scenario
from runtime.gateway.kinds import Kind
from runtime.gateway.request import Request

if TYPE_CHECKING:
    from runtime.gateway.hosts import Host

Lane = OrderedDict[int, Request]  # by sequence: any of them can leave at once

_sequence = count()


class Batch:
    """Requests of one variant that are served together, the head first."""

    def __init__(self, requests: list[Request]) -> None:
        self.requests = requests
        self.variant = requests[0].variant

    def __len__(self) -> int:
        return len(self.requests)


class Queue:
    """What waits for one replica (early binding), or for any of a kind (late).

    Args:
        scenario: the tenants, their order and shares.
        kind: that serves it.

    Attributes:
        waiting: how many requests wait.
        owner: with early binding, the replica that it is of.
    """

    def __init__(self, scenario: Scenario, kind: Kind) -> None:
        self.kind = kind
        self.waiting = 0
        self.owner: Host | None = None
        self._tenant_of = {name: service.tenant for name, service in scenario.services.items()}
        self._share = {name: tenant.share for name, tenant in scenario.tenants.items()}
        self._order = {name: i for i, name in enumerate(scenario.tenants)}
        self._virtual_s = dict.fromkeys(scenario.tenants, 0.0)
        self._groups: dict[str, dict[str, Lane]] = {}  # by variant, then tenant; no lane is empty

    def __iter__(self) -> Iterator[Request]:
        """In order of joining."""
        everyone = (r for lanes in self._groups.values() for lane in lanes.values() for r in lane.values())
        return iter(sorted(everyone, key=lambda r: r.sequence))

    @property
    def next_is_certain(self) -> bool:
        """Whether the next batch is known now, whatever comes: full, in order, nobody of it to be given up."""
        size = self.kind.what.batch
        if not self.kind.in_order or self.waiting < size:
            return False
        head = self._head(list(self._groups.values()))
        (lane,) = self._groups[head.variant].values()
        return all(math.isinf(request.patience_s) for request in islice(lane.values(), size))

    def join(self, request: Request, variant: str, t_s: float) -> None:
        """A request joins at the end of its lane."""
        tenant = self._tenant_of[request.service]
        present = {name for lanes in self._groups.values() for name in lanes} if len(self._share) > 1 else ()
        if present and tenant not in present:  # no credit for the time without requests
            self._virtual_s[tenant] = max(self._virtual_s[tenant], min(self._virtual_s[name] for name in present))
        sequence, lanes = next(_sequence), self._groups.get(variant) or {}
        lane: Lane = lanes.get(tenant) or OrderedDict()
        lane[sequence] = request
        lanes[tenant], self._groups[variant] = lane, lanes
        request.variant, request.joined_s, request.sequence, request.queue = variant, t_s, sequence, self
        self.waiting += 1

    def leave(self, request: Request) -> None:
        """A request is taken out."""
        tenant = self._tenant_of[request.service]
        lanes = self._groups[request.variant]
        del lanes[tenant][request.sequence]
        if not lanes[tenant]:
            del lanes[tenant]
        if not lanes:
            del self._groups[request.variant]
        request.queue = None
        self.waiting -= 1

    def next_batch(self, t_s: float, dropped: list[Request]) -> tuple[Batch | None, float]:
        """Takes the batch that starts now, where there is one, out of the queue.

        Args:
            t_s: now.
            dropped: gets the requests that were given up on the way.

        Returns:
            The batch, or None and when to look again (inf: not before a request joins).
        """
        while self.waiting:
            if lane := self._only_lane():
                requests, again_s = self._next_of(lane, t_s, dropped)
                if requests or again_s < math.inf:
                    return Batch(requests) if requests else None, again_s
                continue
            self._drop_fronts(t_s, dropped)
            ready, again_s = self._ready_groups(t_s)
            if not ready:
                return None, again_s
            requests = self._fill(self._head(ready).variant, t_s, dropped)
            if requests:
                if len(self._share) > 1:
                    self._charge(requests)
                return Batch(requests), math.inf
        return None, math.inf

    def _only_lane(self) -> Lane | None:
        """The only lane, where there are no other tenants and all that waits is of one variant."""
        if len(self._share) > 1 or len(self._groups) > 1:
            return None
        ((lane,),) = (lanes.values() for lanes in self._groups.values())
        return lane

    def _next_of(self, lane: Lane, t_s: float, dropped: list[Request]) -> tuple[list[Request], float]:
        """What the general rules take where there is but one lane, and when to look again where that is nothing yet."""
        size, max_wait_s = self.kind.what.batch, self.kind.what.max_wait_s
        requests: list[Request] = []
        waits = True
        while lane and len(requests) < size:
            front = _first(lane)
            if expired(t_s, front.arrival_s, front.patience_s):
                dropped.append(front)
            elif waits and not batch_ready(len(lane), size, t_s, front.joined_s, max_wait_s):
                return [], front.joined_s + max_wait_s
            elif requests and (front.suspect or requests[0].suspect):
                break
            else:
                waits = False
                requests.append(front)
            self.leave(front)
        return requests, math.inf

    def _drop_fronts(self, t_s: float, dropped: list[Request]) -> None:
        """Gives up the requests at the front of each lane that are too old."""
        for lane in [lane for lanes in self._groups.values() for lane in lanes.values()]:
            while lane and expired(t_s, (front := _first(lane)).arrival_s, front.patience_s):
                dropped.append(front)
                self.leave(front)

    def _ready_groups(self, t_s: float) -> tuple[list[Mapping[str, Lane]], float]:
        """The groups that may start, and when the first of the others may."""
        ready: list[Mapping[str, Lane]] = []
        again_s = math.inf
        batch, max_wait_s = self.kind.what.batch, self.kind.what.max_wait_s
        for lanes in self._groups.values():
            oldest_s = min(map(_first, lanes.values()), key=lambda r: r.sequence).joined_s
            if batch_ready(sum(map(len, lanes.values())), batch, t_s, oldest_s, max_wait_s):
                ready.append(lanes)
            else:
                again_s = min(again_s, oldest_s + max_wait_s)
        return ready, again_s

    def _head(self, ready: list[Mapping[str, Lane]]) -> Request:
        """The oldest request of the tenant with the smallest virtual time."""
        fronts = [(tenant, _first(lane)) for lanes in ready for tenant, lane in lanes.items()]
        return min(fronts, key=lambda front: (self._virtual_s[front[0]], self._order[front[0]], front[1].sequence))[1]

    def _fill(self, variant: str, t_s: float, dropped: list[Request]) -> list[Request]:
        """Takes requests of a group, each from the tenant that is furthest behind, up to a batch.

        One that was lost with a replica may be what broke it: from then on it is served alone.
        """
        size = self.kind.what.batch
        each_s = self.kind.latency_s[variant, size][0] / size
        taken = dict.fromkeys(self._share, 0)
        requests: list[Request] = []

        def turn(tenant: str) -> tuple[float, int]:
            return self._virtual_s[tenant] + taken[tenant] * each_s / self._share[tenant], self._order[tenant]

        while len(requests) < size and (lanes := self._groups.get(variant)):
            tenant = min(lanes, key=turn) if len(lanes) > 1 else next(iter(lanes))
            request = _first(lanes[tenant])
            if requests and (request.suspect or requests[0].suspect):
                break
            self.leave(request)
            if expired(t_s, request.arrival_s, request.patience_s):
                dropped.append(request)
            else:
                taken[tenant] += 1
                requests.append(request)
        return requests

    def _charge(self, requests: list[Request]) -> None:
        """Each request adds its part of the time to its tenant's virtual time."""
        n = len(requests)
        part_s = self.kind.latency_s[requests[0].variant, n][0] / n
        for request in requests:
            tenant = self._tenant_of[request.service]
            self._virtual_s[tenant] += part_s / self._share[tenant]


def _first(lane: Lane) -> Request:
    return next(iter(lane.values()))

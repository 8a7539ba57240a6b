"""What to do next so that the replicas become those of the deployment: a pure function, by `docs/simulator.md`, Reconciling.

It is called after a deployment took effect, a replica became ready, a load failed, or a replica was lost. Whoever calls it
carries the plan out and calls it again at the next such moment; nothing is remembered in between but the routes in force.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from envs.contract import Deployment, ReplicaKind, Route
from envs.scenario import Scenario

State = Literal["pending", "ready", "draining", "failed"]
Routes = Mapping[str, Mapping[Route, float]]


@dataclass(frozen=True)
class Standing:
    """A replica as the decision sees it.

    Attributes:
        number: its id; higher is newer.
        kind: what it is an instance of.
        state: only pending and ready ones count; the others are on their way out.
        outstanding: requests that it has, waiting and in flight (late binding: in flight).
    """

    number: int
    kind: ReplicaKind
    state: State
    outstanding: int = 0


@dataclass(frozen=True)
class Plan:
    """What to do, in this order.

    Attributes:
        resize: ready replicas that become ones of another kind, which differs only in cores.
        start: kinds of new replicas.
        stop: pending replicas that are wanted no more.
        drain: ready replicas that take no new requests, and go when they have none left.
        routes: those in force from now on.
    """

    resize: tuple[tuple[int, ReplicaKind], ...]
    start: tuple[ReplicaKind, ...]
    stop: tuple[int, ...]
    drain: tuple[int, ...]
    routes: Routes


def plan(deployment: Deployment, replicas: Iterable[Standing], routes: Routes, *, scenario: Scenario,
         kinds: Sequence[ReplicaKind], in_place: bool = False) -> Plan:
    """The next steps towards a deployment.

    Args:
        deployment: the desired one.
        replicas: all there are.
        routes: in force now.
        scenario: which kinds share a service.
        kinds: all that are deployed or were, in the order in which they are dealt with: candidates first.
        in_place: whether kinds that differ only in cores are resized in place.
    """
    live = [r for r in replicas if r.state in ("pending", "ready")]
    resize = tuple(_resized(deployment, live, kinds)) if in_place else ()
    became = dict(resize)
    live = [replace(r, kind=became.get(r.number, r.kind)) for r in live]
    there = Counter(r.kind for r in live)
    start = tuple(kind for kind in kinds for _ in range(_wanted(deployment, kind) - there[kind]))
    stop = tuple(r.number for kind in kinds for r in _surplus_pending(live, kind, there[kind] - _wanted(deployment, kind)))
    pending = {r.kind for r in live if r.state == "pending" and r.number not in stop} | set(start)
    drain = tuple(r.number for kind in kinds if not any(_share_service(kind, other, scenario) for other in pending)
                  for r in _idlest(live, kind, _count(live, kind) - _wanted(deployment, kind)))
    ready = {r.kind for r in live if r.state == "ready" and r.number not in drain}
    return Plan(resize, start, stop, drain, _in_force(deployment.routes, routes, ready))


def _wanted(deployment: Deployment, kind: ReplicaKind) -> int:
    return deployment.replicas.get(kind, 0)


def _count(live: Sequence[Standing], kind: ReplicaKind, state: State = "ready") -> int:
    return sum(r.kind == kind and r.state == state for r in live)


def _surplus_pending(live: Sequence[Standing], kind: ReplicaKind, surplus: int) -> list[Standing]:
    """The newest pending replicas of a kind, as many as there are too many."""
    pending = sorted((r for r in live if r.kind == kind and r.state == "pending"), key=lambda r: -r.number)
    return pending[:max(0, surplus)]


def _idlest(live: Sequence[Standing], kind: ReplicaKind, surplus: int) -> list[Standing]:
    """The ready replicas of a kind with the fewest requests, then the newest, as many as there are too many."""
    ready = sorted((r for r in live if r.kind == kind and r.state == "ready"), key=lambda r: (r.outstanding, -r.number))
    return ready[:max(0, surplus)]


def _share_service(a: ReplicaKind, b: ReplicaKind, scenario: Scenario) -> bool:
    return any(set(service.variants) & set(a.variants) and set(service.variants) & set(b.variants)
               for service in scenario.services.values())


def _resized(deployment: Deployment, live: Sequence[Standing], kinds: Sequence[ReplicaKind]
             ) -> Iterator[tuple[int, ReplicaKind]]:
    """Ready replicas that old kinds have too many of, and new kinds that differ only in cores lack."""
    there = Counter(r.kind for r in live)
    ready = {kind: _idlest(live, kind, len(live)) for kind in kinds}
    for old in kinds:
        for new in kinds:
            if not _differ_only_in_cores(old, new):
                continue
            while there[new] < _wanted(deployment, new) and len(ready[old]) > _wanted(deployment, old):
                yield ready[old][0].number, new
                ready[new].append(ready[old].pop(0))
                there[old], there[new] = there[old] - 1, there[new] + 1


def _differ_only_in_cores(a: ReplicaKind, b: ReplicaKind) -> bool:
    return a != b and a.shape.cores > 0 and b.shape.cores > 0 and a == replace(b, shape=replace(b.shape, cores=a.shape.cores))


def _in_force(wanted: Routes, before: Routes, ready: set[ReplicaKind]) -> Routes:
    """A service's new routes come into force once each kind with a positive share has a ready one; no routes, at once."""
    after = {}
    for service, shares in wanted.items():
        if all(kind in ready for (kind, _), share in shares.items() if share > 0):
            after[service] = shares
        elif service in before:
            after[service] = before[service]
    return after

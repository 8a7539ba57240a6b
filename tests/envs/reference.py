"""The simulated cluster in plain Python: `docs/simulator.md` sentence by sentence, obvious before fast.

The compiled kernel is a second program from the same page; both agree to the last bit. Nothing is shared between them
but the tables of variates, the scenario and the profiles.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from itertools import count

import numpy as np

from envs.contract import Deployment, ReplicaKind
from envs.randomness import gamma_table
from envs.scenario import Scenario, Variant

NEVER = math.inf
RUN_ON_S = 3600.0
BINS, BINS_TO_SLO = 512, 64
FATES = ("good", "late", "rejected", "dropped", "failed")
WORD, GOLDEN = 2**64 - 1, 0x9E3779B97F4A7C15

SERVERS, TIMERS, REPLICAS, DEPLOYMENT, ARRIVALS = range(5)  # the order of events at equal times


class Cause(IntEnum):
    """What a number is drawn for."""

    ARRIVAL, SERVICE, CERTAINTY, LOAD, LOAD_FAILURE, FAILURE = range(6)


def mix(z: int) -> int:
    z ^= z >> 30
    z = z * 0xBF58476D1CE4E5B9 & WORD
    z ^= z >> 27
    z = z * 0x94D049BB133111EB & WORD
    return z ^ z >> 31


def key(seed: int, cause: int, index: int) -> int:
    return mix(mix(seed + GOLDEN & WORD) + GOLDEN * (cause + 16 * index + 1) & WORD)


def draw(key: int, number: int, stage: int) -> int:
    return mix(key + GOLDEN * (64 * number + stage + 1) & WORD)


def nanoseconds(seconds: float) -> int:
    return math.floor(seconds * 1e9 + 0.5)


class Variates:
    """Factors and uniform numbers by (cause, index, number, stage)."""

    def __init__(self, seed: int, cv: Mapping[Cause, float]) -> None:
        self.seed = seed
        self.tables = {cause: gamma_table(c) for cause, c in cv.items() if c > 0}

    def uniform(self, cause: Cause, index: int, number: int, stage: int = 0) -> float:
        return (draw(key(self.seed, cause, index), number, stage) >> 11) * 2.0**-53

    def factor(self, cause: Cause, index: int, number: int, stage: int = 0) -> float:
        if cause not in self.tables:
            return 1.0
        return float(self.tables[cause][draw(key(self.seed, cause, index), number, stage) >> 52])


@dataclass(eq=False)
class Tenant:
    """A share of the queues, and a token bucket."""

    index: int
    share: float
    quota_rps: float | None
    burst: float
    tokens: float
    last: float = 0.0

    def take_token(self, t: float) -> bool:
        if self.quota_rps is None:
            return True
        self.tokens = min(self.burst, self.tokens + (t - self.last) * self.quota_rps)
        self.last = t
        if self.tokens >= 1:
            self.tokens -= 1
            return True
        return False


@dataclass(eq=False)
class Kind:
    """A replica kind with all that follows from the scenario, and its counters."""

    index: int
    what: ReplicaKind
    latency: dict[tuple[str, int], list[float]]  # (variant, batch) -> seconds in each stage
    load_s: float
    limit: int | None  # requests that may wait for each replica
    services: frozenset[str]
    held_ns: int = 0
    ready_server_ns: int = 0
    busy_ns: int = 0

    def __post_init__(self) -> None:
        self.servers, self.stages = self.what.shape.servers, self.what.shape.inter_op
        self.batch, self.max_wait_s = self.what.batch, self.what.max_wait_s

    def differs_only_in_cores(self, other: Kind) -> bool:
        a, b = self.what, other.what
        return a != b and a == replace(b, shape=replace(b.shape, cores=a.shape.cores))


@dataclass(eq=False)
class Entry:
    """One entry of the routes of a service."""

    kind: Kind
    variant: str
    share: float
    credit: float = 0.0


@dataclass(eq=False)
class Service:
    """A stage of an application; `new_routes` wait for their kinds to be ready."""

    name: str
    variants: tuple[str, ...]
    tenant: Tenant
    offered: int = 0
    routes: list[Entry] = field(default_factory=list)
    new_routes: list[Entry] | None = None

    def preferred(self, kind: Kind) -> str:
        return next(v for v in self.variants if v in kind.what.variants)


@dataclass(eq=False)
class Application:
    """A chain of services, its arrivals, and its counters."""

    index: int
    name: str
    services: list[Service]
    slo_s: float
    cascade: bool
    arrivals: list[float]
    offered: int = 0
    fates: Counter[str] = field(default_factory=Counter)
    accuracy_ppb: int = 0
    histogram: list[int] = field(default_factory=lambda: [0] * BINS)

    @property
    def next_arrival(self) -> float:
        return self.arrivals[self.offered] if self.offered < len(self.arrivals) else NEVER


@dataclass(eq=False)
class Request:
    """One request; `variant` and `joined` belong to its present place, `answered` is the variant of its last answer."""

    application: Application
    number: int
    arrival: float
    stage: int = 0
    variant: str = ""
    joined: float = 0.0
    accuracy: float = 1.0
    answered: str = ""

    @property
    def service(self) -> Service:
        return self.application.services[self.stage]

    @property
    def tenant(self) -> Tenant:
        return self.service.tenant


@dataclass(eq=False)
class Queue:
    """Requests in the order in which they joined, and each tenant's virtual time."""

    kind: Kind
    waiting: list[Request] = field(default_factory=list)
    virtual: dict[Tenant, float] = field(default_factory=lambda: defaultdict(float))
    timer: float = NEVER

    def join(self, request: Request, variant: str, t: float) -> None:
        present = {r.tenant for r in self.waiting}
        if present and request.tenant not in present:
            self.virtual[request.tenant] = max(self.virtual[request.tenant], min(self.virtual[x] for x in present))
        request.variant, request.joined = variant, t
        self.waiting.append(request)

    def group(self, variant: str) -> list[Request]:
        return [r for r in self.waiting if r.variant == variant]


@dataclass(eq=False)
class Batch:
    """Requests that are served together."""

    requests: list[Request]
    finish: float


@dataclass(eq=False)
class Server:
    """A line of stages. A server that is cut finishes what it computes and takes nothing new."""

    clock: list[float]
    expected: list[float]
    occupied: bool = False
    cut: bool = False
    flight: list[Batch] = field(default_factory=list)  # in order of start

    @property
    def due(self) -> float:
        return min(self.clock[0] if self.occupied else NEVER, self.flight[0].finish if self.flight else NEVER)


@dataclass(eq=False)
class Replica:
    """One running instance of a kind. Its queue is its own (early) or that of its kind (late)."""

    id: int
    slot: int
    kind: Kind
    queue: Queue
    held_from: float
    load_ends: float = NEVER
    resized: float = NEVER
    breaks: float = NEVER
    detected: float = NEVER
    state: str = "pending"
    broken: bool = False
    ready_from: float = NEVER
    servers: list[Server] = field(default_factory=list)
    idle: list[Server] = field(default_factory=list)  # the top is the last

    @property
    def own_event(self) -> float:
        return min(self.load_ends, self.resized, self.breaks, self.detected)

    @property
    def in_flight(self) -> list[Request]:
        return [r for server in self.servers for batch in server.flight for r in batch.requests]

    def account(self, t: float) -> None:
        """Counts the time held, and the time ready, up to t."""
        self.kind.held_ns += nanoseconds(t - self.held_from)
        self.held_from = t
        self.account_ready(t)

    def account_ready(self, t: float) -> None:
        if self.state == "ready":
            self.kind.ready_server_ns += nanoseconds(t - self.ready_from) * self.kind.servers
            self.ready_from = t

    def set_servers(self, t: float) -> None:
        """Servers as many as its kind has; new ones on top of the stack, the lowest uppermost."""
        for server in self.servers[self.kind.servers:]:
            server.cut = True
        self.idle = [server for server in self.idle if not server.cut]
        added = [server for server in self.servers[:self.kind.servers] if server.cut]
        for _ in range(self.kind.servers - len(self.servers)):
            added.append(Server([t] * self.kind.stages, []))
            self.servers.append(added[-1])
        for server in reversed(added):
            server.cut, server.expected = False, [t] * self.kind.stages
            if not server.occupied:
                self.idle.append(server)

    def expect(self, variant: str, t: float) -> tuple[Server, list[float]]:
        """The server that a request would take, and the expected clocks of its stages then."""
        server = min((s for s in self.servers if not s.cut), key=lambda s: s.expected[0])
        x, clocks, batch = t, [], self.kind.batch
        for latency, clock in zip(self.kind.latency[variant, batch], server.expected):
            x = max(x, clock) + latency / batch
            clocks.append(x)
        return server, clocks


class Reference:
    """The cluster. Times in seconds; arrivals are sorted for each application; `kinds` follow those of the scenario."""

    def __init__(self, scenario: Scenario, arrivals: Mapping[str, Sequence[float]], seed: int,
                 kinds: Sequence[ReplicaKind] = ()) -> None:
        self.scenario, self.late = scenario, scenario.binding == "late"
        failures = scenario.failures
        self.variates = Variates(seed, {Cause.SERVICE: scenario.service_cv, Cause.LOAD: failures.load_cv, Cause.FAILURE: 1.0})
        self.tenants = {name: Tenant(i, tenant.share, tenant.quota_rps, tenant.burst, tenant.burst)
                        for i, (name, tenant) in enumerate(scenario.tenants.items())}
        self.services = {name: Service(name, service.variants, self.tenants[service.tenant])
                         for name, service in scenario.services.items()}
        self.applications = [
            Application(i, name, [self.services[s] for s in app.services], app.slo_s, app.cascade,
                        list(arrivals.get(name, ())))
            for i, (name, app) in enumerate(scenario.applications.items())]
        self.variant_order = {name: i for i, name in enumerate(scenario.variants)}
        self.kinds: dict[ReplicaKind, Kind] = {}
        self.queues: dict[Kind, Queue] = {}  # late
        self.slots: dict[int, Replica] = {}
        self.created = 0
        self.now = 0.0
        self.records: list[tuple[str, int, str, float, str]] = []
        self.outstanding: dict[tuple[int, int], Request] = {}
        self.deployment = scenario.initial_deployment
        self.next_deployment, self.takes_effect = self.deployment, NEVER
        self._know([*scenario.kinds, *kinds])
        for kind in self.kinds.values():
            for _ in range(self._wanted(kind)):
                self._become_ready(self._create(kind, 0.0), 0.0)

    # What a test drives

    def apply(self, deployment: Deployment) -> None:
        """Makes a deployment the desired one after the decision delay; one that still waits is forgotten."""
        self._know([*deployment.replicas, *(kind for routes in deployment.routes.values() for kind, _ in routes)])
        self.next_deployment, self.takes_effect = deployment, self.now + self.scenario.decision_delay_s

    def run(self, t_end: float) -> None:
        """All events before t_end."""
        while (event := self._next_event())[0] < t_end:
            self._happen(*event)
        self._account(t_end)

    def finish(self) -> None:
        """Runs on without arrivals until every request has settled."""
        end = self.now + RUN_ON_S
        for application in self.applications:
            del application.arrivals[application.offered:]
        while self.outstanding and (event := self._next_event())[0] < end:
            self._happen(*event)
            self.now = event[0]
        if self.outstanding:
            self.now = end
            for _, request in sorted(self.outstanding.items()):
                self._settle(request, "failed", end)
        self._account(self.now)

    def counters(self) -> dict[str, dict]:
        """Whole numbers since the start, as at `now`."""
        return {
            "applications": {
                a.name: {"offered": a.offered, **{fate: a.fates[fate] for fate in FATES},
                         "accuracy_ppb": a.accuracy_ppb, "histogram": list(a.histogram)} for a in self.applications},
            "services": {s.name: {"offered": s.offered} for s in self.services.values()},
            "kinds": {k.what: {"held_ns": k.held_ns, "ready_server_ns": k.ready_server_ns, "busy_ns": k.busy_ns}
                      for k in self.kinds.values()}}

    def gauges(self) -> dict[str, dict]:
        """What there is now; a broken replica counts as before until it is detected."""
        queues = list(self.queues.values()) if self.late else [r.queue for r in self._replicas()]
        waiting = Counter(r.service.name for queue in queues for r in queue.waiting)
        return {
            "kinds": {k.what: {**{state: len(self._replicas(state, k)) for state in ("ready", "pending", "draining")},
                               "queue": sum(len(q.waiting) for q in queues if q.kind is k)} for k in self.kinds.values()},
            "services": {name: {"queue": waiting[name]} for name in self.services}}

    # Time

    def _next_event(self) -> tuple[float, int, int, int]:
        """The next event: its time, what happens, and to which slot (and server), queue or application."""
        events = [(self.takes_effect, DEPLOYMENT, 0, 0)]
        events += [(a.next_arrival, ARRIVALS, a.index, 0) for a in self.applications]
        for slot, replica in self.slots.items():
            events.append((replica.own_event, REPLICAS, slot, 0))
            if not self.late:
                events.append((replica.queue.timer, TIMERS, slot, 0))
            if not replica.broken:
                events += [(server.due, SERVERS, slot, i) for i, server in enumerate(replica.servers)]
        events += [(queue.timer, TIMERS, kind.index, 0) for kind, queue in self.queues.items()]
        return min(events)

    def _happen(self, t: float, what: int, index: int, server: int) -> None:
        if what == SERVERS:
            self._server_event(self.slots[index], self.slots[index].servers[server], t)
        elif what == TIMERS:
            self._try(self.slots[index].queue if not self.late else list(self.queues.values())[index], t)
            if not self.late:
                self._remove_if_done(self.slots[index], t)
        elif what == REPLICAS:
            self._replica_event(self.slots[index], t)
        elif what == DEPLOYMENT:
            self._deploy(t)
        else:
            self._arrive(self.applications[index], t)

    def _account(self, t: float) -> None:
        self.now = t
        for replica in self._replicas():
            replica.account(t)

    # Requests

    def _arrive(self, application: Application, t: float) -> None:
        request = Request(application, application.offered, t)
        application.offered += 1
        self.outstanding[application.index, request.number] = request
        request.service.offered += 1
        self._try_all(self._dispatch([request], t, "rejected"), t)

    def _answer(self, request: Request, t: float) -> list[Queue]:
        """Settles a request with this answer, or hands it over; the queue that it joined, if it did."""
        application, variant = request.application, self.scenario.variants[request.variant]
        final = request.stage == len(application.services) - 1
        request.answered = request.variant
        request.accuracy *= variant.accuracy
        accuracy = variant.accuracy if application.cascade else request.accuracy
        if application.cascade and not final and variant.certainty:
            threshold = self.deployment.thresholds.get((application.name, request.stage), 1.0)
            leave_ratio, accuracy = at_threshold(variant, threshold)
            final = self.variates.uniform(Cause.CERTAINTY, application.index, request.number, request.stage) < leave_ratio
        if not final:
            request.stage += 1
            request.service.offered += 1
            return self._dispatch([request], t, "dropped")
        latency = t - request.arrival
        good = latency <= application.slo_s
        if good:
            application.accuracy_ppb += math.floor(accuracy * 1e9 + 0.5)
        application.histogram[min(BINS - 1, int(latency / (application.slo_s / BINS_TO_SLO)))] += 1
        self._settle(request, "good" if good else "late", t)
        return []

    def _settle(self, request: Request, fate: str, t: float) -> None:
        request.application.fates[fate] += 1
        self.records.append((request.application.name, request.number, fate, t, request.answered))
        del self.outstanding[request.application.index, request.number]

    # Dispatch

    def _dispatch(self, requests: Iterable[Request], t: float, refusal: str) -> list[Queue]:
        """Each request joins a queue, or settles as `refusal`. The queues joined, in order."""
        joined = []
        for request in requests:
            queue = self._place(request, t, arriving=refusal == "rejected")
            if queue is None:
                self._settle(request, refusal, t)
            else:
                joined.append(queue)
        return joined

    def _place(self, request: Request, t: float, arriving: bool) -> Queue | None:
        if arriving and not request.tenant.take_token(t):
            return None
        service, admission = request.service, self.scenario.admission
        open_kinds = self._open_kinds(service)
        if not open_kinds:
            return None
        entry = self._route(service, open_kinds)
        kinds = [entry.kind] if entry else open_kinds
        choices = {kind: entry.variant if entry else service.preferred(kind) for kind in kinds}
        if self.late:
            kind = min(kinds, key=self._waiting_per_server)
            queue, replicas = self.queues[kind], max(1, len(self._replicas("ready", kind)))
        else:
            replica = self._choose([r for r in self._replicas("ready") if r.kind in choices], choices, t)
            kind, queue, replicas = replica.kind, replica.queue, 1
            server, clocks = replica.expect(choices[kind], t)
            finish = clocks[-1] + self.scenario.overhead_s
            if arriving and admission.deadline and finish - request.arrival > request.application.slo_s:
                return None
        if kind.limit is not None and len(queue.waiting) >= kind.limit * replicas:
            return None
        queue.join(request, choices[kind], t)
        if not self.late:
            server.expected = clocks
        return queue

    def _open_kinds(self, service: Service) -> list[Kind]:
        hosts = [kind for kind in self.kinds.values() if service.name in kind.services]
        ready = [kind for kind in hosts if self._replicas("ready", kind)]
        if ready or not self.late:
            return ready
        return [kind for kind in hosts if self._replicas("pending", kind)]

    def _route(self, service: Service, open_kinds: list[Kind]) -> Entry | None:
        """Smooth weighted round robin."""
        entries = [entry for entry in service.routes if entry.share > 0 and entry.kind in open_kinds]
        if not entries:
            return None
        total = 0.0
        for entry in entries:
            entry.credit += entry.share
            total += entry.share
        chosen = max(entries, key=lambda entry: entry.credit)
        chosen.credit -= total
        return chosen

    def _waiting_per_server(self, kind: Kind) -> float:
        replicas = self._replicas("ready", kind) or self._replicas("pending", kind)
        return len(self.queues[kind].waiting) / (len(replicas) * kind.servers)

    def _choose(self, replicas: list[Replica], variants: Mapping[Kind, str], t: float) -> Replica:
        """The dispatch rule over replicas in order of slots; the first on ties."""
        def score(replica: Replica) -> float:
            if self.scenario.dispatch == "shortest-queue":
                return self._outstanding(replica) / replica.kind.servers
            server, clocks = replica.expect(variants[replica.kind], t)
            if self.scenario.dispatch == "last-stage-clock":
                return server.expected[-1]
            return clocks[-1] + self.scenario.overhead_s

        return min(replicas, key=score)

    def _outstanding(self, replica: Replica) -> int:
        return len(replica.in_flight) + (0 if self.late else len(replica.queue.waiting))

    # Serving

    def _try_all(self, queues: Iterable[Queue], t: float) -> None:
        for queue in dict.fromkeys(queues):
            self._try(queue, t)

    def _try(self, queue: Queue, t: float) -> None:
        queue.timer = NEVER
        while queue.waiting and (replica := self._with_idle_server(queue)):
            kind = queue.kind
            self._drop_expired_fronts(queue, t)
            groups = {variant: queue.group(variant) for variant in {r.variant for r in queue.waiting}}
            times = {variant: group[0].joined + kind.max_wait_s for variant, group in groups.items()}
            ready = {variant for variant, group in groups.items() if len(group) >= kind.batch or t >= times[variant]}
            if not ready:
                queue.timer = min(times.values(), default=NEVER)
                return
            requests = self._fill(queue, self._head(queue, ready).variant, t)
            if requests:
                self._start(requests, replica, t)

    def _with_idle_server(self, queue: Queue) -> Replica | None:
        states = ("ready",) if self.late else ("ready", "draining")
        return next((r for r in self._replicas() if r.queue is queue and r.state in states and not r.broken and r.idle), None)

    def _expired(self, request: Request, t: float) -> bool:
        limit_s = self.scenario.admission.drop_after_s
        return limit_s is not None and t - request.arrival > limit_s

    def _drop_expired_fronts(self, queue: Queue, t: float) -> None:
        """Lane by lane: the requests of one tenant for one variant, in order of joining."""
        lanes: dict[tuple[int, int], list[Request]] = {}
        for request in queue.waiting:
            lanes.setdefault((request.tenant.index, self.variant_order[request.variant]), []).append(request)
        for _, lane in sorted(lanes.items()):
            for request in lane:
                if not self._expired(request, t):
                    break
                queue.waiting.remove(request)
                self._settle(request, "dropped", t)

    def _head(self, queue: Queue, ready: set[str]) -> Request:
        """The oldest request for a ready variant, of the tenant with the smallest virtual time."""
        requests = [r for r in queue.waiting if r.variant in ready]
        first = min({r.tenant for r in requests}, key=lambda tenant: (queue.virtual[tenant], tenant.index))
        return next(r for r in requests if r.tenant is first)

    def _fill(self, queue: Queue, variant: str, t: float) -> list[Request]:
        batch = queue.kind.batch
        each = queue.kind.latency[variant, batch][0] / batch
        requests: list[Request] = []
        taken: Counter[Tenant] = Counter()
        while len(requests) < batch and (group := queue.group(variant)):
            tenant = min({r.tenant for r in group}, key=lambda x: (queue.virtual[x] + taken[x] * each / x.share, x.index))
            request = next(r for r in group if r.tenant is tenant)
            queue.waiting.remove(request)
            if self._expired(request, t):
                self._settle(request, "dropped", t)
            else:
                taken[tenant] += 1
                requests.append(request)
        return requests

    def _start(self, requests: list[Request], replica: Replica, t: float) -> None:
        head, n, kind = requests[0], len(requests), replica.kind
        server = replica.idle.pop()
        factor = self.variates.factor(Cause.SERVICE, head.application.index, head.number, head.stage)
        if any(other.kind.what.shape.device == kind.what.shape.device for other in self._replicas("pending")):
            factor *= self.scenario.failures.load_slowdown
        x, busy = t, 0.0
        for s, latency in enumerate(kind.latency[head.variant, n]):
            d = latency * factor
            x = max(x, server.clock[s]) + d
            server.clock[s] = x
            busy += d
        server.occupied = True
        server.flight.append(Batch(requests, x + self.scenario.overhead_s))
        kind.busy_ns += nanoseconds(busy / kind.stages)
        for request in requests:
            replica.queue.virtual[request.tenant] += kind.latency[head.variant, n][0] / n / request.tenant.share

    def _server_event(self, replica: Replica, server: Server, t: float) -> None:
        touched: list[Queue] = []
        while server.flight and server.flight[0].finish <= t:
            for request in server.flight.pop(0).requests:
                touched += self._answer(request, t)
        if server.occupied and server.clock[0] <= t:
            server.occupied = False
            if not server.cut:
                replica.idle.append(server)
        self._try_all(touched, t)
        if not (self.late and replica.state == "draining"):
            self._try(replica.queue, t)
        self._remove_if_done(replica, t)

    # Replicas

    def _replicas(self, state: str = "", kind: Kind | None = None) -> list[Replica]:
        """Replicas in order of slots."""
        return [r for _, r in sorted(self.slots.items()) if state in ("", r.state) and kind in (None, r.kind)]

    def _create(self, kind: Kind, t: float) -> Replica:
        slot = next(i for i in count() if i not in self.slots)
        replica = Replica(self.created, slot, kind, self.queues[kind] if self.late else Queue(kind), held_from=t)
        replica.load_ends = t + kind.load_s * self.variates.factor(Cause.LOAD, 0, replica.id)
        self.created += 1
        self.slots[slot] = replica
        return replica

    def _become_ready(self, replica: Replica, t: float) -> None:
        replica.state, replica.ready_from, replica.load_ends = "ready", t, NEVER
        replica.set_servers(t)
        if self.scenario.failures.mean_time_s is not None:
            replica.breaks = t + self.scenario.failures.mean_time_s * self.variates.factor(Cause.FAILURE, 0, replica.id)

    def _remove(self, replica: Replica, t: float) -> None:
        """Gone."""
        replica.account(t)
        del self.slots[replica.slot]

    def _remove_if_done(self, replica: Replica, t: float) -> None:
        if replica.state == "draining" and not self._outstanding(replica):
            self._remove(replica, t)

    def _replica_event(self, replica: Replica, t: float) -> None:
        failures = self.scenario.failures
        if replica.load_ends == t:
            if self.variates.uniform(Cause.LOAD_FAILURE, 0, replica.id) < failures.load_failure_ratio:
                self._remove(replica, t)
                self._try_all(self._reconcile(t), t)
            else:
                self._become_ready(replica, t)
                self._try_all([replica.queue, *self._reconcile(t)], t)
        elif replica.resized == t:
            replica.resized = NEVER
            replica.set_servers(t)
            self._try(replica.queue, t)
        elif replica.breaks == t:
            replica.breaks, replica.broken, replica.detected = NEVER, True, t + failures.detection_s
        else:
            self._detect(replica, t)

    def _detect(self, replica: Replica, t: float) -> None:
        self._remove(replica, t)
        requests = replica.in_flight + ([] if self.late else replica.queue.waiting)
        if self.scenario.failures.in_flight == "lost":
            for request in requests:
                self._settle(request, "failed", t)
            requests = []
        touched = self._reconcile(t)
        self._try_all([*touched, *self._dispatch(requests, t, "failed")], t)

    # Deployments

    def _know(self, kinds: Iterable[ReplicaKind]) -> None:
        """Kinds are numbered in the order in which they become known."""
        for what in kinds:
            if what in self.kinds:
                continue
            scenario, shape = self.scenario, what.shape
            slower = 1 + scenario.stage_overhead_ratio * shape.inter_op
            latency = {(v, n): [x * slower for x in scenario.profile.latency_s(v, shape, n)]
                       for v in what.variants for n in range(1, what.batch + 1)}
            seconds = scenario.admission.queue_limit_s
            limit = None if seconds is None else max(1, int(seconds * scenario.capacity_rps(what, what.variants[0])))
            services = frozenset(s.name for s in self.services.values() if set(s.variants) & set(what.variants))
            kind = Kind(len(self.kinds), what, latency, scenario.load_s(what), limit, services)
            self.kinds[what] = kind
            if self.late:
                self.queues[kind] = Queue(kind)

    def _wanted(self, kind: Kind) -> int:
        return self.deployment.replicas.get(kind.what, 0)

    def _live(self, kind: Kind) -> int:
        return len(self._replicas("pending", kind)) + len(self._replicas("ready", kind))

    def _deploy(self, t: float) -> None:
        self.deployment, self.takes_effect = self.next_deployment, NEVER
        for service in self.services.values():
            shares = self.deployment.routes.get(service.name)
            if shares is None:
                service.routes, service.new_routes = [], None
            else:
                entries = [Entry(self.kinds[kind], variant, share) for (kind, variant), share in shares.items() if share > 0]
                service.new_routes = sorted(entries, key=lambda e: (e.kind.index, self.variant_order[e.variant]))
        self._try_all(self._reconcile(t), t)

    def _reconcile(self, t: float) -> list[Queue]:
        """Steps 1 to 5; the queues touched, to be tried (step 6)."""
        touched = self._resize(t)
        for kind in self.kinds.values():
            surplus = self._live(kind) - self._wanted(kind)
            for _ in range(-surplus):
                self._create(kind, t)
            for replica in sorted(self._replicas("pending", kind), key=lambda r: -r.id)[:max(surplus, 0)]:
                self._remove(replica, t)
        for kind in self.kinds.values():
            surplus = self._live(kind) - self._wanted(kind)
            if surplus > 0 and not any(kind.services & pending.kind.services for pending in self._replicas("pending")):
                for replica in self._least_needed(kind)[:surplus]:
                    replica.account_ready(t)
                    replica.state = "draining"
        for service in self.services.values():
            routes = service.new_routes
            if routes is not None and all(self._replicas("ready", entry.kind) for entry in routes):
                same = [(e.kind, e.variant, e.share) for e in service.routes] == [(e.kind, e.variant, e.share) for e in routes]
                service.routes, service.new_routes = service.routes if same else routes, None
        for kind, queue in self.queues.items():
            if queue.waiting and not self._live(kind):
                requests, queue.waiting, queue.timer = queue.waiting, [], NEVER
                touched += self._dispatch(requests, t, "failed")
        for replica in self._replicas("draining"):
            self._remove_if_done(replica, t)
        return touched

    def _least_needed(self, kind: Kind) -> list[Replica]:
        return sorted(self._replicas("ready", kind), key=lambda r: (self._outstanding(r), -r.id))

    def _resize(self, t: float) -> list[Queue]:
        """Resizes in place what can be; the queues that have new replicas."""
        touched: list[Queue] = []
        if self.scenario.in_place_resize_s is None:
            return touched
        for old in self.kinds.values():
            for new in self.kinds.values():
                if not old.differs_only_in_cores(new):
                    continue
                number = min(len(self._replicas("ready", old)) - self._wanted(old), self._wanted(new) - self._live(new))
                for replica in self._least_needed(old)[:max(number, 0)]:
                    replica.account(t)
                    replica.kind = new
                    if self.late:
                        replica.queue = self.queues[new]
                    else:
                        replica.queue.kind = new
                    replica.resized = t + self.scenario.in_place_resize_s
                    touched.append(replica.queue)
        return touched


def at_threshold(variant: Variant, threshold: float) -> tuple[float, float]:
    """Share that leaves a cascade at a threshold, and their accuracy."""
    rows = variant.certainty
    x = [row.threshold for row in rows]
    return (float(np.interp(threshold, x, [row.leave_ratio for row in rows])),
            float(np.interp(threshold, x, [row.accuracy for row in rows])))

"""Where a request goes: open kinds, routes, the dispatch rule, and whether it is admitted (`docs/simulator.md`, Dispatch)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from envs.contract import Deployment, ReplicaKind
from envs.rules import fewer_per_server, in_time
from envs.scenario import Scenario
from envs.served_routes import check_routes
from runtime.gateway.hosts import Host
from runtime.gateway.kinds import Kind
from runtime.gateway.queues import Queue
from runtime.gateway.request import Cause, Request
from runtime.gateway.routing import Routes


class Placement:
    """Of all services of a scenario.

    Args:
        scenario: binding, dispatch rule and admission.

    Attributes:
        kinds: that are known, in the scenario's order and then as they came.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario, self.late = scenario, scenario.binding == "late"
        self._predicts = scenario.admission.deadline or scenario.dispatch != "shortest-queue"
        self.kinds: dict[ReplicaKind, Kind] = {}
        order = {name: i for i, name in enumerate(scenario.variants)}
        self._routes = {name: Routes(order) for name in scenario.services}
        self._open: dict[str, dict[Kind, str]] = {}  # by service: the open kinds and what answers there; of the last review
        for what in scenario.kinds:
            self.know(what)

    def know(self, what: ReplicaKind) -> Kind:
        """The kind, known from now on.

        Raises:
            ProfileError: it has no profile.
        """
        if what not in self.kinds:
            kind = Kind(self.scenario, what, len(self.kinds))
            if self.late:
                kind.queue = Queue(self.scenario, kind)
            self.kinds[what] = kind
        return self.kinds[what]

    def want(self, deployment: Deployment) -> None:
        """A deployment takes effect; its routes do so at the next review at which all their kinds are ready.

        Raises:
            ValueError: routes that cannot be; nothing has changed then.
            ProfileError: a kind without a profile.
        """
        check_routes(deployment, self.scenario, self.kinds)
        for what in deployment.replicas:
            self.know(what)
        for what, kind in self.kinds.items():
            kind.wanted = deployment.replicas.get(what, 0)
        for service, in_force in self._routes.items():
            shares = deployment.routes.get(service)
            in_force.want(None if shares is None else {(self.kinds[what], v): share for (what, v), share in shares.items()})

    def review(self) -> list[Request]:
        """After replicas or the deployment have changed: brings routes into force.

        Returns:
            With late binding, requests whose kind has no replica any more and gets none; they have left their queues.
        """
        self._open.clear()
        for routes in self._routes.values():
            routes.review()
        stranded = [request for kind in self.kinds.values() if kind.queue and not kind.live_servers for request in kind.queue]
        for request in stranded:
            if request.queue:
                request.queue.leave(request)
        return stranded

    def place(self, request: Request, t_s: float, *, arriving: bool) -> Queue | Cause:
        """The queue that a request has now joined, or why there is none.

        Args:
            request: at its present stage.
            t_s: now.
            arriving: it is a new one, which admission may reject.
        """
        service = request.service
        variants = self._open.get(service)
        if variants is None:
            variants = self._open[service] = {kind: kind.serves[service] for kind in self._open_kinds(service)}
        if not variants:
            return Cause.HOSTLESS
        if entry := self._routes[service].pick(variants.__contains__):
            variants = {entry.kind: entry.variant}
        if self.late:
            return self._join_kind(request, variants, t_s)
        return self._join_host(request, variants, t_s, arriving and self.scenario.admission.deadline)

    def _open_kinds(self, service: str) -> list[Kind]:
        hosting = [kind for kind in self.kinds.values() if service in kind.serves]
        ready = [kind for kind in hosting if kind.ready]
        return ready if ready or not self.late else [kind for kind in hosting if kind.wanted]

    def _join_host(self, request: Request, variants: Mapping[Kind, str], t_s: float, deadline: bool) -> Queue | Cause:
        host = self._pick_host(variants, t_s)
        variant, limit = variants[host.kind], host.kind.limit
        slo_s = min(request.application.slo_s, request.patience_s)
        if deadline and not in_time(host.expected_finish_s(variant, t_s), request.arrival_s, slo_s):
            return Cause.DEADLINE
        if limit is not None and host.waiting >= limit:
            return Cause.FULL
        if self._predicts:
            host.expected_finish_s(variant, t_s, commit=True)
        host.queue.join(request, variant, t_s)
        return host.queue

    def _join_kind(self, request: Request, variants: Mapping[Kind, str], t_s: float) -> Queue | Cause:
        kind = self._pick_kind(variants)
        if kind.limit is not None and kind.waiting >= kind.limit * max(1, len(kind.ready)):
            return Cause.FULL
        assert kind.queue is not None  # late binding
        kind.queue.join(request, variants[kind], t_s)
        return kind.queue

    def _pick_host(self, variants: Mapping[Kind, str], t_s: float) -> Host:
        """What the dispatch rule chooses among the ready replicas of these kinds, the lowest number on ties."""
        hosts = [host for kind in variants for host in kind.ready]
        if len(variants) > 1:
            hosts.sort(key=lambda host: host.replica.number)
        if self.scenario.dispatch == "last-stage-clock":
            return min(hosts, key=lambda host: host.expected_last_stage_s)
        if self.scenario.dispatch == "least-expected-finish":
            return min(hosts, key=lambda host: host.expected_finish_s(variants[host.kind], t_s))
        best, *others = hosts
        for host in others:
            if fewer_per_server(host.outstanding, host.kind.servers, best.outstanding, best.kind.servers):
                best = host
        return best

    @staticmethod
    def _pick_kind(kinds: Iterable[Kind]) -> Kind:
        """The fewest waiting requests per server, the first on ties."""
        best, *others = kinds
        for kind in others:
            if fewer_per_server(kind.waiting, kind.live_servers, best.waiting, best.live_servers):
                best = kind
        return best

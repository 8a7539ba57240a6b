"""The dispatcher: gives requests to replicas by the rules of `docs/simulator.md`, while replicas come, change and break."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Collection, Sequence

from envs.contract import Deployment
from envs.scenario import Scenario
from envs.scrape import Sample
from envs.waking import woken
from runtime.gateway.cascade import Leaving
from runtime.gateway.hosts import Host
from runtime.gateway.placement import Placement
from runtime.gateway.queues import Batch, Queue
from runtime.gateway.quotas import Quota
from runtime.gateway.request import DROPPED, FAILED, REJECTED, Cause, Request
from runtime.gateway.serving import Serving
from runtime.gateway.settling import Settling
from runtime.gateway.traces import Trace
from runtime.models.dilated_clock import AsyncClock
from runtime.models.model import TensorSpec
from runtime.serving.replica import Replica, ReplicaLost, Tensors

log = logging.getLogger(__name__)


class Dispatcher:
    """Requests of one scenario, and the replicas that serve them. Everything runs on one event loop.

    Args:
        scenario: applications, tenants, binding, dispatch rule, admission.
        clock: its time.
        leaving: when requests leave cascades.
        deployment: in force from the start; the scenario's initial one where none is given.

    Attributes:
        applications: what requests are for, by name.
        placement: where they go.
        hosts: by number, replicas that are ready or draining.
        deployment: in force.
        inputs, outputs: by variant, what it takes and gives, once a replica of it was ready.
        counters: since the start.
        quotas: by tenant.
    """

    def __init__(self, scenario: Scenario, clock: AsyncClock, leaving: Leaving, deployment: Deployment | None = None) -> None:
        self.scenario, self.clock = scenario, clock
        self._requests = Settling(scenario, leaving)
        self.applications, self.counters = self._requests.applications, self._requests.counters
        self.placement = Placement(scenario)
        self.hosts: dict[int, Host] = {}
        self.inputs: dict[str, Sequence[TensorSpec]] = {}
        self.outputs: dict[str, Sequence[TensorSpec]] = {}
        self.quotas = {name: Quota(tenant, clock.now_s()) for name, tenant in scenario.tenants.items()}
        self._serving = Serving(self.placement, self._requests, clock, lost=self._broke, emptied=self._gone_if_done)
        self._asleep: Collection[str] = ()
        self._wake: Callable[[str], None] = lambda application: None
        self.set_deployment(deployment or scenario.initial_deployment)

    # ---- requests

    def submit(self, application: str, tensors: Tensors, *, patience_s: float = math.inf,
               trace: Trace | None = None) -> Request:
        """A request arrives now.

        Args:
            application: its name (a lone service's is its own).
            tensors: what the first stage gets.
            patience_s: how long its client waits; it is not started after that.
            trace: that it is part of.

        Returns:
            The request; await `settled` for its outcome.

        Raises:
            KeyError: the scenario has no such application.
        """
        if application in self._asleep:
            self._wake(application)
        t_s = self.clock.now_s()
        request = self._requests.arrive(application, tensors, t_s, patience_s, trace)
        if self.quotas[request.application.tenant].take(t_s):
            self._serving.place([request], t_s, REJECTED)
        else:
            self._requests.unanswered(request, REJECTED, t_s, Cause.QUOTA)
        return request

    def withdraw(self, request: Request, cause: Cause = Cause.WITHDRAWN) -> None:
        """Its client has gone: it leaves its queue, dropped. What a replica has of it is computed, and nobody reads it."""
        if queue := request.queue:
            t_s = self.clock.now_s()
            queue.leave(request)
            self._requests.unanswered(request, DROPPED, t_s, cause)
            self._serving.try_soon(queue)
            if queue.owner:
                self._gone_if_done(queue.owner)

    def ready(self, application: str) -> bool:
        """Whether each of its stages has a ready replica, or wakes at a request."""
        services = self.scenario.services
        return all(services[name].wake is not None for name in self._unhosted(application))

    def cold_start_s(self, application: str) -> float:
        """How long its stages that have no ready replica take to wake; 0 where none has to."""
        candidates, services = self.scenario.candidates, self.scenario.services
        wakes = (services[name].wake for name in self._unhosted(application))
        return max((self.scenario.load_s(candidates[wake].kinds[0]) for wake in wakes if wake is not None), default=0.0)

    def _unhosted(self, application: str) -> list[str]:
        """Its services without a ready replica."""
        kinds = self.placement.kinds.values()
        return [name for name in self.applications[application].services
                if not any(kind.ready and name in kind.serves for kind in kinds)]

    def busy(self) -> Collection[str]:
        """The applications that have requests."""
        return dict.fromkeys(request.application.name for request in self._requests)

    def on_asleep(self, call: Callable[[str], None]) -> None:
        """Calls it with the application of a request that finds a service asleep which it may wake, before it is placed."""
        self._wake = call

    def mend(self) -> None:
        """Makes good what a step that failed midway has left. To be called now and then; it finds nothing where none has."""
        for host in list(self.hosts.values()):
            host.mend()
            self._gone_if_done(host)
        self._serving.mend({request for host in self.hosts.values() for request in host.requests})

    @property
    def outstanding(self) -> int:
        """Requests without a fate yet."""
        return len(self._requests)

    # ---- replicas and deployments

    def add(self, replica: Replica) -> None:
        """A replica is ready: from now on it gets requests."""
        t_s = self.clock.now_s()
        kind = self.placement.know(replica.kind)
        host = self.hosts[replica.number] = Host(self.scenario, replica, kind, t_s)
        kind.add(host)
        self.inputs.update(replica.inputs)
        self.outputs.update(replica.outputs)
        self._review([host.queue], t_s)

    def drain(self, replica: Replica) -> Awaitable[None]:
        """Gives a replica nothing new from now on. What is returned is done when all that it had, and all that waited for it
        alone, is answered, or when it is lost.
        """
        host = self.hosts.get(replica.number)
        if host and not host.gone:
            t_s = self.clock.now_s()
            host.account(t_s)
            host.kind.ready.remove(host)
            host.gone = asyncio.get_running_loop().create_future()
            self._review([], t_s)
            self._gone_if_done(host)
        return asyncio.shield(host.gone) if host and host.gone else asyncio.sleep(0)

    def lost(self, replica: Replica) -> None:
        """A replica is gone: what it had not answered is placed again, or fails where the scenario says so.

        A request that has no lives left fails. What the replica still answers is answered to nobody.
        """
        host = self.hosts.get(replica.number)
        if host is None:
            return
        t_s = self.clock.now_s()
        had, waited = host.give_up(t_s)
        self._remove(host)
        for request in had:
            request.lives, request.suspect = request.lives - 1, True
        again, failed = [*had, *waited], [request for request in had if not request.lives]
        if self.scenario.failures.in_flight == "lost":
            again, failed = [], again
        for request in failed:
            self._requests.unanswered(request, FAILED, t_s, Cause.LOST)
        self._review([], t_s, [request for request in again if request.lives])

    def _broke(self, replica: Replica, error: ReplicaLost) -> None:
        """A replica says that it is gone; it may be known already."""
        if replica.number in self.hosts:
            log.warning("replica %d is lost: %s", replica.number, error)
            self.lost(replica)

    def resize(self, replica: Replica) -> None:
        """A ready replica is of another kind, which differs only in cores: it counts as such at once."""
        host, kind, t_s = self.hosts.get(replica.number), self.placement.know(replica.kind), self.clock.now_s()
        if host is None:
            return
        host.account(t_s)
        self.counters.server_time(host)
        host.kind.ready.remove(host)
        host.become(kind)
        kind.add(host)
        self._review([host.queue], t_s)

    def resized(self, replica: Replica) -> None:
        """It has its kind's servers."""
        if host := self.hosts.get(replica.number):
            t_s = self.clock.now_s()
            host.resized(t_s)
            self._serving.try_own(host)

    def queue_length(self, replica: Replica) -> int:
        """Requests that a replica has: in flight and, with early binding, waiting for it; 0 where it is not known."""
        host = self.hosts.get(replica.number)
        return host.outstanding if host else 0

    def oldest(self, replica: Replica) -> Batch | None:
        """The batch that a replica has had for longest."""
        host = self.hosts.get(replica.number)
        return host.served[0] if host and host.served else None

    def set_deployment(self, deployment: Deployment) -> None:
        """A deployment takes effect: its thresholds at once, a service's routes once all their kinds are ready.

        Raises:
            ValueError: routes that cannot be; nothing has changed then.
            ProfileError: a kind without a profile.
        """
        self.placement.want(deployment)
        self.deployment, self._serving.thresholds = deployment, deployment.thresholds
        self._asleep = {name for name in self.applications if woken(deployment, [name], self.scenario) is not deployment}
        self._review([], self.clock.now_s())

    def _review(self, touched: Sequence[Queue], t_s: float, again: Sequence[Request] = ()) -> None:
        """What follows from other replicas or another deployment: requests to be placed again, and queues to be tried."""
        stranded = self.placement.review()
        self._serving.place([*stranded, *again], t_s, FAILED)
        for queue in touched:
            self._serving.try_soon(queue)

    def _gone_if_done(self, host: Host) -> None:
        """A draining replica without requests is gone."""
        if host.gone and not host.outstanding and host.replica.number in self.hosts:
            host.account(self.clock.now_s())
            self._remove(host)

    def _remove(self, host: Host) -> None:
        del self.hosts[host.replica.number]
        self.counters.server_time(host)
        if host.gone is None:
            host.kind.ready.remove(host)
        elif not host.gone.done():
            host.gone.set_result(None)

    # ---- counters, the end

    def sample(self) -> Sample:
        """Counters and gauges, all of this moment. What only the cluster knows, time held and pending replicas, is 0."""
        waiting = [(r.queue.kind, r.service) for r in self._requests if r.queue]
        waiting += [(h.kind, r.service) for h in self.hosts.values() if h.ahead for r in h.ahead.requests]
        kinds, hosts = list(self.placement.kinds.values()), list(self.hosts.values())
        return self.counters.sample(self.clock.now_s(), kinds, hosts, waiting)

    async def close(self) -> None:
        """Fails what is outstanding: what replicas have of it is computed, and nobody reads it."""
        await self._serving.close()
        t_s = self.clock.now_s()
        for host in self.hosts.values():
            host.give_up(t_s)
        for request in self._requests:
            if request.queue:
                request.queue.leave(request)
            self._requests.unanswered(request, FAILED, t_s, Cause.STOPPED)

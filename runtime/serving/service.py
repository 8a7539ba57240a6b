"""A live cluster in one process: the gateway, the reconciler behind it, and the control API beside it."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envs.contract import Deployment, Observation, ReplicaKind
from envs.scenario import Scenario
from runtime.addresses import Address, is_loopback
from runtime.certificate import Certificate
from runtime.control.api import ControlApi
from runtime.control.tokens import Tokens
from runtime.gateway.access import Access
from runtime.gateway.cascade import ByDraw, ByOutput
from runtime.gateway.dispatcher import Dispatcher
from runtime.gateway.page import Moment, Page
from runtime.gateway.server import Gateway
from runtime.gateway.traces import Traces
from runtime.serving.emulated_replica import EmulatedLiveReplica
from runtime.serving.gpu_shares import GpuShares
from runtime.serving.handover import Handed
from runtime.serving.live_cluster import LiveCluster
from runtime.serving.replica import MakeReplica, Replica
from runtime.serving.rounds import rounds
from runtime.serving.state_file import StateFile
from runtime.serving.unix_clock import UnixClock
from runtime.serving.usage import Usage, workers_of
from runtime.sources.page import Pages, told_by
from runtime.sources.source import PagedSource

if TYPE_CHECKING:
    from runtime.gateway.grpc_front import GrpcFront
    from runtime.serving.crew import Launcher, Models

log = logging.getLogger(__name__)
MEND_S = 1.0


@dataclass(frozen=True)
class Callers:
    """Who may call: tokens; without any, everybody on this machine.

    Attributes:
        operator: of the operator and the autoscaler, for the control API.
        tenants: by tenant, for their services.
        scrape: of whoever reads the metrics.
    """

    operator: str = ""
    tenants: dict[str, str] = field(default_factory=dict)
    scrape: str = ""


class Service:
    """A scenario, served.

    Args:
        scenario: the problem.
        models: what runs for its variants, in worker processes; None: replicas are emulated.
        launcher: runs these, and is closed with us; None: on this machine.
        callers: their tokens.
        seed: of what emulated replicas draw.
        remember: the file that lets it go on after a restart.
        traces: that requests are part of; ended with us.

    Raises:
        ValueError: tokens that cannot be used, no model for a variant, or a state file that is none or in use.
        OSError: the state file's folder cannot be written.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        models: Models | None = None,
        launcher: Launcher | None = None,
        callers: Callers = Callers(),
        seed: int = 0,
        remember: Path | None = None,
        traces: Traces = Traces(),  # noqa: B008  (it keeps nothing)
    ) -> None:
        if scenario.admission.deadline and scenario.admission.queue_limit_s is None:
            log.warning("admission by deadline lives by the profile's times: in a flood all answers may be late; give "
                        "`queue_limit_s` too, 0.8 of the SLO say (docs/faults.md)")
        clock = UnixClock()
        self.scenario, self._callers, self._traces = scenario, callers, traces
        self._state = StateFile(remember) if remember else None
        self._workers = _Workers(models, scenario, self._state, self._save, launcher) if models else None
        make: MakeReplica = self._workers.make if self._workers else _emulated(scenario, seed, clock)
        self.dispatcher = Dispatcher(scenario, clock, ByOutput() if models else ByDraw(scenario, seed))
        adopt = self._workers.adopt if self._workers else None
        self.cluster = LiveCluster(scenario, make, self.dispatcher, clock, remember=self._state, adopt=adopt)
        self._usage = self._workers.usage(scenario, self.cluster) if self._workers else None
        used = self._usage.used if self._usage else None
        self.page = Page(self.dispatcher, self.cluster.census, lambda: self.cluster.desired.current.number, used)
        self._access = Access(callers.tenants or None, scenario.tenants, callers.scrape or None)
        self.gateway = Gateway(self.dispatcher, self._access, self.page.text, traces=traces)
        self.grpc: GrpcFront | None = None
        self.control = ControlApi(
            self.cluster, self._observe, self.dispatcher.sample, self.page.text, Tokens(callers.operator, callers.tenants))
        self._seen: deque[tuple[float, Deployment, Moment]] = deque(maxlen=scenario.scrape.window_intervals + 1)
        self._observation: Observation | None = None

    def let_in(self, callers: Callers) -> None:
        """Other tokens, from the next request on.

        Raises:
            ValueError: tokens that cannot be used, or none where there were some; nothing was changed.
        """
        for name in (f.name for f in fields(Callers)):
            if getattr(self._callers, name) and not getattr(callers, name):
                raise ValueError(f"`{name}` is gone: nobody is let in without a token where there was one; restart for that")
        tokens = Tokens(callers.operator, callers.tenants)
        self._access.change(callers.tenants or None, callers.scrape or None)
        self.control.let_in(tokens)
        self._callers = callers

    async def start(self, gateway: Address, control: Address, grpc: Address | None = None,
                    certificate: Certificate | None = None, handed: Handed | None = None) -> None:
        """Listens, also for gRPC where there is an address for it, and begins with the initial deployment. `certificate`:
        over TLS, all of it. `handed`: goes on with these sockets, once there are replicas, instead of listening anew.

        Raises:
            OSError: an address is not to be had.
            ValueError: an address that others can reach, and no tokens.
            ModuleNotFoundError: the extra `grpc` is not installed.
        """
        for host, _ in filter(None, (gateway, grpc)):
            if not self._callers.tenants and not is_loopback(host):
                raise ValueError(f"{host} can be reached by others: give the tenants tokens, or listen on 127.0.0.1")
        for host, _ in filter(None, (gateway, control, grpc)):
            if not certificate and not is_loopback(host):
                log.warning("%s: tokens and data go there in the clear; give --certificate and --key", host)
        secure = certificate.context if certificate else None
        if handed:
            self.cluster.start()
            await self.cluster.taken_over()
        given = handed or Handed()
        await self.gateway.start(*gateway, secure, given.gateway, given.clients)
        await self.control.start(*control, secure, given.control)
        if grpc:
            from runtime.gateway.grpc_front import GrpcFront

            self.grpc = GrpcFront(self.dispatcher, self._access, traces=self._traces, crowd=self.gateway.crowd)
            await self.grpc.start(*grpc, certificate)
        if not handed:
            self.cluster.start()
        self._watching = [asyncio.create_task(rounds(self.scenario.interval_s, self._look)),
                          asyncio.create_task(rounds(MEND_S, self.gateway.mend, self.cluster.mend))]
        if self._usage:
            self._watching.append(asyncio.create_task(self._usage.watch()))

    async def hand_over(self) -> Handed:
        """Answers what is under way, and stops without an end of the replicas; what another process goes on with. This one is
        to end then.
        """
        for task in self._watching:
            task.cancel()
        control = await self.control.hand_over()
        self.cluster.rest()
        calls = asyncio.create_task(self.grpc.close()) if self.grpc else None
        gateway, clients = await self.gateway.hand_over()
        if calls:
            await calls
        await asyncio.to_thread(self._traces.close)
        if self._state:
            self._state.close()
        return Handed(gateway, control, clients)

    async def close(self) -> None:
        """Answers what is under way, then ends."""
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*(front.close() for front in (self.gateway, self.grpc) if front))
        await self.cluster.close()
        await self.dispatcher.close()
        await self.control.close()
        await asyncio.to_thread(self._traces.close)
        if self._workers:
            await asyncio.to_thread(self._workers.close)
        if self._state:
            self._state.close()

    def _save(self) -> None:
        self.cluster.save()

    # ---- what the control API shows: the same observation that an autoscaler makes of our page

    def pages(self) -> Pages:
        """Our own page of the last interval's end, as a source reads it."""
        return self._told(self._seen[-1][2])

    def pages_at(self, t_s: float) -> Pages:
        """The same of an earlier interval's end."""
        then_s, _, moment = min(self._seen, key=lambda seen: abs(seen[0] - t_s))
        return self._told(moment) if abs(then_s - t_s) < self.scenario.interval_s / 2 else {}

    def _told(self, moment: Moment) -> Pages:
        return {self.scenario.name: told_by(self.page.families(moment))}

    def _look(self) -> None:
        """Keeps what an observation is made of; made when it is asked for, as that takes milliseconds without serving."""
        self._seen.append((self.cluster.clock.now_s(), self.cluster.desired.current.deployment, self.page.now()))
        self._observation = None

    def _observe(self) -> Observation:
        if not self._seen:
            self._look()
        if self._observation is None:
            t_s, deployment, _ = self._seen[-1]
            self._observation = PagedSource(self.scenario, self, self.scenario.interval_s).read(t_s, deployment)
        return self._observation


def _emulated(scenario: Scenario, seed: int, clock: UnixClock) -> MakeReplica:
    def make(number: int, kind: ReplicaKind) -> Replica:
        return EmulatedLiveReplica(number, kind, scenario=scenario, seed=seed, clock=clock)

    return make


class _Workers:
    """Makes replicas of worker processes, and finds those of an earlier process. Only here is torch imported."""

    def __init__(self, models: Models, scenario: Scenario, state: StateFile | None, save: Callable[[], None],
                 launcher: Launcher | None) -> None:
        from runtime.serving.crew import Crew
        from runtime.serving.local_launcher import LocalLauncher
        from runtime.serving.worker import ASKED_BACK_S
        from runtime.worlds import WorldManager

        missing = sorted({variant for kind in scenario.kinds for variant in kind.variants} - set(models.descriptions))
        if missing:
            raise ValueError(f"no model is given for {', '.join(missing)}")
        token = state.token if state else secrets.token_hex(16)
        patience_s = ASKED_BACK_S if state else 0.0
        launcher = launcher or LocalLauncher()
        gpus = _gpu_shares() if models.device == "cuda" and isinstance(launcher, LocalLauncher) else None
        self._crew = Crew(models, WorldManager(launcher.host, token=token), token, launcher, patience_s, save, gpus)

    def make(self, number: int, kind: ReplicaKind) -> Replica:
        """See `MakeReplica`."""
        from runtime.serving.worker_replica import WorkerReplica

        return WorkerReplica(number, kind, self._crew)

    def adopt(self, number: int, kind: ReplicaKind, whereabouts: Mapping[str, Any]) -> Replica | None:
        """See `Adopt`."""
        from runtime.serving.worker_replica import WorkerReplica

        return WorkerReplica.found(number, kind, self._crew, whereabouts)

    def usage(self, scenario: Scenario, cluster: LiveCluster) -> Usage:
        """What they use is measured where they run here."""
        from runtime.serving import gpus
        from runtime.serving.local_launcher import LocalLauncher

        here = isinstance(self._crew.launcher, LocalLauncher)
        return Usage(scenario, lambda: workers_of(cluster.running()), gpus.find(self._crew.models.device) if here else None)

    def close(self) -> None:
        """Leaves what worlds there still are."""
        self._crew.manager.close()
        self._crew.launcher.close()


def _gpu_shares() -> GpuShares:
    import torch

    return GpuShares(torch.cuda.device_count())

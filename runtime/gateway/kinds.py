"""What the dispatcher knows of a replica kind: its latencies as profiled, whom it serves, and which replicas are ready."""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING

from envs.contract import ReplicaKind
from envs.scenario import Scenario

if TYPE_CHECKING:
    from runtime.gateway.hosts import Host
    from runtime.gateway.queues import Queue

HAND_OVER_S = 5e-4  # from the end of a batch in a worker process to the beginning of one that is sent only then


class Kind:
    """One replica kind.

    Args:
        scenario: profile, services and admission.
        what: the kind.
        index: its place in the order of kinds.

    Attributes:
        servers: of one replica.
        latency_s: of a batch in each stage, by (variant, size).
        serves: by service, the variant that answers it where no route says.
        limit: requests that may wait for one replica; None: any number.
        wanted: replicas, by the deployment in force.
        ready: replicas that get requests, in order of number.
        in_order: who is first now will be first when a server is free.
        brief: a batch takes no longer than word of its end and the next batch are on their way.
        queue: with late binding, what waits for any of them.

    Raises:
        ProfileError: the scenario has no profile for the kind.
    """

    def __init__(self, scenario: Scenario, what: ReplicaKind, index: int) -> None:
        self.what, self.index, self.servers = what, index, what.shape.servers
        stretch = 1 + scenario.stage_overhead_ratio * what.shape.inter_op
        self.latency_s = {
            (variant, size): [stage_s * stretch for stage_s in scenario.profile.latency_s(variant, what.shape, size)]
            for variant in what.variants for size in range(1, what.batch + 1)
        }  # fmt: skip
        self.serves = {name: variant for name, service in scenario.services.items()
                       if (variant := next((v for v in service.variants if v in what.variants), None))}
        seconds = scenario.admission.queue_limit_s
        self.limit = None if seconds is None else max(1, int(seconds * scenario.capacity_rps(what, what.variants[0])))
        self._work_s = {variant: [stage_s / what.batch for stage_s in self.latency_s[variant, what.batch]]
                        for variant in what.variants}
        tenants = {s.tenant for s in scenario.services.values() if set(s.variants) & set(what.variants)}
        self.in_order = len(tenants) == 1 and (len(what.variants) == 1 or what.batch == 1)
        self.brief = self.in_order and max(stages[0] for stages in self.latency_s.values()) <= HAND_OVER_S
        self.wanted = 0
        self.ready: list[Host] = []
        self.queue: Queue | None = None

    @property
    def waiting(self) -> int:
        """With late binding, requests that wait for it."""
        return self.queue.waiting if self.queue else 0

    @property
    def live_servers(self) -> int:
        """Servers of its ready replicas, or of those that are coming where none is ready."""
        return self.servers * (len(self.ready) or self.wanted)

    def work_s(self, variant: str) -> list[float]:
        """A request's part of a full batch, by stage."""
        return self._work_s[variant]

    def add(self, host: Host) -> None:
        """A replica is ready."""
        insort(self.ready, host, key=lambda h: h.replica.number)

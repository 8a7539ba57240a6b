"""The contract between policies and clusters: what a policy sees, what it decides, what a cluster does with it.

Two executors, one contract: the simulated cluster (`envs.cluster`) and the live one (`runtime`) take the same
`Deployment`, work towards it by the same rules (`envs.rules`), and report the same `Observation` in the same units.

Every number of an observation is a value, zero, or missing (`nan`); a whole observation may be stale (`age_s`).
Missing is never zero: use `math.isnan` before deciding on a number.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from frozendict import frozendict

if TYPE_CHECKING:
    from envs.scenario import Scenario

CONTRACT_VERSION = 1
CPU = "cpu"


@dataclass(frozen=True, order=True)
class Shape:
    """Resources of one replica.

    Attributes:
        cores: parallel servers of a replica on the device type ``cpu``; 0 on any other device type.
        inter_op: pipeline stages of a replica (inter-operator parallelism).
        intra_op: devices that share one stage (intra-operator parallelism).
        device: device type, a key of the scenario's ``devices``.
    """

    cores: int = 0
    inter_op: int = 1
    intra_op: int = 1
    device: str = CPU

    @property
    def units(self) -> int:
        """What one replica holds of its device type: cores, or devices."""
        return self.cores if self.device == CPU else self.inter_op * self.intra_op

    @property
    def servers(self) -> int:
        """Batches that one replica can begin at the same time."""
        return self.cores if self.device == CPU else 1

    def __str__(self) -> str:
        return f"{self.cores}c" if self.device == CPU else f"{self.inter_op}x{self.intra_op} {self.device}"


@dataclass(frozen=True, order=True)
class ReplicaKind:
    """What replicas of one kind have in common.

    Attributes:
        variants: names of the variants hosted, in order of preference.
        shape: resources of one replica.
        batch: largest batch.
        max_wait_s: how long the oldest request may wait for a batch to fill (0: greedy batching).
    """

    variants: tuple[str, ...]
    shape: Shape
    batch: int = 1
    max_wait_s: float = 0.0

    def __str__(self) -> str:
        wait = f" wait {self.max_wait_s:g}s" if self.max_wait_s else ""
        batch = f" batch {self.batch}{wait}" if self.batch > 1 else ""
        return f"{'+'.join(self.variants)} @{self.shape}{batch}"


Route = tuple[ReplicaKind, str]


@dataclass(frozen=True)
class Deployment:
    """The desired state of a cluster. Immutable and hashable; plain dicts are accepted and frozen.

    Attributes:
        replicas: how many replicas of each kind (kinds with count 0 are left out).
        routes: per service, the share of its requests for each (kind, variant); shares sum to 1. A service without
            routes is dispatched over all its ready hosts.
        thresholds: per (application, stage) of a cascade, the certainty in [0, 1] at which a request leaves.

    Raises:
        ValueError: a negative count, or shares that are negative or do not sum to 1.
    """

    replicas: Mapping[ReplicaKind, int] = field(default_factory=frozendict)
    routes: Mapping[str, Mapping[Route, float]] = field(default_factory=frozendict)
    thresholds: Mapping[tuple[str, int], float] = field(default_factory=frozendict)

    def __post_init__(self) -> None:
        for kind, count in self.replicas.items():
            if count < 0 or count != int(count):
                raise ValueError(f"{count} replicas of {kind}: a count is a whole number, at least 0")
        for service, shares in self.routes.items():
            if any(share < 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-6:
                raise ValueError(f"routes of service {service}: shares must be >= 0 and sum to 1, not {list(shares.values())}")
        replicas = frozendict({kind: int(count) for kind, count in sorted(self.replicas.items()) if count})
        object.__setattr__(self, "replicas", replicas)
        object.__setattr__(self, "routes", frozendict({s: frozendict(r) for s, r in sorted(self.routes.items())}))
        object.__setattr__(self, "thresholds", frozendict(self.thresholds))

    def units(self, device: str) -> int:
        """Cores or devices of one type that the replicas hold together."""
        return sum(kind.shape.units * n for kind, n in self.replicas.items() if kind.shape.device == device)

    def __str__(self) -> str:
        return ", ".join(f"{n} x {kind}" for kind, n in self.replicas.items()) or "nothing"


@dataclass(frozen=True)
class Decision:
    """What a policy wants, and why.

    Attributes:
        deployment: the desired deployment.
        reason: one short sentence for the audit line ("load 93 -> 140 req/s").
        details: numbers behind it (forecast, objective, ...), for reports.
    """

    deployment: Deployment
    reason: str
    details: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ApplicationObservation:
    """What one interval showed of an application (a lone service is an application of one stage and the same name).

    Ratios are over the requests settled in the interval (nan where none settled).
    """

    offered_rps: float
    violation_ratio: float
    late_ratio: float
    rejected_ratio: float
    dropped_ratio: float
    failed_ratio: float
    accuracy: float
    p50_s: float
    p95_s: float
    p99_s: float


@dataclass(frozen=True)
class ServiceObservation:
    """What one interval showed of a service: requests offered to it per second, and requests waiting now."""

    offered_rps: float
    queue: float


@dataclass(frozen=True)
class KindObservation:
    """What one interval showed of a replica kind.

    Attributes:
        ready, pending, draining: replicas in that state now.
        queue: requests waiting for the kind now.
        busy_ratio: server-seconds computing / server-seconds ready, over the interval (nan without ready replicas).
        pending_s: for each pending replica, seconds since it was started, oldest first.
    """

    ready: float
    pending: float
    draining: float
    queue: float
    busy_ratio: float
    pending_s: tuple[float, ...] = ()


@dataclass(frozen=True)
class DeviceObservation:
    """Compute (cores or devices) and memory of one device type: held by replicas, used on average, free of the budget."""

    held: float
    used: float
    free: float
    memory_held_bytes: float
    memory_free_bytes: float


@dataclass(frozen=True)
class Observation:
    """What a policy sees at the time of a decision: one interval, as scraped.

    Attributes:
        t_s: time of the decision, seconds since the start.
        interval_s: length of the interval that it tells of.
        age_s: age of the newest sample (nan: there was none). More than the interval: stale.
        deployment: the desired deployment last applied; it may not have taken effect yet.
        applications, services, kinds, devices: tables by name; kinds include all candidates of the scenario.
        load_s: measured cold start of each variant, seconds (the scenario's own until one was measured).
    """

    t_s: float
    interval_s: float
    age_s: float
    deployment: Deployment
    applications: Mapping[str, ApplicationObservation]
    services: Mapping[str, ServiceObservation]
    kinds: Mapping[ReplicaKind, KindObservation]
    devices: Mapping[str, DeviceObservation]
    load_s: Mapping[str, float]


class Policy(ABC):
    """Decides. A planner solves a model, an agent has learned; both see observations only.

    Attributes:
        memory_intervals: how many past observations suffice to rebuild the policy's memory after a restart.
        limit_s: seconds that a decision should take at most, for policies that can stop early. Whoever runs a policy live sets
            it before `reset`; everywhere else it is infinite, so that decisions hang on observations alone.
        needs_profile: whether it plans on the scenario's latencies. Engines with continuous batching have none: a request's
            time hangs on what else is in the batch.
    """

    memory_intervals: int = 0
    limit_s: float = math.inf
    needs_profile: bool = True

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """What calibration may set: for arguments of the constructor, the values to choose from; none here.

        Values are plain (numbers, words, truth values, lists of them), so that settings can be kept in a file.
        """
        return {}

    @abstractmethod
    def reset(self, scenario: Scenario) -> None:
        """Starts afresh on a scenario; forgets everything."""

    @abstractmethod
    def decide(self, observation: Observation) -> Decision:
        """One decision. Must be deterministic given the observations since `reset`."""


class Cluster(ABC):
    """Works towards a deployment and reports what it sees."""

    @abstractmethod
    def apply(self, deployment: Deployment) -> None:
        """Makes a deployment the desired one; it takes effect after the scenario's decision delay."""

    @abstractmethod
    def advance(self) -> Observation:
        """Goes on to the next time of decision and returns what the interval showed."""

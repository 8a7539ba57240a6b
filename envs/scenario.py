"""A scenario: one problem to be solved, as data. `envs.scenario_file` reads one from YAML.

Names follow the design; every field says its unit. A scenario is immutable; `with_` makes a changed copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from frozendict import frozendict
from pydantic import BaseModel, ConfigDict, Field, model_validator

from envs.contract import CPU, Deployment, ReplicaKind, Shape
from envs.profiles import Profile
from envs.scenario_checks import inconsistencies, path_text

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Ratio = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """Base of all parts: unknown fields are errors, nothing changes after construction."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Device(Part):
    """A device type: what may be held at once, and what it costs."""

    budget: Annotated[int, Field(gt=0)]  # cores or devices that a deployment may hold
    price: Positive = 1.0  # of a unit, relative to other types; for an hour, where the scenario has a currency
    memory_bytes: Positive = float(2**63)  # of one device; on cpu of a whole node
    nodes: tuple[Annotated[int, Field(gt=0)], ...] = ()  # cores or devices of each node; () = one large node


class CertaintyRow(Part):
    """One point of a variant's certainty curve: at this threshold, the share that leaves, and their accuracy."""

    threshold: Ratio
    leave_ratio: Ratio
    accuracy: Ratio


class Variant(Part):
    """One trained model."""

    accuracy: Ratio
    load_s: NonNegative
    memory_bytes: NonNegative = 0.0  # weights, spread evenly over the devices of a replica
    activation_bytes: NonNegative = 0.0  # of one request in a batch, on each device
    certainty: tuple[CertaintyRow, ...] = ()  # for cascades, rising thresholds


class Tenant(Part):
    """Who a service belongs to."""

    share: Positive = 1.0  # weight in fair queueing
    quota_rps: Positive | None = None  # admission quota (token bucket), none = unlimited
    burst: Positive = 1.0  # size of the bucket, requests


class Service(Part):
    """What a client calls."""

    variants: Annotated[tuple[str, ...], Field(min_length=1)]  # in order of preference where a replica hosts several
    slo_s: Positive
    tenant: str = "default"
    wake: Annotated[int, Field(ge=0)] | None = None  # candidate to start at a request that finds nothing wanted


class Application(Part):
    """A chain of services with one end-to-end SLO; in a cascade a request may leave early."""

    services: Annotated[tuple[str, ...], Field(min_length=1)]
    slo_s: Positive
    cascade: bool = False


class Candidate(Part):
    """A replica kind that agents may use: a count of one kind, or one replica of a size to be chosen.

    With one shape the action is a count, 0 to `max_count`; with several it is a size, 0 (none) or the index of a shape + 1.
    """

    variants: Annotated[tuple[str, ...], Field(min_length=1)]
    cores: tuple[int, ...] = ()  # sizes on cpu, ascending
    inter_op: Annotated[int, Field(ge=1)] = 1
    intra_op: Annotated[int, Field(ge=1)] = 1
    device: str = CPU
    batch: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    max_wait_s: NonNegative = 0.0
    max_count: Annotated[int, Field(ge=1)] = 1

    @cached_property
    def kinds(self) -> tuple[ReplicaKind, ...]:
        """The kinds to choose from: one, or one per size."""
        shapes = [Shape(cores=c) for c in self.cores] if self.device == CPU else [
            Shape(0, self.inter_op, self.intra_op, self.device)]
        return tuple(ReplicaKind(self.variants, shape, self.batch, self.max_wait_s) for shape in shapes)

    @property
    def sized(self) -> bool:
        """True where the action is a size, not a count."""
        return len(self.kinds) > 1

    @property
    def levels(self) -> int:
        """Number of values that the action can take, 0 included."""
        return (len(self.kinds) if self.sized else self.max_count) + 1

    @model_validator(mode="after")
    def _shape(self) -> Candidate:
        if self.device == CPU and not self.cores:
            raise ValueError("a candidate on cpu needs `cores`, a list of one or more sizes")
        if self.device != CPU and self.cores:
            raise ValueError(f"`cores` is for cpu only; on {self.device} give inter_op and intra_op")
        if self.sized and self.max_count != 1:
            raise ValueError("a candidate with several sizes stands for one replica: max_count must be 1")
        return self


class InitialReplica(Part):
    """Replicas that are ready when an episode starts."""

    candidate: Annotated[int, Field(ge=0)]  # index into candidates
    level: Annotated[int, Field(ge=1)]  # its count, or its size's index + 1


class Weights(Part):
    """Reward = accuracy*A - cost*C - slo*V - change*L (design, section 6)."""

    accuracy: NonNegative = 1.0
    cost: NonNegative = 0.05
    slo: NonNegative = 1.0
    change: NonNegative = 0.001


class Admission(Part):
    """When a request is turned away or given up."""

    deadline: bool = False  # reject on arrival when the predicted finish misses the SLO
    queue_limit_s: Positive | None = None  # reject when this many seconds of work wait already
    drop_after_s: Positive | None = None  # drop a request of this age when a server would take it


class Failures(Part):
    """How replicas load and break."""

    load_cv: NonNegative = 0.0  # coefficient of variation of load times (gamma)
    load_factor: Positive = 1.0  # what loading takes, over the variants' `load_s`, that policies are told
    load_slowdown: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.0  # of a batch that starts while one loads beside it
    load_failure_ratio: Ratio = 0.0  # share of loads that fail, at the end of the load
    mean_time_s: Positive | None = None  # mean time to failure of a ready replica (exponential)
    detection_s: NonNegative = 1.0  # from failure until it is noticed
    in_flight: Literal["lost", "requeued"] = "requeued"


class Interference(Part):
    """A noisy neighbour: spells, the same for every policy, in which all models on the cluster are slower."""

    slowdown: Annotated[float, Field(ge=1, allow_inf_nan=False)]  # of a batch that starts in a spell
    calm_s: Positive  # mean time between spells (exponential)
    lasts_s: Positive  # mean length of a spell (exponential)


class Scrape(Part):
    """How the metrics reach a policy; defaults measured on a real Prometheus with a scrape interval of 1 s.

    A gauge step was visible after 0.55 s on average: half a scrape interval, and 0.05 s.
    """

    interval_s: NonNegative = 1.0  # 0: no delay at all
    delay_s: NonNegative = 0.05
    window_intervals: Annotated[int, Field(ge=1)] = 1  # rates and ratios are over this many decision intervals
    missing_ratio: Ratio = 0.0  # share of intervals whose series have vanished
    stale_ratio: Ratio = 0.0  # share of intervals that repeat the last answer


class Workload(Part):
    """What arrives at one application: a trace by name or path, and how to play it (see `traces.workload`)."""

    trace: str
    scale: Positive | None = None
    mean_rps: Positive | None = None  # in place of scale
    scaling: Literal["superpose", "multiply"] = "superpose"  # more users, whose bursts average; or the same shape, higher
    arrivals: Literal["poisson", "gamma", "weibull", "mmpp", "recorded"] = "poisson"
    cv: Positive = 1.0  # of the gaps, for gamma and weibull
    states: tuple[tuple[NonNegative, Positive], ...] = ()  # for mmpp: (rate multiplier, mean duration in s), two or more
    seed: Annotated[int, Field(ge=0)] = 0


class Scenario(Part):
    """One problem: services, profiles, budget, SLOs, interval, weights, workload, initial deployment."""

    name: str
    source: str  # where the numbers come from
    interval_s: Positive
    episode_intervals: Annotated[int, Field(gt=0)] = 120
    decision_delay_s: NonNegative = 0.0
    binding: Literal["late", "early"]
    dispatch: Literal["shortest-queue", "least-expected-finish", "last-stage-clock"] = "shortest-queue"
    service_cv: NonNegative = 0.0  # of service times (gamma)
    stage_overhead_ratio: NonNegative = 0.0  # each stage takes (1 + ratio * stages) times as long
    overhead_s: NonNegative = 0.0  # added to each answer, occupies no server
    in_place_resize_s: NonNegative | None = None
    currency: Annotated[str, Field(pattern="^[A-Za-z]{1,8}$")] | None = None  # of the prices, such as USD
    price_limit: Positive | None = None  # price x units of all that may be held at once, over all device types
    devices: Annotated[Mapping[str, Device], Field(min_length=1)]
    variants: Annotated[Mapping[str, Variant], Field(min_length=1)]
    tenants: Mapping[str, Tenant] = frozendict({"default": Tenant()})
    services: Annotated[Mapping[str, Service], Field(min_length=1)]
    applications: Mapping[str, Application] = frozendict()
    candidates: Annotated[tuple[Candidate, ...], Field(min_length=1)]
    initial: tuple[InitialReplica, ...] = ()
    thresholds: Mapping[str, tuple[Ratio, ...]] = frozendict()  # initial certainty thresholds of a cascade, by stage
    weights: Weights = Weights()
    admission: Admission = Admission()
    failures: Failures = Failures()
    interference: Interference | None = None
    scrape: Scrape = Scrape()
    workload: Mapping[str, Workload]
    profile: Profile

    @model_validator(mode="before")
    @classmethod
    def _lone_services(cls, data: Any) -> Any:
        """A service that is in no application is one of its own."""
        return with_lone_services(data)

    @model_validator(mode="after")
    def _consistent(self) -> Scenario:
        problems = inconsistencies(self)
        if problems:
            raise ValueError("; ".join(f"{path_text(path)}: {reason}" for path, reason in problems))
        return self

    @cached_property
    def kinds(self) -> tuple[ReplicaKind, ...]:
        """All candidate kinds, candidate by candidate, size by size."""
        return tuple(kind for candidate in self.candidates for kind in candidate.kinds)

    @cached_property
    def whole_price(self) -> float:
        """Price x budget of all device types: what holding all of them costs, for an hour where there is a currency."""
        return sum(d.price * d.budget for d in self.devices.values())

    def price_of(self, deployment: Deployment) -> float:
        """Price x units of all replicas that a deployment wants."""
        return sum(self.devices[kind.shape.device].price * kind.shape.units * n for kind, n in deployment.replicas.items())

    @cached_property
    def initial_deployment(self) -> Deployment:
        """The deployment that is ready at t = 0."""
        levels = {start.candidate: start.level for start in self.initial}
        return self.deployment([levels.get(c, 0) for c in range(len(self.candidates))])

    def deployment(self, levels: Any, routes: Mapping[str, Any] = frozendict()) -> Deployment:
        """The deployment of an action: one level per candidate (its count, or its size's index + 1; 0 = none)."""
        replicas: dict[ReplicaKind, int] = {}
        for candidate, level in zip(self.candidates, levels, strict=True):
            if level:
                kind = candidate.kinds[int(level) - 1] if candidate.sized else candidate.kinds[0]
                replicas[kind] = replicas.get(kind, 0) + (1 if candidate.sized else int(level))
        thresholds = {(a, i): t for a, row in self.thresholds.items() for i, t in enumerate(row)}
        return Deployment(replicas, routes, thresholds)

    def levels(self, deployment: Deployment) -> tuple[int, ...]:
        """The action that makes a deployment, as near as the candidates can say it (routes are not part of it)."""
        row = []
        for candidate in self.candidates:
            held = [deployment.replicas.get(kind, 0) for kind in candidate.kinds]
            row.append(max((i + 1 for i, n in enumerate(held) if n), default=0) if candidate.sized
                       else min(held[0], candidate.max_count))
        return tuple(row)

    def capacity_rps(self, kind: ReplicaKind, variant: str) -> float:
        """What a replica carries at most, req/s: as measured within the SLO, where the profile says, else its throughput.

        Throughput is servers x batch / latency of the slowest stage. Planners apply their own coefficient.
        """
        measured = self.profile.measured_capacity_rps(variant, kind.shape, kind.batch)
        if measured is not None:
            return measured
        latency_s = self.profile.latency_s(variant, kind.shape, kind.batch)
        return kind.shape.servers * kind.batch / max(latency_s)

    def load_s(self, kind: ReplicaKind) -> float:
        """Mean time from start to ready of a replica: its variants load one after another."""
        return sum(self.variants[v].load_s for v in kind.variants)

    def memory_bytes(self, kind: ReplicaKind) -> float:
        """Memory that a replica needs on each device: weights of all variants, activations of one batch of the largest."""
        spread = 1 if kind.shape.device == CPU else kind.shape.units
        weights = sum(self.variants[v].memory_bytes for v in kind.variants) / spread
        return weights + kind.batch * max(self.variants[v].activation_bytes for v in kind.variants)

    def with_(self, **changes: Any) -> Scenario:
        """A copy with some fields changed and everything checked again; lone services get their applications anew."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        fields["applications"] = {
            name: a for name, a in self.applications.items() if a != _lone(name, self.services.get(name))}
        return Scenario(**{**fields, **changes})


def _lone(name: str, service: Service | None) -> Application | None:
    """The application that a lone service makes."""
    return Application(services=(name,), slo_s=service.slo_s) if service else None


def with_lone_services(data: Any) -> Any:
    """The fields of a scenario, with an application for each service that is in none. Leaves alone what is malformed."""
    services, applications = _table(data, "services"), _table(data, "applications")
    if not services or applications is None:
        return data
    chained = {s for a in applications.values() for s in _names(a)}
    lone = {name: {"services": (name,), "slo_s": _field(service, "slo_s")} for name, service in services.items()
            if name not in chained and name not in applications and _field(service, "slo_s") is not None}
    return {**data, "applications": {**applications, **lone}}


def _table(data: Any, name: str) -> Mapping[str, Any] | None:
    table = data.get(name, {}) if isinstance(data, Mapping) else None
    return table if isinstance(table, Mapping) else None


def _field(part: Any, name: str) -> Any:
    return part.get(name) if isinstance(part, Mapping) else getattr(part, name, None)


def _names(application: Any) -> tuple[str, ...]:
    services = _field(application, "services")
    return tuple(s for s in services if isinstance(s, str)) if isinstance(services, (list, tuple)) else ()

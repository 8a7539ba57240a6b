"""What the classic autoscalers share: each service keeps one variant, and a rule says how many pods of it there are.

Where the candidate scaled is a count, a pod is a replica. Where it is a size, a pod is a *core*: the autoscaler proper would
add one-core pods; here the one replica of n cores is resized (to the next size up), since capacity per core is what is scaled,
and a resize loads a new replica, as a pod would.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, replace

from envs.contract import Decision, Deployment, Observation, Policy, ReplicaKind
from envs.scenario import Candidate, Scenario

Wanted = tuple[int | None, str]  # pods (None: leave all as it is), and why


@dataclass(frozen=True)
class Scaled:
    """What one autoscaler scales.

    Attributes:
        service, variant: whose pods.
        candidate: of the scenario.
        most: replicas, or cores of the one replica, that the budget and the candidate allow.
        capacity_rps: of one pod.
    """

    service: str
    variant: str
    candidate: Candidate
    most: int
    capacity_rps: float

    def pods(self, kind: ReplicaKind) -> int:
        """Pods that one replica of a kind stands for."""
        return kind.shape.cores if self.candidate.sized else 1

    @property
    def least(self) -> int:
        """The fewest pods."""
        return self.pods(self.candidate.kinds[0])

    @property
    def full_rps(self) -> float:
        """What it carries on the whole budget."""
        return self.most * self.capacity_rps

    @property
    def servers(self) -> int:
        """Requests that one pod works on at the same time, times its largest batch."""
        kind = self.candidate.kinds[0]
        return kind.batch * (1 if self.candidate.sized else kind.shape.servers)

    def rounded(self, pods: int) -> int:
        """Pods within what is allowed; of a sized candidate the next size up."""
        wanted = min(max(pods, self.least), self.most)
        sizes = [self.pods(k) for k in self.candidate.kinds if self.pods(k) <= self.most]
        return next((size for size in sizes if size >= wanted), sizes[-1]) if self.candidate.sized else wanted

    def replicas(self, pods: int) -> dict[ReplicaKind, int]:
        """The deployment of a (rounded) number of pods."""
        if not self.candidate.sized:
            return {self.candidate.kinds[0]: pods}
        return {next(k for k in self.candidate.kinds if self.pods(k) == pods): 1}


class SingleVariant(Policy):
    """Scales one candidate of each service and gives up all other kinds; a subclass says to how many pods.

    A candidate that is not deployed yet starts with the pods that carry the offered load at the target. No routes: there is
    one kind to go to.

    Args:
        variant: the variant to scale; None, or one that a service does not have: the most accurate whose candidate carries the
            mean load of the workload on the whole budget at the target (without a known mean: the one deployed at first).
        target: share of a pod's capacity to be used.

    Raises:
        ValueError: a target that is not above 0; on reset, where a service has no candidate within the budget.
    """

    def __init__(self, variant: str | None, target: float) -> None:
        if not target > 0:
            raise ValueError(f"target {target}: give a share above 0, such as 0.8")
        self.variant, self.target = variant, target

    def reset(self, scenario: Scenario) -> None:
        """Starts afresh; chooses what to scale for each service."""
        self.scenario = scenario
        self.scaled = [scaled_of(scenario, name, self.variant, self.target) for name in scenario.services]
        self.restart()

    def decide(self, observation: Observation) -> Decision:
        """One run of the autoscaler of each service."""
        replicas: dict[ReplicaKind, int] = {}
        reasons, details = [], {}
        for scaled in self.scaled:
            current = pods_in(scaled, observation.deployment)
            if current:
                pods, reason = self.scale(scaled, current, observation)
            else:
                pods, reason = _first(scaled, observation.services[scaled.service].offered_rps, self.target)
            kept = {k: n for k, n in observation.deployment.replicas.items() if _hosts(k, scaled.service, self.scenario)}
            for kind, n in (kept if pods is None else scaled.replicas(pods)).items():
                replicas[kind] = max(replicas.get(kind, 0), n)
            details[f"pods_{scaled.service}"] = float(current if pods is None else pods)
            reasons.append(f"{scaled.service}: {reason}")
        return Decision(replace(observation.deployment, replicas=replicas, routes={}), "; ".join(reasons), details)

    @abstractmethod
    def restart(self) -> None:
        """Forgets everything; `scenario` and `scaled` are there."""

    @abstractmethod
    def scale(self, scaled: Scaled, current: int, observation: Observation) -> Wanted:
        """Pods wanted, rounded as `Scaled.rounded` does, where `current` (at least one) are asked for now."""


def pods_in(scaled: Scaled, deployment: Deployment) -> int:
    """Pods that a deployment asks for."""
    return sum(scaled.pods(k) * deployment.replicas.get(k, 0) for k in scaled.candidate.kinds)


def busy_pods(scaled: Scaled, observation: Observation) -> tuple[int, float]:
    """Ready pods whose use is known, and how many of them were busy on average (0 pods: nan)."""
    known = [(n, busy) for n, busy in _ready(scaled, observation) if not math.isnan(busy)]
    return (sum(n for n, _ in known), sum(n * busy for n, busy in known)) if known else (0, math.nan)


def ready_pods(scaled: Scaled, observation: Observation) -> int:
    """Pods that are ready."""
    return sum(n for n, _ in _ready(scaled, observation))


def _ready(scaled: Scaled, observation: Observation) -> list[tuple[int, float]]:
    """Ready pods of each kind of the candidate, and how busy they were."""
    seen = [(scaled.pods(k), observation.kinds[k]) for k in scaled.candidate.kinds if k in observation.kinds]
    return [(int(kind.ready) * size, kind.busy_ratio) for size, kind in seen if kind.ready > 0]


def scaled_of(scenario: Scenario, service: str, variant: str | None, target: float) -> Scaled:
    """The candidate that a service's autoscaler scales (see `SingleVariant`).

    Raises:
        ValueError: the service has no candidate within the budget.
    """
    choices = [made for c in scenario.candidates if (made := _choice(scenario, service, c))]
    if not choices:
        raise ValueError(f"service '{service}': no candidate of scenario '{scenario.name}' hosts it within the budget")
    named = [c for c in choices if c.variant == variant]
    if named:
        return max(named, key=lambda c: c.full_rps)
    application = next(name for name, a in scenario.applications.items() if service in a.services)
    workload = scenario.workload.get(application)
    if workload is None or workload.mean_rps is None:
        running = scenario.initial_deployment.replicas
        return max(choices, key=lambda c: sum(k.shape.units * running.get(k, 0) for k in c.candidate.kinds))
    mean_rps = workload.mean_rps
    carrying = [c for c in choices if target * c.full_rps >= mean_rps]
    if not carrying:
        return max(choices, key=lambda c: c.full_rps)
    return max(carrying, key=lambda c: (scenario.variants[c.variant].accuracy, c.full_rps))


def all_scaled_for(scenario: Scenario, service: str, variant: str) -> list[Scaled]:
    """All candidates that host a variant within the budget."""
    return [made for c in scenario.candidates if variant in c.variants and (made := _choice(scenario, service, c, variant))]


def scaled_for(scenario: Scenario, service: str, variant: str) -> Scaled | None:
    """The candidate that carries most of a variant on the whole budget; None where there is none."""
    return max(all_scaled_for(scenario, service, variant), key=lambda c: c.full_rps, default=None)


def _choice(scenario: Scenario, service: str, candidate: Candidate, named: str | None = None) -> Scaled | None:
    """A candidate as something to scale, or None where it does not host the service within the budget."""
    variant = named or next((v for v in scenario.services[service].variants if v in candidate.variants), None)
    budget = scenario.devices[candidate.device].budget
    fitting = [k for k in candidate.kinds if k.shape.units <= budget]
    if variant is None or not fitting:
        return None
    largest = fitting[-1]
    capacity_rps = scenario.capacity_rps(largest, variant)
    if candidate.sized:
        return Scaled(service, variant, candidate, largest.shape.cores, capacity_rps / largest.shape.cores)
    return Scaled(service, variant, candidate, min(candidate.max_count, budget // largest.shape.units), capacity_rps)


def _first(scaled: Scaled, offered_rps: float, target: float) -> Wanted:
    """A start for a candidate that is not deployed yet: pods that carry the offered load at the target."""
    if math.isnan(offered_rps):
        return None, "offered load is missing: unchanged"
    pods = scaled.rounded(math.ceil(offered_rps / (target * scaled.capacity_rps)))
    return pods, f"{scaled.variant} starts with {pods} pods for {offered_rps:.3g} req/s"


def _hosts(kind: ReplicaKind, service: str, scenario: Scenario) -> bool:
    return any(v in scenario.services[service].variants for v in kind.variants)

"""A policy before a target that can do no more than change numbers of replicas: what it wants besides is put into numbers.

A kind that the target does not have is put into replicas of one that it has, of the same capacity, rounded up; one that serves
no service in common is left out. Routes and thresholds are left out. The decision says so. It comes before the envelope, which
sees to budget and limits of what is asked for in the end.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from envs.contract import Decision, Deployment, Observation, Policy, ReplicaKind
from envs.profiles import ProfileError
from envs.scenario import Scenario

EXACT = 1e-9


class ReplicasOnly(Policy):
    """Decides as another policy does, in replicas of the target's kinds.

    Args:
        policy: the other one.
        kinds: of the target.
    """

    def __init__(self, policy: Policy, kinds: Sequence[ReplicaKind]) -> None:
        self._policy, self._kinds = policy, tuple(kinds)
        self.needs_profile = policy.needs_profile

    def reset(self, scenario: Scenario) -> None:
        """See `Policy`."""
        self._scenario = scenario
        self._policy.limit_s = self.limit_s
        self._policy.reset(scenario)
        self.memory_intervals = self._policy.memory_intervals

    def decide(self, observation: Observation) -> Decision:
        """See `Policy`."""
        decision = self._policy.decide(observation)
        if not isinstance(decision, Decision) or not isinstance(decision.deployment, Deployment):
            return decision  # whoever hosts it says what is wrong
        wanted = decision.deployment
        given = in_kinds(wanted, self._kinds, self._scenario)
        if given.replicas == wanted.replicas:
            return replace(decision, deployment=given)
        return replace(decision, deployment=given, reason=f"{decision.reason}; replicas only: {wanted} -> {given}")


def in_kinds(deployment: Deployment, kinds: Sequence[ReplicaKind], scenario: Scenario) -> Deployment:
    """A deployment of nothing but those kinds, of at least the same capacity as far as the candidates reach."""
    counts: dict[ReplicaKind, float] = defaultdict(float)
    for kind, n in deployment.replicas.items():
        if kind in kinds:
            counts[kind] += n
        elif to := _nearest(kind, kinds, scenario):
            counts[to] += n * _worth(kind, to, scenario)
    most = {kind: c.max_count for c in scenario.candidates if not c.sized for kind in c.kinds}
    return Deployment({kind: min(math.ceil(n - EXACT), most.get(kind, math.ceil(n))) for kind, n in counts.items()})


def _nearest(kind: ReplicaKind, kinds: Sequence[ReplicaKind], scenario: Scenario) -> ReplicaKind | None:
    """Of those that share a service, the one most like it: with a variant of its own, then of its device, then the first."""
    able = [other for other in kinds if _shared(kind, other, scenario)]
    return max(able, key=lambda other: (not set(kind.variants).isdisjoint(other.variants),
                                        kind.shape.device == other.shape.device), default=None)


def _shared(kind: ReplicaKind, other: ReplicaKind, scenario: Scenario) -> tuple[str, str] | None:
    """The variants that both have for the first service that both serve."""
    for service in scenario.services.values():
        ours, theirs = (next((v for v in service.variants if v in k.variants), None) for k in (kind, other))
        if ours and theirs:
            return ours, theirs
    return None


def _worth(kind: ReplicaKind, other: ReplicaKind, scenario: Scenario) -> float:
    """How many replicas of the other one carry what one carries; by resources, where nobody has measured what they carry."""
    shared = _shared(kind, other, scenario)
    assert shared is not None
    try:
        return scenario.capacity_rps(kind, shared[0]) / scenario.capacity_rps(other, shared[1])
    except (ProfileError, ZeroDivisionError):
        return kind.shape.units / other.shape.units

"""Two time scales: a planner decides replicas slowly, routes follow at every decision what is ready now.

Loading takes seconds to minutes, routes act at once. So between the planner's decisions, and while its replicas load,
the load is shared out anew over the replicas that are ready: the most accurate first, each up to its capacity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from baselines.infadapter import LEAST_LOAD_RPS, InfAdapter
from baselines.infadapter_ilp import quotas
from envs.contract import Decision, Deployment, Observation, Policy, ReplicaKind, Route
from envs.scenario import Scenario


class TwoTimeScales(Policy):
    """A planner's replicas, with routes from the present load and the capacity that is ready now.

    Where the load times the fast margin is more than all that is ready, each kind gets its part by capacity. A kind that
    serves several services counts for each in proportion to their loads; of several variants of a service on one kind the
    first is used.

    The planner's own routes stay where the load or the ready replicas of a service are missing, where none is ready, and
    where a kind that it wants and that has no ready replica comes ready before the next decision: old replicas drain then,
    so that shares of what is ready now would not last the interval.

    Args:
        planner: decides the replicas; None: `InfAdapter` with the settings given.
        fast_margin: factor on the present load, for what comes before the next decision.
        settings: of `InfAdapter`, where no planner is given.

    Raises:
        ValueError: settings beside a planner, or a margin that is not above 0.
    """

    def __init__(self, planner: Policy | None = None, fast_margin: float = 1.1, **settings: Any) -> None:
        if planner is not None and settings:
            raise ValueError(f"settings {', '.join(settings)}: give them to the planner itself")
        if not fast_margin > 0:
            raise ValueError(f"fast_margin {fast_margin}: give a factor above 0, such as 1.1")
        self.planner = planner if planner is not None else InfAdapter(**settings)
        self.fast_margin = fast_margin

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """Settings to calibrate: those of `InfAdapter`, and the fast margin."""
        return {**InfAdapter.space(scenario), "fast_margin": [1.0, 1.1, 1.2, 1.3, 1.5]}

    def reset(self, scenario: Scenario) -> None:
        """Starts afresh on a scenario."""
        self._scenario = scenario
        self.planner.reset(scenario)
        self.memory_intervals = self.planner.memory_intervals

    def decide(self, observation: Observation) -> Decision:
        """The planner's decision with fresh routes."""
        slow = self.planner.decide(observation)
        wanted = slow.deployment
        fast = {name: shares for name in self._scenario.services if (shares := self._routes(name, wanted, observation))}
        if not fast:
            return slow
        deployment = replace(wanted, routes={**wanted.routes, **fast})
        return replace(slow, deployment=deployment, reason=f"{slow.reason}; routes over what is ready")

    def _routes(self, service: str, wanted: Deployment, observation: Observation) -> dict[Route, float]:
        """Shares of a service over its ready kinds; empty where the planner's routes stay."""
        load_rps = observation.services[service].offered_rps
        hosts = self._ready(service, observation)
        capacity = [rps for _, _, rps in hosts]
        if math.isnan(load_rps) or not sum(capacity) or self._changes_soon(service, wanted, observation):
            return {}
        routes = [(kind, variant) for kind, variant, _ in hosts]
        needed_rps = max(self.fast_margin * load_rps, LEAST_LOAD_RPS)
        weights = capacity
        if needed_rps < sum(capacity):
            weights = quotas(needed_rps, [self._scenario.variants[v].accuracy for _, v in routes], capacity)
        return {route: w / sum(weights) for route, w in zip(routes, weights) if w > 0}

    def _changes_soon(self, service: str, wanted: Deployment, observation: Observation) -> bool:
        """True where a kind without a ready replica gets its first one before the next decision."""
        for kind in wanted.replicas:
            seen = observation.kinds.get(kind)
            if self._variant(service, kind) is None or (seen is not None and seen.ready > 0):
                continue
            waited_s = seen.pending_s[0] if seen is not None and seen.pending_s else -self._scenario.decision_delay_s
            if sum(observation.load_s[v] for v in kind.variants) - waited_s < observation.interval_s:
                return True
        return False

    def _variant(self, service: str, kind: ReplicaKind) -> str | None:
        return next((v for v in self._scenario.services[service].variants if v in kind.variants), None)

    def _ready(self, service: str, observation: Observation) -> list[tuple[ReplicaKind, str, float]]:
        """Kinds with a ready replica, the variant that each serves with, and their capacity, req/s."""
        found = []
        for kind, seen in observation.kinds.items():
            variant = self._variant(service, kind)
            if variant is not None and seen.ready > 0:
                capacity_rps = seen.ready * self._scenario.capacity_rps(kind, variant)
                found.append((kind, variant, capacity_rps * self._part(kind, service, observation)))
        return found

    def _part(self, kind: ReplicaKind, service: str, observation: Observation) -> float:
        """A service's part of a kind that several services use."""
        sharing = [s for s, row in self._scenario.services.items() if set(row.variants) & set(kind.variants)]
        loads = {s: observation.services[s].offered_rps for s in sharing}
        total = sum(rps for rps in loads.values() if not math.isnan(rps))
        return loads[service] / total if len(sharing) > 1 and total > 0 else 1.0

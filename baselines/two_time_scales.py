"""Two time scales: a planner decides replicas slowly, routes follow at every decision what is ready now.

Loading takes seconds to minutes, routes act at once. So between the planner's decisions, and while its replicas load,
the load is shared out anew over the replicas that are ready: the most accurate first, each up to its capacity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from baselines.infaas import INFaaS
from baselines.infadapter import LEAST_LOAD_RPS, InfAdapter
from baselines.infadapter_search import ROUNDING
from baselines.model_switching import ModelSwitching
from baselines.model_switching_plus import ModelSwitchingPlus
from envs.contract import Decision, Deployment, Observation, Policy, ReplicaKind, Route
from envs.scenario import Scenario

Hosts = dict[ReplicaKind, list[tuple[str, float, float]]]  # variants: name, capacity (req/s), accuracy
FAST_MARGIN = 1.4  # 1.1 on the load, over InfAdapter's 0.8 on capacities, which are taken as measured here


class TwoTimeScales(Policy):
    """A planner's replicas, with routes from the present load and the capacity that is ready now.

    Shares are those of `best_quotas` for the load times the fast margin, and for working off within an interval what
    waits; so replicas that host several variants change between them at once. A kind that serves several services counts
    for each in proportion to their loads.

    The planner's own routes stay where the load, the queue or the ready replicas of a service are missing, where none
    is ready, and where a kind that it wants and that has no ready replica comes ready before the next decision: old
    replicas drain then, so that shares of what is ready now would not last the interval.

    Args:
        planner: decides the replicas; None: one of class `slow` with the settings given.
        fast_margin: factor on the present load, for bursts and for what comes before the next decision.
        settings: of `slow`, where no planner is given.

    Raises:
        ValueError: settings beside a planner, or a margin that is not above 0.
    """

    slow: type[Policy] = InfAdapter

    def __init__(self, planner: Policy | None = None, fast_margin: float = FAST_MARGIN, **settings: Any) -> None:
        if planner is not None and settings:
            raise ValueError(f"settings {', '.join(settings)}: give them to the planner itself")
        if not fast_margin > 0:
            raise ValueError(f"fast_margin {fast_margin}: give a factor above 0, such as 1.4")
        self.planner = planner if planner is not None else self.slow(**settings)
        self.fast_margin = fast_margin

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """Settings to calibrate: those of the planner, and the fast margin."""
        return {**cls.slow.space(scenario), "fast_margin": [1.0, 1.1, 1.2, 1.4, 1.6, 2.0]}

    def reset(self, scenario: Scenario) -> None:
        """Starts afresh on a scenario."""
        self._scenario, self.planner.limit_s = scenario, self.limit_s
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
        seen = observation.services[service]
        needed_rps = self.fast_margin * seen.offered_rps + seen.queue / observation.interval_s
        hosts = self._ready(service, observation)
        if math.isnan(needed_rps) or not hosts or self._changes_soon(service, wanted, observation):
            return {}
        quotas = best_quotas(hosts, max(needed_rps, LEAST_LOAD_RPS))
        carried_rps = sum(quotas.values())
        return {route: q / carried_rps for route, q in quotas.items() if q > 0}

    def _changes_soon(self, service: str, wanted: Deployment, observation: Observation) -> bool:
        """True where a kind without a ready replica gets its first one before the next decision."""
        for kind in wanted.replicas:
            seen = observation.kinds.get(kind)
            elsewhere = not set(kind.variants) & set(self._scenario.services[service].variants)
            if elsewhere or (seen is not None and seen.ready > 0):
                continue
            waited_s = seen.pending_s[0] if seen is not None and seen.pending_s else -self._scenario.decision_delay_s
            if sum(observation.load_s[v] for v in kind.variants) - waited_s < observation.interval_s:
                return True
        return False

    def _ready(self, service: str, observation: Observation) -> Hosts:
        """Kinds of a service with a ready replica, and what each of its variants could carry there."""
        hosts: Hosts = {}
        for kind, seen in observation.kinds.items():
            if not seen.ready > 0:
                continue
            variants = [v for v in self._scenario.services[service].variants if v in kind.variants]
            part = self._part(kind, service, observation) if variants else 0.0
            if part > 0:
                replicas = seen.ready * part
                hosts[kind] = [(v, replicas * self._scenario.capacity_rps(kind, v), self._scenario.variants[v].accuracy)
                               for v in variants]
        return hosts

    def _part(self, kind: ReplicaKind, service: str, observation: Observation) -> float:
        """A service's part of a kind that several services use."""
        sharing = [s for s, row in self._scenario.services.items() if set(row.variants) & set(kind.variants)]
        loads = {s: observation.services[s].offered_rps for s in sharing}
        total = sum(rps for rps in loads.values() if not math.isnan(rps))
        return loads[service] / total if len(sharing) > 1 and total > 0 else 1.0


class FastModelSwitchingPlus(TwoTimeScales):
    """Model-Switching+ on two time scales."""

    slow = ModelSwitchingPlus


class FastModelSwitching(TwoTimeScales):
    """Model-Switching on two time scales."""

    slow = ModelSwitching


class FastINFaaS(TwoTimeScales):
    """INFaaS on two time scales."""

    slow = INFaaS


def best_quotas(hosts: Hosts, load_rps: float) -> dict[Route, float]:
    """The load that each (kind, variant) should get for the greatest mean accuracy: a linear program, solved in closed form.

    maximise sum q_kv accuracy_v  subject to  sum q_kv = load  and, for each kind, sum_v q_kv / capacity_kv <= 1. A kind's best
    (capacity, capacity x accuracy) points form a concave hull; its pieces are taken by falling slope, the accuracy that one
    more request adds, until the load is met. With one variant on each kind: the most accurate first.

    Args:
        hosts: for each kind, its variants as (name, capacity in req/s when it serves nothing else, accuracy).
        load_rps: to be shared out; more than all capacity fills each kind with its fastest variant.

    Returns:
        Quotas, req/s; their sum falls short of the load where the capacities do.
    """
    pieces = []
    for kind, variants in hosts.items():
        for low, high in pairwise(_hull(variants)):
            pieces.append((_slope(low, high), kind, low, high))
    pieces.sort(key=lambda piece: -piece[0])
    quotas: dict[Route, float] = {}
    rest_rps = load_rps
    for _, kind, low, high in pieces:
        if rest_rps <= ROUNDING * load_rps:
            break
        part = min(1.0, rest_rps / (high[1] - low[1]))
        if low[0]:
            quotas[kind, low[0]] = (1 - part) * low[1]
        quotas[kind, high[0]] = part * high[1]
        rest_rps -= part * (high[1] - low[1])
    return quotas


def _hull(variants: Sequence[tuple[str, float, float]]) -> list[tuple[str, float, float]]:
    """The variants on the upper concave hull of (capacity, capacity x accuracy), by rising capacity, from nothing on."""
    hull: list[tuple[str, float, float]] = [("", 0.0, 0.0)]
    for variant in sorted(variants, key=lambda v: (v[1], -v[2])):
        if variant[1] <= hull[-1][1]:
            continue
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) <= _slope(hull[-2], variant):
            hull.pop()
        hull.append(variant)
    return hull


def _slope(low: tuple[str, float, float], high: tuple[str, float, float]) -> float:
    """Accuracy that one more request adds between two points."""
    return (high[1] * high[2] - low[1] * low[2]) / (high[1] - low[1])

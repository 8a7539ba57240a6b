"""MArk as a policy: one variant a service, on the instances that serve the forecast for least."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from baselines import mark_rules as rules
from baselines.forecasters import Forecaster, forecaster
from baselines.mark_rules import Instance
from baselines.single_variant import Scaled, all_scaled_for, pods_in, scaled_of
from envs.contract import Decision, Observation, Policy, ReplicaKind
from envs.scenario import Scenario

MARGIN = 1.2  # on the greatest load of the last minute
PEAK_S = 60.0
KEPT_PLANS = 6  # only what exceeds all of them goes


@dataclass
class _Planner:
    """What one service is served by, and what its planner remembers."""

    service: str
    types: list[Scaled]
    forecaster: Forecaster
    plans: deque[tuple[int, ...]]
    waited: int  # intervals since the last launch


class MArk(Policy):
    """MArk's proactive part, one for each service (rules and source: `baselines.mark_rules`).

    Instance types are the candidates that host the variant, whatever their device (of a sized one: its cores), at the devices'
    prices. The forecast is the greatest load of the last minute times `margin` at every step, as in the published program; the
    paper's learned forecaster may be had by name. MArk's serverless functions, which take what the plan misses, do not exist
    here.

    Args:
        variant: to serve; None: as `baselines.single_variant.scaled_of` chooses.
        margin: on the forecast.
        forecast: a forecaster's name; None: the greatest of the last minute.
        capacity_ratio: share of a pod's capacity to plan with.
        keep: plans, the greatest of which stays.
        cooldown: intervals after a launch without another one (the published program: 5; the paper has none).

    Raises:
        ValueError: on reset, where a service has no candidate within the budget.
    """

    def __init__(self, variant: str | None = None, margin: float = MARGIN, forecast: str | None = None,
                 capacity_ratio: float = 1.0, keep: int = KEPT_PLANS, cooldown: int = 0) -> None:
        self.variant, self.margin, self.forecast = variant, margin, forecast
        self.capacity_ratio, self.keep, self.cooldown = capacity_ratio, keep, cooldown

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """Settings to calibrate: variant, margin, forecaster, share of capacity, plans kept."""
        return {"variant": sorted({v for s in scenario.services.values() for v in s.variants}),
                "margin": [1.0, 1.1, 1.2, 1.4, 1.7], "forecast": [None, "last", "ewm", "ar"],
                "capacity_ratio": [0.7, 0.8, 0.9, 1.0], "keep": [1, 3, 6, 10]}

    def reset(self, scenario: Scenario) -> None:
        """Starts afresh: instance types, no plans."""
        self._scenario = scenario
        memory = max(1, math.ceil(PEAK_S / scenario.interval_s))
        self._planners = []
        for service in scenario.services:
            variant = scaled_of(scenario, service, self.variant, 1 / self.margin).variant
            loads = forecaster(self.forecast or "max", memory, self.margin)
            loads.reset(scenario.interval_s)
            types = all_scaled_for(scenario, service, variant)
            self._planners.append(_Planner(service, types, loads, deque(maxlen=max(1, self.keep)), self.cooldown))
        longest = max(p.forecaster.memory_intervals for p in self._planners)
        self.memory_intervals = longest + self.keep + self.cooldown

    def decide(self, observation: Observation) -> Decision:
        """One plan for each service."""
        replicas: dict[ReplicaKind, int] = {}
        reasons: list[str] = []
        details: dict[str, float] = {}
        for planner in self._planners:
            seen = observation.services[planner.service]
            planner.forecaster.observe(seen.offered_rps)
            load_rps = planner.forecaster.forecast()
            if math.isnan(load_rps):
                names = set(self._scenario.services[planner.service].variants)
                for kind, n in observation.deployment.replicas.items():
                    if names & set(kind.variants):
                        replicas[kind] = max(replicas.get(kind, 0), n)
                reasons.append(f"{planner.service}: no load observed yet: unchanged")
                continue
            pods = self._pods(planner, load_rps, observation)
            for scaled, n in zip(planner.types, pods):
                for kind, count in (scaled.replicas(scaled.rounded(n)) if n else {}).items():
                    replicas[kind] = max(replicas.get(kind, 0), count)
            carried = sum(n * t.capacity_rps for t, n in zip(planner.types, pods))
            details |= {f"forecast_rps_{planner.service}": load_rps, f"capacity_rps_{planner.service}": carried}
            short = "" if carried * self.capacity_ratio >= load_rps else ", more than there may be"
            reasons.append(f"{planner.service}: forecast {load_rps:.3g} req/s{short}: {' + '.join(map(str, pods))} pods")
        return Decision(replace(observation.deployment, replicas=replicas, routes={}), "; ".join(reasons), details)

    def _pods(self, planner: _Planner, load_rps: float, observation: Observation) -> tuple[int, ...]:
        """Pods of each type: the plan, and what the last plans keep; no launch while one cools down."""
        running = [pods_in(t, observation.deployment) for t in planner.types]
        types = [Instance(self.capacity_ratio * t.capacity_rps, self._price(t), t.most, now)
                 for t, now in zip(planner.types, running)]
        wanted = rules.plan(np.full(rules.STEPS, load_rps), types)
        planner.plans.append(wanted)
        kept = [max(plan[i] for plan in planner.plans) for i in range(len(types))]
        pods = tuple(max(want, min(now, keep)) for want, now, keep in zip(wanted, running, kept))
        planner.waited += 1
        if any(n > now for n, now in zip(pods, running)):
            if planner.waited <= self.cooldown:
                return tuple(min(n, now) if now else n for n, now in zip(pods, running))
            planner.waited = 0
        return pods if any(pods) else tuple(t.least if i == 0 else 0 for i, t in enumerate(planner.types))

    def _price(self, scaled: Scaled) -> float:
        """Of one pod, per second."""
        units = 1 if scaled.candidate.sized else scaled.candidate.kinds[0].shape.units
        return self._scenario.devices[scaled.candidate.device].price * units

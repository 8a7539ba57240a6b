"""The Kubernetes HorizontalPodAutoscaler as a policy: one variant a service, scaled to hold a metric at its target."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from baselines import hpa_rules
from baselines.hpa_rules import DEFAULT_DOWN, DEFAULT_UP, Recommendation, ScaleEvent, ScalingRules
from envs.contract import Decision, Observation, Policy, ReplicaKind
from envs.scenario import Candidate, Scenario


@dataclass
class _Scaler:
    """What one autoscaler scales, and what it remembers."""

    service: str
    variant: str
    candidate: Candidate
    most: int  # replicas, or cores of the one replica, that the budget and the candidate allow
    capacity_rps: float  # of one replica or core
    recommendations: deque[Recommendation] = field(default_factory=deque)
    events: deque[ScaleEvent] = field(default_factory=deque)

    def pods(self, kind: ReplicaKind) -> int:
        """Kubernetes pods that one replica of a kind stands for."""
        return kind.shape.cores if self.candidate.sized else 1

    @property
    def least(self) -> int:
        return self.pods(self.candidate.kinds[0])

    def rounded(self, pods: int) -> int:
        """The next size up, of a sized candidate."""
        sizes = [self.pods(k) for k in self.candidate.kinds if self.pods(k) <= self.most]
        return next((size for size in sizes if size >= pods), sizes[-1]) if self.candidate.sized else pods

    def replicas(self, pods: int) -> dict[ReplicaKind, int]:
        """The deployment of a (rounded) number of pods."""
        if not self.candidate.sized:
            return {self.candidate.kinds[0]: pods}
        return {next(k for k in self.candidate.kinds if self.pods(k) == pods): 1}

    def remember(self, t_s: float, recommended: int, change: int, up: ScalingRules, down: ScalingRules) -> None:
        self.recommendations.append(Recommendation(t_s, recommended))
        if change:
            self.events.append(ScaleEvent(t_s, change))
        while self.recommendations[0].t_s <= t_s - max(up.window_s, down.window_s, 1e-9) and len(self.recommendations) > 1:
            self.recommendations.popleft()
        longest_s = max((p.period_s for p in (*up.policies, *down.policies)), default=0.0)
        while self.events and self.events[0].t_s <= t_s - longest_s:
            self.events.popleft()


class HPA(Policy):
    """Kubernetes' horizontal autoscaler, one for each service (rules and sources: `baselines.hpa_rules`).

    It scales one candidate of a service and gives up all other kinds. Where the candidate is a count, a pod is a replica.
    Where it is a size, a pod is a *core*: HPA proper would add one-core pods; here the one replica of n cores is resized
    (to the next size up), since capacity per core is what is scaled, and a resize loads a new replica, as a pod would.

    Pods asked for that are not ready count as unready pods. An observation tells the mean of a kind, not each pod's
    metric, so that the mean stands for all its ready pods. The controller runs once each interval (Kubernetes: 15 s) and
    leaves the scale alone while the metric is missing. No routes: there is one kind to go to.

    Args:
        variant: the variant to scale; None, or one that a service does not have: the most accurate whose candidate carries the
            mean load of the workload on the whole budget at the target (without a known mean: the one deployed at first).
        metric: ``busy`` (utilisation of ready servers, Kubernetes' CPU metric) or ``rps`` (offered load per pod).
        target: wanted utilisation; for ``rps`` the wanted share of a pod's capacity.
        window_s: stabilisation window downwards, seconds (Kubernetes: 300).
        up: behaviour upwards (default: Kubernetes' own).
        down: behaviour downwards, but for the window (default: Kubernetes' own).

    Raises:
        ValueError: on reset, where a service has no candidate within the budget.
    """

    def __init__(self, variant: str | None = None, metric: Literal["busy", "rps"] = "busy", target: float = 0.8,
                 window_s: float = 300, up: ScalingRules = DEFAULT_UP, down: ScalingRules = DEFAULT_DOWN) -> None:
        if metric not in ("busy", "rps"):
            raise ValueError(f"metric '{metric}': give 'busy' or 'rps'")
        if not target > 0:
            raise ValueError(f"target {target}: give a share above 0, such as 0.8")
        self.variant, self.metric, self.target = variant, metric, target
        self.up, self.down = up, replace(down, window_s=window_s)

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """Settings to calibrate: variant, metric, target, window downwards."""
        return {"variant": sorted({v for s in scenario.services.values() for v in s.variants}), "metric": ["busy", "rps"],
                "target": [0.4, 0.5, 0.6, 0.7, 0.8, 0.9], "window_s": [0, 60, 120, 300]}

    def reset(self, scenario: Scenario) -> None:
        """Starts afresh; chooses what to scale for each service."""
        self._scenario = scenario
        self._scalers = [_scaler(scenario, name, self.variant, self.target) for name in scenario.services]
        periods_s = [p.period_s for p in (*self.up.policies, *self.down.policies)]
        self.memory_intervals = math.ceil(max(self.up.window_s, self.down.window_s, *periods_s) / scenario.interval_s)

    def decide(self, observation: Observation) -> Decision:
        """One run of the controller for each service."""
        replicas: dict[ReplicaKind, int] = {}
        reasons, details = [], {}
        for scaler in self._scalers:
            current = sum(scaler.pods(k) * observation.deployment.replicas.get(k, 0) for k in scaler.candidate.kinds)
            pods, reason = self._run(scaler, current, observation)
            kept = {k: n for k, n in observation.deployment.replicas.items() if _hosts(k, scaler.service, self._scenario)}
            for kind, n in (kept if pods is None else scaler.replicas(pods)).items():
                replicas[kind] = max(replicas.get(kind, 0), n)
            details[f"pods_{scaler.service}"] = float(current if pods is None else pods)
            reasons.append(f"{scaler.service}: {reason}")
        return Decision(replace(observation.deployment, replicas=replicas, routes={}), "; ".join(reasons), details)

    def _run(self, scaler: _Scaler, current: int, observation: Observation) -> tuple[int | None, str]:
        """Pods wanted (None: leave all as it is), and why."""
        t_s, offered_rps = observation.t_s, observation.services[scaler.service].offered_rps
        if not current:
            return _first(scaler, offered_rps, self.target)
        ready, value = _metric(scaler, observation, self.metric)
        if not ready or math.isnan(value):
            return None, "no ready pod has a metric: unchanged"
        if not scaler.recommendations:
            scaler.recommendations.append(Recommendation(t_s, current))
        target = self.target if self.metric == "busy" else self.target * scaler.capacity_rps
        wanted = hpa_rules.desired_replicas(current, [value] * ready, target, unready=max(0, current - ready),
                                            up=self.up, down=self.down)
        stable = hpa_rules.stabilised(current, wanted, scaler.recommendations, t_s, self.up, self.down)
        limited = hpa_rules.limited(current, stable, scaler.events, t_s, scaler.least, scaler.most, self.up, self.down)
        pods = scaler.rounded(limited)
        scaler.remember(t_s, wanted, pods - current, self.up, self.down)
        return pods, f"{self.metric} {value:.3g} of {target:.3g}, {current} -> {pods} pods (asked for {wanted})"


def _first(scaler: _Scaler, offered_rps: float, target: float) -> tuple[int | None, str]:
    """A start for a candidate that is not deployed yet: pods that carry the offered load at the target."""
    if math.isnan(offered_rps):
        return None, "offered load is missing: unchanged"
    needed = math.ceil(offered_rps / (target * scaler.capacity_rps))
    pods = scaler.rounded(min(max(needed, scaler.least), scaler.most))
    return pods, f"{scaler.variant} starts with {pods} pods for {offered_rps:.3g} req/s"


def _metric(scaler: _Scaler, observation: Observation, metric: str) -> tuple[int, float]:
    """Ready pods that have the metric, and its mean over them (0 pods: nan)."""
    seen = [(observation.kinds[k], scaler.pods(k)) for k in scaler.candidate.kinds if k in observation.kinds]
    pods = [(int(kind.ready) * size, kind.busy_ratio) for kind, size in seen if kind.ready > 0]
    if metric == "busy":
        pods = [(n, busy) for n, busy in pods if not math.isnan(busy)]
    ready = sum(n for n, _ in pods)
    if not ready:
        return 0, math.nan
    if metric == "rps":
        return ready, observation.services[scaler.service].offered_rps / ready
    return ready, sum(n * busy for n, busy in pods) / ready


def _hosts(kind: ReplicaKind, service: str, scenario: Scenario) -> bool:
    return any(v in scenario.services[service].variants for v in kind.variants)


def _scaler(scenario: Scenario, service: str, variant: str | None, target: float) -> _Scaler:
    """The candidate that a service's autoscaler scales."""
    choices = [made for c in scenario.candidates if (made := _choice(scenario, service, c))]
    if not choices:
        raise ValueError(f"service '{service}': no candidate of scenario '{scenario.name}' hosts it within the budget")
    named = [c for c in choices if c.variant == variant]
    if named:
        return max(named, key=_full_rps)
    application = next(name for name, a in scenario.applications.items() if service in a.services)
    workload = scenario.workload.get(application)
    if workload is None or workload.mean_rps is None:
        running = scenario.initial_deployment.replicas
        return max(choices, key=lambda c: sum(k.shape.units * running.get(k, 0) for k in c.candidate.kinds))
    carrying = [c for c in choices if target * _full_rps(c) >= workload.mean_rps]
    if not carrying:
        return max(choices, key=_full_rps)
    return max(carrying, key=lambda c: (scenario.variants[c.variant].accuracy, _full_rps(c)))


def _choice(scenario: Scenario, service: str, candidate: Candidate) -> _Scaler | None:
    """A candidate as something to scale, or None where it does not host the service within the budget."""
    variant = next((v for v in scenario.services[service].variants if v in candidate.variants), None)
    budget = scenario.devices[candidate.device].budget
    fitting = [k for k in candidate.kinds if k.shape.units <= budget]
    if variant is None or not fitting:
        return None
    largest = fitting[-1]
    capacity_rps = scenario.capacity_rps(largest, variant)
    if candidate.sized:
        return _Scaler(service, variant, candidate, largest.shape.cores, capacity_rps / largest.shape.cores)
    return _Scaler(service, variant, candidate, min(candidate.max_count, budget // largest.shape.units), capacity_rps)


def _full_rps(scaler: _Scaler) -> float:
    return scaler.most * scaler.capacity_rps

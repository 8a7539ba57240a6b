"""The Kubernetes HorizontalPodAutoscaler as a policy: one variant a service, scaled to hold a metric at its target."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from baselines import hpa_rules
from baselines.hpa_rules import DEFAULT_DOWN, DEFAULT_UP, Recommendation, ScaleEvent, ScalingRules
from baselines.single_variant import Scaled, SingleVariant, Wanted, busy_pods, ready_pods
from envs.contract import Observation
from envs.scenario import Scenario


@dataclass
class _Memory:
    """What one autoscaler remembers."""

    recommendations: deque[Recommendation] = field(default_factory=deque)
    events: deque[ScaleEvent] = field(default_factory=deque)

    def add(self, t_s: float, recommended: int, change: int, up: ScalingRules, down: ScalingRules) -> None:
        self.recommendations.append(Recommendation(t_s, recommended))
        if change:
            self.events.append(ScaleEvent(t_s, change))
        while self.recommendations[0].t_s <= t_s - max(up.window_s, down.window_s, 1e-9) and len(self.recommendations) > 1:
            self.recommendations.popleft()
        longest_s = max((p.period_s for p in (*up.policies, *down.policies)), default=0.0)
        while self.events and self.events[0].t_s <= t_s - longest_s:
            self.events.popleft()


class HPA(SingleVariant):
    """Kubernetes' horizontal autoscaler, one for each service (rules and sources: `baselines.hpa_rules`).

    Pods asked for that are not ready count as unready pods. An observation tells the mean of a kind, not each pod's
    metric, so that the mean stands for all its ready pods. The controller runs once each interval (Kubernetes: 15 s) and
    leaves the scale alone while the metric is missing.

    Args:
        variant: the variant to scale (see `SingleVariant`).
        metric: ``busy`` (utilisation of ready servers, Kubernetes' CPU metric) or ``rps`` (offered load per pod); ``both``:
            the metric that asks for more pods counts.
        target: wanted utilisation; for ``rps`` the wanted share of a pod's capacity.
        window_s: stabilisation window downwards, seconds (Kubernetes: 300).
        up: behaviour upwards (default: Kubernetes' own).
        down: behaviour downwards, but for the window (default: Kubernetes' own).

    Raises:
        ValueError: an unknown metric, or as `SingleVariant`.
    """

    needs_profile = False

    def __init__(self, variant: str | None = None, metric: Literal["busy", "rps", "both"] = "busy", target: float = 0.8,
                 window_s: float = 300, up: ScalingRules = DEFAULT_UP, down: ScalingRules = DEFAULT_DOWN) -> None:
        super().__init__(variant, target)
        if metric not in ("busy", "rps", "both"):
            raise ValueError(f"metric '{metric}': give 'busy', 'rps' or 'both'")
        self.metric = metric
        self.up, self.down = up, replace(down, window_s=window_s)

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """Settings to calibrate: variant, metric, target, window downwards."""
        return {"variant": sorted({v for s in scenario.services.values() for v in s.variants}), "metric": ["busy", "rps"],
                "target": [0.4, 0.5, 0.6, 0.7, 0.8, 0.9], "window_s": [0, 60, 120, 300]}

    def restart(self) -> None:
        """Forgets recommendations and changes."""
        self._memory = {scaled.service: _Memory() for scaled in self.scaled}
        periods_s = [p.period_s for p in (*self.up.policies, *self.down.policies)]
        self.memory_intervals = math.ceil(max(self.up.window_s, self.down.window_s, *periods_s) / self.scenario.interval_s)

    def scale(self, scaled: Scaled, current: int, observation: Observation) -> Wanted:
        """One run of the controller."""
        t_s, memory = observation.t_s, self._memory[scaled.service]
        asked = [self._asked(metric, scaled, current, observation) for metric in
                 (("busy", "rps") if self.metric == "both" else (self.metric,))]
        known = [(wanted, told) for wanted, told in asked if wanted is not None]
        if not known or (len(known) < len(asked) and max(wanted for wanted, _ in known) < current):
            return None, "no ready pod has a metric: unchanged"  # with one metric missing the controller only scales up
        wanted, told = max(known)
        if not memory.recommendations:
            memory.recommendations.append(Recommendation(t_s, current))
        stable = hpa_rules.stabilised(current, wanted, memory.recommendations, t_s, self.up, self.down)
        limited = hpa_rules.limited(current, stable, memory.events, t_s, scaled.least, scaled.most, self.up, self.down)
        pods = scaled.rounded(limited)
        memory.add(t_s, wanted, pods - current, self.up, self.down)
        return pods, f"{told}, {current} -> {pods} pods (asked for {wanted})"

    def _asked(self, metric: str, scaled: Scaled, current: int, observation: Observation) -> tuple[int | None, str]:
        """Pods that one metric asks for (None: it is missing), and what it was."""
        if metric == "busy":
            ready, busy = busy_pods(scaled, observation)
            value, target = busy / ready if ready else math.nan, self.target
        else:
            ready = ready_pods(scaled, observation)
            value = observation.services[scaled.service].offered_rps / ready if ready else math.nan
            target = self.target * scaled.capacity_rps
        if math.isnan(value):
            return None, ""
        wanted = hpa_rules.desired_replicas(current, [value] * ready, target, unready=max(0, current - ready),
                                            up=self.up, down=self.down)
        return wanted, f"{metric} {value:.3g} of {target:.3g}"

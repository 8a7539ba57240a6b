"""Target tracking, the cloud's classic: two alarms on one metric, capacity in proportion, cool-downs.

Source: AWS Application Auto Scaling, user guide, "How target tracking scaling works", and the CloudWatch alarms that it
creates: above the target for three points of a minute; below nine tenths of it for fifteen. SageMaker endpoints are scaled by
it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from baselines.single_variant import Scaled, SingleVariant, Wanted, busy_pods, ready_pods
from envs.contract import Observation
from envs.scenario import Scenario

OUT_AFTER_S, IN_AFTER_S = 180.0, 900.0  # three and fifteen points of a minute
LOW_RATIO = 0.9  # of the target, below which the low alarm's points lie
COOLDOWN_S = 300.0


@dataclass(frozen=True)
class Activity:
    """The last time that capacity was added or removed, and how much there was then."""

    t_s: float = -math.inf
    pods: int = 0


def alarms(metrics: Sequence[float], target: float, interval_s: float, out_after_s: float = OUT_AFTER_S,
           in_after_s: float = IN_AFTER_S) -> tuple[bool, bool]:
    """Whether the high and the low alarm ring: as many of the last points lie beyond as their time has intervals."""
    out, low = (max(1, round(after / interval_s)) for after in (out_after_s, in_after_s))
    high_rings = len(metrics) >= out and all(value > target for value in metrics[-out:])
    low_rings = len(metrics) >= low and all(value < LOW_RATIO * target for value in metrics[-low:])
    return high_rings, low_rings


def adjusted(current: int, metric: float, target: float, rings: tuple[bool, bool], t_s: float, added: Activity,
             removed: Activity, out_cooldown_s: float = COOLDOWN_S, in_cooldown_s: float = COOLDOWN_S) -> int:
    """Capacity in proportion to the metric, where an alarm rings and its cool-down is over.

    While the cool-down of an addition lasts, what was added counts as capacity on its way: only a greater need adds to it. A
    removal's cool-down holds up removals only.

    Args:
        current: pods.
        metric: its last value, per pod.
        target: of it.
        rings: the high and the low alarm.
        t_s: now.
        added: the last addition.
        removed: the last removal.
        out_cooldown_s: after an addition.
        in_cooldown_s: after a removal.
    """
    high, low = rings
    if high:
        wanted = math.ceil(current * metric / target - 1e-9)
        cooling = t_s < added.t_s + out_cooldown_s
        return max(current, wanted if not cooling or wanted > added.pods else current)
    if low and t_s >= max(added.t_s + out_cooldown_s, removed.t_s + in_cooldown_s):
        return min(current, max(1, math.ceil(current * metric / target - 1e-9)))
    return current


@dataclass
class _Memory:
    """What one policy remembers."""

    metrics: deque[float]
    added: Activity = field(default_factory=Activity)
    removed: Activity = field(default_factory=Activity)


class TargetTracking(SingleVariant):
    """Target tracking, one for each service.

    A point of an alarm is one interval (CloudWatch: a minute); a missing one breaks no alarm's row and adds nothing to it.

    Args:
        variant: the variant to scale (see `SingleVariant`).
        metric: ``rps`` (load per pod, as SageMaker's invocations per instance) or ``busy`` (utilisation).
        target: wanted share of a pod's capacity (``rps``), or utilisation.
        out_after_s: how long the metric is above the target before capacity is added.
        in_after_s: how long it is below nine tenths of it before capacity is removed.
        cooldown_s: after each change.

    Raises:
        ValueError: an unknown metric, or as `SingleVariant`.
    """

    needs_profile = False

    def __init__(self, variant: str | None = None, metric: Literal["rps", "busy"] = "rps", target: float = 0.7,
                 out_after_s: float = OUT_AFTER_S, in_after_s: float = IN_AFTER_S, cooldown_s: float = COOLDOWN_S) -> None:
        super().__init__(variant, target)
        if metric not in ("rps", "busy"):
            raise ValueError(f"metric '{metric}': give 'rps' or 'busy'")
        self.metric, self.out_after_s, self.in_after_s, self.cooldown_s = metric, out_after_s, in_after_s, cooldown_s

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """Settings to calibrate: variant, metric, target, the alarms' times, cool-down."""
        return {"variant": sorted({v for s in scenario.services.values() for v in s.variants}), "metric": ["rps", "busy"],
                "target": [0.4, 0.5, 0.6, 0.7, 0.8, 0.9], "out_after_s": [30, 60, 180], "in_after_s": [60, 180, 300, 900],
                "cooldown_s": [0, 60, 300]}

    def restart(self) -> None:
        """Forgets everything."""
        interval_s = self.scenario.interval_s
        longest = max(1, *(round(after / interval_s) for after in (self.out_after_s, self.in_after_s)))
        self._memory = {scaled.service: _Memory(deque(maxlen=longest)) for scaled in self.scaled}
        self.memory_intervals = math.ceil((max(self.out_after_s, self.in_after_s) + self.cooldown_s) / interval_s) + 1

    def scale(self, scaled: Scaled, current: int, observation: Observation) -> Wanted:
        """Both alarms, then what they ask for."""
        memory, t_s = self._memory[scaled.service], observation.t_s
        value = self._value(scaled, observation)
        if math.isnan(value):
            return None, f"{self.metric} is missing: unchanged"
        target = self.target * (scaled.capacity_rps if self.metric == "rps" else 1.0)
        memory.metrics.append(value)
        rings = alarms(list(memory.metrics), target, self.scenario.interval_s, self.out_after_s, self.in_after_s)
        wanted = adjusted(current, value, target, rings, t_s, memory.added, memory.removed, self.cooldown_s, self.cooldown_s)
        pods = scaled.rounded(wanted) if wanted != current else current
        if pods > current:
            memory.added = Activity(t_s, pods)
        elif pods < current:
            memory.removed = Activity(t_s, pods)
        told = "high alarm" if rings[0] else "low alarm" if rings[1] else "no alarm"
        return pods, f"{self.metric} {value:.3g} of {target:.3g} a pod, {told}: {current} -> {pods} pods"

    def _value(self, scaled: Scaled, observation: Observation) -> float:
        """The metric of one pod."""
        if self.metric == "busy":
            pods, busy = busy_pods(scaled, observation)
            return busy / pods if pods else math.nan
        ready = ready_pods(scaled, observation)
        return observation.services[scaled.service].offered_rps / ready if ready else math.nan

"""The Kubernetes HorizontalPodAutoscaler's rules, as pure functions of what it has seen.

Source: the controller's documentation ("Horizontal Pod Autoscaling", kubernetes.io) and its source
(pkg/controller/podautoscaler), API autoscaling/v2: from a metric to a recommendation, from recent recommendations to a stable
one, and from recent changes to the most that may change now. Times are seconds on one clock; an event at time u is inside a
window of w seconds at time t where u > t - w.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

TOLERANCE = 0.1  # --horizontal-pod-autoscaler-tolerance
ROUNDING = 1e-9  # the controller computes in whole milli-units; here a ratio may be a hair off in binary


@dataclass(frozen=True)
class ScalingPolicy:
    """How much may change per period: a number of pods, or a percentage of the pods at the start of the period."""

    kind: Literal["pods", "percent"]
    value: float
    period_s: float


@dataclass(frozen=True)
class ScalingRules:
    """Behaviour in one direction.

    Attributes:
        policies: limits on the change; `select` says which one counts: ``max`` (the greatest change), ``min``, or
        ``disabled``. window_s: stabilisation window, seconds.
        tolerance: ratios of metric to target within 1 +- tolerance change nothing.
    """

    policies: tuple[ScalingPolicy, ...]
    window_s: float
    select: Literal["max", "min", "disabled"] = "max"
    tolerance: float = TOLERANCE


DEFAULT_UP = ScalingRules((ScalingPolicy("pods", 4, 15), ScalingPolicy("percent", 100, 15)), window_s=0)
DEFAULT_DOWN = ScalingRules((ScalingPolicy("percent", 100, 15),), window_s=300)


@dataclass(frozen=True)
class Recommendation:
    """What the metric asked for at a time."""

    t_s: float
    replicas: int


@dataclass(frozen=True)
class ScaleEvent:
    """Replicas added (change > 0) or removed (change < 0) at a time."""

    t_s: float
    change: int


def desired_replicas(current: int, values: Sequence[float], target: float, *, missing: int = 0, unready: int = 0,
                     missing_value: float | None = None, up: ScalingRules = DEFAULT_UP,
                     down: ScalingRules = DEFAULT_DOWN) -> int:
    """Replicas that bring the mean of a metric to its target: ceil(ready x mean / target), with tolerance.

    Pods without a metric count as 0 where the ratio is above 1, and as `missing_value` where it is below; unready pods count
    as 0 where the ratio is above 1 and not at all otherwise. If that turns the direction round, or brings the ratio within the
    tolerance, nothing changes.

    Args:
        current: replicas asked for now.
        values: the metric of each ready pod that has one.
        target: wanted mean of the metric, > 0.
        missing: ready pods without a metric.
        unready: pods that are not ready yet.
        missing_value: what a pod without a metric counts on the way down (None: the target; for CPU utilisation the
            controller takes max(1, target), the whole request).
        up: behaviour upwards; only the tolerance is used.
        down: behaviour downwards; only the tolerance is used.

    Raises:
        ValueError: no pod has a metric; the controller then leaves the scale alone.
    """
    if not values:
        raise ValueError("no ready pod has a metric")

    def near(ratio: float) -> bool:
        return 1 - down.tolerance - ROUNDING <= ratio <= 1 + up.tolerance + ROUNDING

    ratio = sum(values) / len(values) / target
    counted = list(values)
    if not missing and not (unready and ratio > 1):
        return current if near(ratio) else math.ceil(_exactly(ratio * len(values)))
    if ratio < 1:
        counted += [target if missing_value is None else missing_value] * missing
    elif ratio > 1:
        counted += [0.0] * (missing + unready)
    again = sum(counted) / len(counted) / target
    if near(again) or (ratio < 1 < again) or (again < 1 < ratio):
        return current
    replicas = math.ceil(_exactly(again * len(counted)))
    turned = (again < 1 and replicas > current) or (again > 1 and replicas < current)
    return current if turned else replicas


def _exactly(replicas: float) -> float:
    """A whole number where rounding left it a hair beside one."""
    return round(replicas) if abs(replicas - round(replicas)) < ROUNDING * max(1.0, replicas) else replicas


def stabilised(current: int, desired: int, recommendations: Iterable[Recommendation], t_s: float,
               up: ScalingRules = DEFAULT_UP, down: ScalingRules = DEFAULT_DOWN) -> int:
    """The recommendation that the windows allow.

    Up at most to the lowest recommendation of the up window, down at most to the highest of the down window, this one
    included.

    Args:
        current: replicas asked for now.
        desired: what the metric asks for now.
        recommendations: what it asked for before, not stabilised.
        t_s: now.
        up: behaviour upwards; only the window is used.
        down: behaviour downwards; only the window is used.
    """
    lowest = highest = desired
    for r in recommendations:
        if r.t_s > t_s - up.window_s:
            lowest = min(lowest, r.replicas)
        if r.t_s > t_s - down.window_s:
            highest = max(highest, r.replicas)
    return min(max(current, lowest), highest)


def scale_up_limit(current: int, events: Iterable[ScaleEvent], t_s: float, rules: ScalingRules = DEFAULT_UP) -> int:
    """The most replicas that the policies allow now, at least the current number."""
    if rules.select == "disabled":
        return current
    past = tuple(events)
    limits = []
    for policy in rules.policies:
        start = current - _net_change(past, t_s, policy.period_s)
        limits.append(start + int(policy.value) if policy.kind == "pods"
                      else math.ceil(_exactly(start * (1 + policy.value / 100))))
    return max(current, max(limits) if rules.select == "max" else min(limits))


def scale_down_limit(current: int, events: Iterable[ScaleEvent], t_s: float, rules: ScalingRules = DEFAULT_DOWN) -> int:
    """The fewest replicas that the policies allow now, at most the current number."""
    if rules.select == "disabled":
        return current
    past = tuple(events)
    limits = []
    for policy in rules.policies:
        start = current - _net_change(past, t_s, policy.period_s)
        limits.append(start - int(policy.value) if policy.kind == "pods"
                      else math.floor(_exactly(start * (1 - policy.value / 100))))
    return min(current, min(limits) if rules.select == "max" else max(limits))


def _net_change(events: Sequence[ScaleEvent], t_s: float, period_s: float) -> int:
    return sum(e.change for e in events if e.t_s > t_s - period_s)


def limited(current: int, desired: int, events: Iterable[ScaleEvent], t_s: float, least: int, most: int,
            up: ScalingRules = DEFAULT_UP, down: ScalingRules = DEFAULT_DOWN) -> int:
    """A stable recommendation within the scaling policies and within [least, most] replicas."""
    if desired > current:
        return min(desired, most, scale_up_limit(current, events, t_s, up))
    if desired < current:
        return max(desired, least, scale_down_limit(current, events, t_s, down))
    return desired

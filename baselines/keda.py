"""KEDA's rules as a policy: one variant a service, scaled on requests waiting and on load, as KEDA's triggers do it.

Source: KEDA's documentation ("Scaling Deployments", keda.sh) and the Kubernetes controller that it hands its metrics to
(pkg/controller/podautoscaler, external metrics of type AverageValue): the sum of a metric over its target, not per-pod
numbers; among triggers the one that asks for most counts. KEDA itself moves only between none and one; from one on the
controller does, with its tolerance, and its stabilisation of 300 s downwards. Here a service keeps at least one pod, so that
KEDA's own cool-down, from one to none, never comes to pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from baselines import hpa_rules
from baselines.hpa import HPA
from baselines.hpa_rules import DEFAULT_DOWN, DEFAULT_UP, TOLERANCE
from baselines.single_variant import Scaled, Wanted
from envs.contract import Observation
from envs.scenario import Scenario

POLL_S = 30.0  # pollingInterval
WAITING = 5.0  # requests waiting per pod: the threshold of vLLM's production stack


def external_replicas(current: int, total: float, target: float) -> int:
    """Pods for an external metric: its sum over the target of a pod, unchanged within the tolerance."""
    ratio = total / (target * current)
    return current if abs(ratio - 1) <= TOLERANCE else max(1, math.ceil(total / target - hpa_rules.ROUNDING))


class KEDA(HPA):
    """Two triggers for each service: requests that wait, and load.

    Args:
        variant: the variant to scale (see `SingleVariant`).
        target: wanted share of a pod's capacity, for the load.
        waiting: requests waiting per pod that the other trigger aims at.
        poll_s: between two looks; between them nothing changes.
        window_s: the controller's stabilisation downwards.

    Raises:
        ValueError: a number that is not above 0.
    """

    def __init__(self, variant: str | None = None, target: float = 0.8, waiting: float = WAITING, poll_s: float = POLL_S,
                 window_s: float = 300) -> None:
        super().__init__(variant, "rps", target, window_s, DEFAULT_UP, DEFAULT_DOWN)
        if not (waiting > 0 and poll_s > 0):
            raise ValueError(f"waiting {waiting}, poll_s {poll_s}: give numbers above 0")
        self.waiting, self.poll_s = waiting, poll_s

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """Settings to calibrate: variant, both targets, stabilisation."""
        return {"variant": sorted({v for s in scenario.services.values() for v in s.variants}),
                "target": [0.4, 0.5, 0.6, 0.7, 0.8, 0.9], "waiting": [1.0, 2.0, 5.0, 10.0], "window_s": [0, 60, 120, 300]}

    def restart(self) -> None:
        """Forgets everything."""
        super().restart()
        self._polled_s = {scaled.service: -math.inf for scaled in self.scaled}

    def scale(self, scaled: Scaled, current: int, observation: Observation) -> Wanted:
        """One poll, where it is time for one."""
        if observation.t_s < self._polled_s[scaled.service] + self.poll_s - 1e-6:
            return None, "between two polls"
        self._polled_s[scaled.service] = observation.t_s
        seen, t_s, memory = observation.services[scaled.service], observation.t_s, self._memory[scaled.service]
        totals = {"load": (seen.offered_rps, self.target * scaled.capacity_rps), "waiting": (seen.queue, self.waiting)}
        asked = {name: external_replicas(current, total, target) for name, (total, target) in totals.items()
                 if not math.isnan(total)}  # fmt: skip
        if not asked or (len(asked) < len(totals) and max(asked.values()) < current):
            return None, "a trigger has no metric: unchanged"
        by, wanted = max(asked.items(), key=lambda item: item[1])
        if not memory.recommendations:
            memory.recommendations.append(hpa_rules.Recommendation(t_s, current))
        stable = hpa_rules.stabilised(current, wanted, memory.recommendations, t_s, self.up, self.down)
        limited = hpa_rules.limited(current, stable, memory.events, t_s, scaled.least, scaled.most, self.up, self.down)
        pods = scaled.rounded(limited)
        memory.add(t_s, wanted, pods - current, self.up, self.down)
        return pods, f"{by} {totals[by][0]:.3g}, {totals[by][1]:.3g} a pod: {current} -> {pods} pods (asked for {wanted})"

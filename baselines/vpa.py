"""VPA+: one variant on one pod, whose cores follow the Kubernetes VerticalPodAutoscaler's recommender.

Source: the baseline of that name in InfAdapter (Salmani et al., EuroMLSys 2023): the recommender (`baselines.vpa_rules`), its
target rounded up to whole cores, and a new pod that is ready before the old one goes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from baselines.single_variant import Scaled, SingleVariant, Wanted, busy_pods
from baselines.vpa_rules import HALF_LIFE_S, MARGIN, TARGET, Recommender
from envs.contract import Observation
from envs.scenario import Scenario

STARTING_TARGET = 1 / (1 + MARGIN)  # share of a pod's capacity in use when the margin is just met
HALF_LIVES = 3  # of history that a restart needs: what is older weighs an eighth


class VPA(SingleVariant):
    """Resizes one candidate of each service to the recommended cores (of a counted candidate: to as many replicas).

    One sample an interval: ready servers times the share of them that was busy. A missing one is left out.

    Args:
        variant: the variant to scale (see `SingleVariant`).
        mode: ``target``: the size follows the target (InfAdapter's), and shrinks only after `hold` intervals that asked for
            less; ``bounds``: it moves to the target only from outside the recommender's bounds, as the VPA's updater does.
        hold: intervals, for ``target`` (InfAdapter: 4).
        percentile: of use, which the target covers.
        margin: on it.
        half_life_s: in which a sample loses half of its weight.

    Raises:
        ValueError: an unknown mode, or as `SingleVariant`.
    """

    def __init__(self, variant: str | None = None, mode: Literal["target", "bounds"] = "target", hold: int = 4,
                 percentile: float = TARGET, margin: float = MARGIN, half_life_s: float = HALF_LIFE_S) -> None:
        super().__init__(variant, STARTING_TARGET)
        if mode not in ("target", "bounds"):
            raise ValueError(f"mode '{mode}': give 'target' or 'bounds'")
        self.mode, self.hold = mode, hold
        self.percentile, self.margin, self.half_life_s = percentile, margin, half_life_s

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """Settings to calibrate: variant, hold, percentile, margin, half-life."""
        return {"variant": sorted({v for s in scenario.services.values() for v in s.variants}), "mode": ["target", "bounds"],
                "hold": [0, 2, 4, 8], "percentile": [0.8, 0.9, 0.95, 0.99], "margin": [0.0, 0.15, 0.3, 0.6, 1.0],
                "half_life_s": [300, 1200, 3600, 86_400]}

    def restart(self) -> None:
        """Forgets all use."""
        self._recommenders = {s.service: Recommender(self.half_life_s, self.percentile, self.margin) for s in self.scaled}
        self._holds = {s.service: 0 for s in self.scaled}
        self.memory_intervals = math.ceil(HALF_LIVES * self.half_life_s / self.scenario.interval_s) + self.hold

    def scale(self, scaled: Scaled, current: int, observation: Observation) -> Wanted:
        """One run of the recommender, and of what acts on it."""
        recommender = self._recommenders[scaled.service]
        ready, busy = busy_pods(scaled, observation)
        if not ready:
            return None, "the use of cores is missing: unchanged"
        recommender.observe(busy, current, observation.t_s)
        said = recommender.recommend()
        told = f"{busy:.3g} of {ready} busy, target {said.target:.3g} [{said.lower:.3g}, {said.upper:.3g}]"
        pods = scaled.rounded(math.ceil(said.target))
        if self.mode == "bounds":
            outside = not said.lower <= current <= said.upper
            return (pods if outside else current), f"{told}: {'' if outside else 'inside, '}{current} -> {pods}"
        if pods < current and self._holds[scaled.service] < self.hold:
            self._holds[scaled.service] += 1
            return current, f"{told}: hold {self._holds[scaled.service]} of {self.hold}"
        self._holds[scaled.service] = 0
        return pods, f"{told}: {current} -> {pods}"

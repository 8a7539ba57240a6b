"""Autopilot's recommenders as a policy: one variant a service, with as many pods as use is recommended to need."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from baselines import autopilot_rules as rules
from baselines.single_variant import Scaled, SingleVariant, Wanted, busy_pods
from envs.contract import Observation
from envs.scenario import Scenario

WINDOW_S, HOLD_S = 900.0, 3600.0
MARGIN = 0.15
PERCENT = 95.0  # of the load of a serving job
METHODS = ("peak", "average", "percentile", "ensemble")


class _Memory:
    """What one recommender remembers: use, and what was recommended."""

    def __init__(self, window: int, hold: int, most: int) -> None:
        self.use: deque[float] = deque(maxlen=window)
        self.recommended: deque[float] = deque(maxlen=hold)
        self.ensemble = rules.Ensemble(most)


class Autopilot(SingleVariant):
    """Autopilot, one for each service (rules and source: `baselines.autopilot_rules`).

    Use is that of ready pods, in busy pods. The recommendation, times 1 + `margin` (the ensemble has margins of its own), is
    held at the greatest of the last `hold_s`. Whether pods are replicas (Autopilot's horizontal part) or cores of one replica
    (its vertical part) is the candidate's.

    Args:
        variant: the variant to scale (see `SingleVariant`).
        method: ``peak``, ``average`` or ``percentile`` of a moving window, or ``ensemble``, the recommender that learns.
        window_s: of use.
        half_life_s: of the weight of past use, for ``average`` and ``percentile`` (Autopilot: 12 h for CPU).
        margin: on the window's figure (Autopilot: 10 to 15 %).
        hold_s: for which the greatest recommendation counts (Autopilot: an hour).

    Raises:
        ValueError: an unknown method, or as `SingleVariant`.
    """

    def __init__(self, variant: str | None = None, method: Literal["peak", "average", "percentile", "ensemble"] = "percentile",
                 window_s: float = WINDOW_S, half_life_s: float = rules.HALF_LIFE_S, margin: float = MARGIN,
                 hold_s: float = HOLD_S) -> None:
        super().__init__(variant, 1 / (1 + margin))
        if method not in METHODS:
            raise ValueError(f"method '{method}': give one of {', '.join(METHODS)}")
        self.method, self.window_s, self.half_life_s = method, window_s, half_life_s
        self.margin, self.hold_s = margin, hold_s

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """Settings to calibrate: variant, method, window, half-life, margin, hold."""
        return {"variant": sorted({v for s in scenario.services.values() for v in s.variants}), "method": list(METHODS),
                "window_s": [60, 300, 900, 3600], "half_life_s": [60, 300, 3600, rules.HALF_LIFE_S],
                "margin": [0.0, 0.15, 0.3, 0.6, 1.0], "hold_s": [0, 120, 300, 900, 3600]}

    def restart(self) -> None:
        """Forgets all use."""
        window, hold = (max(1, round(span_s / self.scenario.interval_s)) for span_s in (self.window_s, self.hold_s))
        self._memory = {scaled.service: _Memory(window, hold, scaled.most) for scaled in self.scaled}
        self.memory_intervals = window + hold

    def scale(self, scaled: Scaled, current: int, observation: Observation) -> Wanted:
        """One recommendation."""
        memory = self._memory[scaled.service]
        ready, busy = busy_pods(scaled, observation)
        if not ready:
            return None, "the use of pods is missing: unchanged"
        memory.use.append(busy)
        recommended = self._recommended(memory, busy)
        memory.recommended.append(recommended)
        pods = scaled.rounded(rules.whole(rules.held(memory.recommended)))
        return pods, f"{busy:.3g} of {ready} pods busy, {self.method} recommends {recommended:.3g}: {current} -> {pods} pods"

    def _recommended(self, memory: _Memory, busy: float) -> float:
        """Pods, not rounded."""
        if self.method == "ensemble":
            return float(memory.ensemble.observe(busy))
        use = list(memory.use)
        weight = rules.weights(len(use), self.scenario.interval_s, self.half_life_s)
        figure = {"peak": rules.peak(use), "average": rules.average(use, weight),
                  "percentile": rules.load_adjusted_percentile(use, weight, PERCENT)}[self.method]
        return figure * (1 + self.margin)

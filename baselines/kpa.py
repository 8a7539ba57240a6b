"""The Knative Pod Autoscaler as a policy: one variant a service, by requests in flight or load per pod, with panic."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from baselines.kpa_rules import PANIC_THRESHOLD, PANIC_WINDOW_RATIO, STABLE_WINDOW_S, TARGET, Panic, delayed, desired_pods
from baselines.single_variant import Scaled, SingleVariant, Wanted, busy_pods, ready_pods
from envs.contract import Observation
from envs.scenario import Scenario


@dataclass
class _Memory:
    """What one autoscaler remembers: the metric of past intervals, pods wanted at past times, panic mode."""

    metric: deque[float]
    wanted: deque[tuple[float, int]] = field(default_factory=deque)
    panic: Panic | None = None  # None: nothing decided yet


class KPA(SingleVariant):
    """Knative's autoscaler, one for each service (rules and source: `baselines.kpa_rules`).

    It runs once an interval (Knative: every 2 s), and its windows are whole intervals: the stable one 60 s, the panic one a
    tenth of it, so usually the last interval. It starts in panic where more than one pod is ready, as Knative's does: fewer
    pods only after a whole stable window. It does not scale to zero.

    Args:
        variant: the variant to scale (see `SingleVariant`).
        metric: ``concurrency`` (requests in service and waiting; a pod's target is its servers x `target`) or ``rps`` (offered
            load; its capacity x `target`).
        target: share of a pod to be used (Knative: 0.7).
        stable_window_s: (Knative: 60).
        panic_threshold: (Knative: 2).
        delay_s: for which the most pods wanted are kept (Knative: 0).

    Raises:
        ValueError: an unknown metric, or as `SingleVariant`.
    """

    needs_profile = False

    def __init__(self, variant: str | None = None, metric: Literal["concurrency", "rps"] = "concurrency",
                 target: float = TARGET, stable_window_s: float = STABLE_WINDOW_S,
                 panic_threshold: float = PANIC_THRESHOLD, delay_s: float = 0) -> None:
        super().__init__(variant, target)
        if metric not in ("concurrency", "rps"):
            raise ValueError(f"metric '{metric}': give 'concurrency' or 'rps'")
        self.metric, self.stable_window_s = metric, stable_window_s
        self.panic_threshold, self.delay_s = panic_threshold, delay_s

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """Settings to calibrate: variant, metric, target, window, panic threshold, delay."""
        return {"variant": sorted({v for s in scenario.services.values() for v in s.variants}),
                "metric": ["concurrency", "rps"], "target": [0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
                "stable_window_s": [30, 60, 120, 300], "panic_threshold": [1.2, 1.5, 2.0, 3.0], "delay_s": [0, 60, 120, 300]}

    def restart(self) -> None:
        """Forgets everything."""
        interval_s = self.scenario.interval_s
        self._stable = max(1, round(self.stable_window_s / interval_s))
        self._panic = max(1, round(PANIC_WINDOW_RATIO * self.stable_window_s / interval_s))
        self._memory = {scaled.service: _Memory(deque(maxlen=self._stable)) for scaled in self.scaled}
        self.memory_intervals = math.ceil((self.stable_window_s + max(self.stable_window_s, self.delay_s)) / interval_s) + 1

    def scale(self, scaled: Scaled, current: int, observation: Observation) -> Wanted:
        """One run of the autoscaler."""
        memory, t_s = self._memory[scaled.service], observation.t_s
        ready, value = ready_pods(scaled, observation), self._value(scaled, observation)
        if math.isnan(value):
            return None, f"{self.metric} is missing: unchanged"
        memory.metric.append(value)
        recent = list(memory.metric)
        stable, panic = sum(recent) / len(recent), sum(recent[-self._panic :]) / len(recent[-self._panic :])
        if memory.panic is None:
            memory.panic = Panic(t_s, ready) if ready > 1 else Panic()
        of_a_pod = self.target * (scaled.servers if self.metric == "concurrency" else scaled.capacity_rps)
        wanted, memory.panic = desired_pods(stable, panic, of_a_pod, ready, t_s, memory.panic,
                                            self.stable_window_s, self.panic_threshold)
        kept = delayed(wanted, memory.wanted, t_s, self.delay_s)
        memory.wanted.append((t_s, wanted))
        while memory.wanted[0][0] <= t_s - self.delay_s and len(memory.wanted) > 1:
            memory.wanted.popleft()
        pods = scaled.rounded(kept)
        mode = "" if memory.panic.since_s is None else ", panic"
        return pods, f"{self.metric} {stable:.3g}, lately {panic:.3g}, {of_a_pod:.3g} a pod: {current} -> {pods} pods{mode}"

    def _value(self, scaled: Scaled, observation: Observation) -> float:
        """The metric, of all pods together."""
        seen = observation.services[scaled.service]
        if self.metric == "rps":
            return seen.offered_rps
        pods, busy = busy_pods(scaled, observation)
        return busy * scaled.servers + seen.queue if pods else math.nan

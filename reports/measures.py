"""The measures of a comparison: where each comes from in an episode, its unit, which way is better, how it is written."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from envs.scenario import Scenario


@dataclass(frozen=True)
class Measure:
    """One number of an episode.

    Attributes:
        name: its name in rows, tables and sentences.
        total: key in `Episode.totals`.
        unit: of the number as stored ("ratio" is shown in percent, seconds in milliseconds); with a factor: as shown.
        better: +1 where more is better, -1 where less is.
        label: heading of its column.
        how: what the number is.
        factor: what a stored number is multiplied by to be shown in another unit.
    """

    name: str
    total: str
    unit: str
    better: int
    label: str
    how: str
    factor: float = 1.0

    @property
    def scale(self) -> float:
        """What a stored number is multiplied by to be shown."""
        return {"ratio": 100.0, "s": 1000.0}.get(self.unit, self.factor)

    @property
    def shown_unit(self) -> str:
        """Unit of a shown number."""
        return {"ratio": "%", "s": "ms"}.get(self.unit, self.unit)

    def show(self, value: float, *, sign: bool = False, unit: bool = True) -> str:
        """A stored number as people read it; a dash where it is missing."""
        if not math.isfinite(value):
            return "–"
        return self._write(value, self._digits(abs(value * self.scale)), sign, unit)

    def _write(self, value: float, digits: int, sign: bool, unit: bool) -> str:
        shown = value * self.scale
        if self.unit == "s" and unit and 0 < abs(shown) < 0.1:
            return f"{1e6 * value:.{0 if abs(value) >= 1e-6 else 1}f} µs"
        if abs(shown) < 0.5 * 10.0**-digits:
            shown, sign = 0.0, False  # no "-0.00"
        text = f"{shown:+.{digits}f}" if sign else f"{shown:.{digits}f}"
        return f"{text.replace('-', '−')}{' ' + self.shown_unit if unit and self.shown_unit else ''}"

    def _digits(self, size: float) -> int:
        if self.unit == "ratio":
            return 1 if size >= 10 else 2
        if self.unit == "s":
            return 0 if size >= 100 else 1 if size >= 10 else 2
        if self.factor != 1:
            return 2 if size >= 1 or size == 0 else 4
        return 4 if size >= 0.001 or size == 0 else 5

    def interval(self, low: float, high: float, *, sign: bool = False) -> str:
        """An interval as people read it, without its unit; empty where there is none."""
        if not (math.isfinite(low) and math.isfinite(high)):
            return ""
        digits = self._digits(max(abs(low), abs(high)) * self.scale)
        return f"[{self._write(low, digits, sign, False)}, {self._write(high, digits, sign, False)}]"


REWARD = Measure("reward", "reward", "", +1, "Reward", "mean reward of an interval, by the scenario's weights")
VIOLATIONS = Measure(
    "violations",
    "violation_ratio",
    "ratio",
    -1,
    "Violations",
    "settled requests that were not answered within their SLO: late, rejected, dropped or failed",
)
ACCURACY = Measure(
    "accuracy", "accuracy", "ratio", +1, "Accuracy", "accuracy of answers within the SLO, over all settled requests"
)
COST = Measure("cost", "cost", "ratio", -1, "Cost", "resources held, overlap included, over the whole budget all the time")
CHANGE = Measure(
    "change", "change", "ratio", -1, "Change", "longest load time started, over the longest of the scenario, per interval"
)
LATENCY_P99 = Measure(
    "latency p99", "p99_s", "s", -1, "Latency p99", "99th percentile of the latency of all answers; 8 SLOs stand for 8 or more"
)
DECISION_P50 = Measure("decision time p50", "decision_p50_s", "s", -1, "Decision p50", "median wall time of one decision")
DECISION_P99 = Measure(
    "decision time p99", "decision_p99_s", "s", -1, "Decision p99", "99th percentile of the wall time of one decision"
)

MEASURES = (REWARD, VIOLATIONS, ACCURACY, COST, CHANGE, LATENCY_P99, DECISION_P50, DECISION_P99)
COMPARED = (REWARD, VIOLATIONS, ACCURACY, COST, LATENCY_P99)  # pair by pair


def cost_of(scenario: Scenario) -> Measure:
    """How the cost is shown: in money where the scenario's prices have a currency. It is stored as the ratio in any case."""
    return replace(COST, unit=f"{scenario.currency}/h", factor=scenario.whole_price) if scenario.currency else COST

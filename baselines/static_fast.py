"""Constant mixes on two time scales: one deployment of one or two kinds for ever, with routes that follow the load.

A fast, less accurate variant beside a slow, accurate one carries what comes while the load is shared out anew at every
decision. Where loading takes minutes and cores are cheap this is strong, so a planner has to beat it, calibrated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from baselines.static import Static
from baselines.two_time_scales import TwoTimeScales
from envs.scenario import Candidate, Scenario


class ConstantMix(Static):
    """A constant deployment; calibration chooses among mixes of two kinds."""

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """Which constant deployment: one or two candidates at any level, within the budget.

        With several services, or stages, it is one for each, as for `Static`: there two for each are too many to try.
        """
        if len(scenario.services) > 1:
            return Static.space(scenario)
        candidates = scenario.candidates
        rows = {_row(candidates, {i: m, j: n}) for i, j in combinations(range(len(candidates)), 2)
                for m in range(candidates[i].levels) for n in range(candidates[j].levels) if _within(scenario, {i: m, j: n})}
        rows |= {_row(candidates, {0: n}) for n in range(candidates[0].levels) if _within(scenario, {0: n})}  # the only one
        return {"levels": [list(row) for row in sorted(rows) if any(row)]}


class FastStatic(TwoTimeScales):
    """Constant mixes on two time scales (`static-fast`)."""

    slow = ConstantMix


def _row(candidates: Sequence[Candidate], levels: Mapping[int, int]) -> tuple[int, ...]:
    return tuple(levels.get(c, 0) for c in range(len(candidates)))


def _within(scenario: Scenario, levels: Mapping[int, int]) -> bool:
    held = dict.fromkeys(scenario.devices, 0)
    for c, level in levels.items():
        candidate = scenario.candidates[c]
        if level:
            kind, count = (candidate.kinds[level - 1], 1) if candidate.sized else (candidate.kinds[0], level)
            held[candidate.device] += count * kind.shape.units
    return all(held[name] <= device.budget for name, device in scenario.devices.items())

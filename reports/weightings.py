"""One policy for many weightings of its goals: the volume of outcomes that it dominates, and its reward at each of them.

A service's owner sets what cost and violations weigh. A planner is calibrated and solved anew at each weighting; what has
learned from rewards is what it is, told the weights or not. For each source of load:

- *Points* of a row: violations, inaccuracy (1 - accuracy) and cost, means over windows, one point for each weighting.
- *Volume* (the hypervolume indicator): the share of a box that lies behind the points. The box is that of the rows' common
  Pareto front, from the best of each goal to a tenth beyond the worst; what lies outside of it counts as on its edge.
- *Reward over weightings*: at each weighting, the reward less that of the planner that is best there, of all; then the mean.

Windows are drawn again together for all rows and weightings. Sources: Zitzler and Thiele, "Multiobjective Evolutionary
Algorithms", IEEE Transactions on Evolutionary Computation 1999 (the indicator); Hayes et al., "A practical guide to
multi-objective reinforcement learning and planning", JAAMAS 2022, section 7 (why the reward over weightings stands beside it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reports.measures import ACCURACY, COST, REWARD, VIOLATIONS
from reports.protocol import NOTHING, values
from reports.protocol_plan import Weighting
from reports.protocol_play import PLANNER
from reports.protocol_statistics import Drawn, Draws
from reports.statistics import Estimate

COST_FACTORS, SLO_FACTORS = (0.25, 1.0, 4.0), (1 / 3, 1.0, 3.0)  # on the scenario's own weights, all pairs
BEYOND = 0.1  # of the front's extent, so that its ends count, too
TOGETHER = "all planners together"
Outcomes = Mapping[Weighting, Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Breadth:
    """How one row does over the weightings of one source.

    Attributes:
        row, kind: the policy, and how it came to decide as it does.
        members: agents in the row; its volume is the mean of theirs.
        points: (violations, accuracy, cost) at each weighting, means over windows and members.
        volume: see the module; against: less that of the planner with the largest.
        reward: over weightings, less the best planner's at each.
        ahead, behind: weightings at which that difference is told from zero.
    """

    row: str
    kind: str
    members: int
    points: Mapping[Weighting, tuple[float, float, float]]
    volume: Estimate
    against: Estimate
    reward: Estimate
    ahead: int
    behind: int


def weightings(cost: float, slo: float) -> list[Weighting]:
    """Those around a scenario's own weights of cost and violations."""
    return [Weighting(cost * c, slo * s) for s in SLO_FACTORS for c in COST_FACTORS]


def hypervolume(points: np.ndarray) -> float:
    """The share of the unit cube that (N, 3) points of it dominate: all that is no better than one of them in anything.

    Where less is better, with (1, 1, 1) as the reference. What lies outside of the cube counts as on its edge.
    """
    points = np.clip(points, 0.0, 1.0)
    at = [np.unique(np.append(column, 1.0)) for column in points.T]
    behind = np.zeros([len(edges) - 1 for edges in at], dtype=bool)
    for point in points:
        x, y, z = (edges[:-1] >= value for edges, value in zip(at, point))
        behind |= x[:, None, None] & y[:, None] & z
    widths = [np.diff(edges) for edges in at]
    return float(np.einsum("xyz,x,y,z->", behind, *widths))


def front(points: np.ndarray) -> np.ndarray:
    """Those of (N, D) points that no other is better than in something and as good as in all else; less is better."""
    no_worse = (points[:, None] <= points).all(-1)
    better = (points[:, None] < points).any(-1)
    return points[~(no_worse & better).any(0)]


def breadths(outcomes: Outcomes, rng: np.random.Generator, resamples: int) -> list[Breadth]:
    """All rows of one source that were played at every weighting, the largest volume first.

    Args:
        outcomes: of each weighting, by row (`protocol_play.outcome`).
        rng: generator of the bootstrap's draws.
        resamples: how many.
    """
    first = next(iter(outcomes.values()))
    rows = [row for row in first if all(some[row]["episodes"] for some in outcomes.values())]
    planners = [row for row in rows if first[row]["kind"] == PLANNER]
    draws = Draws(values(first[rows[0]], REWARD.total).shape[1], rng, resamples)
    goals = {row: _goals([some[row] for some in outcomes.values()], draws) for row in rows}
    box = _box(np.concatenate([member[0] for row in rows for member in goals[row]]))
    volumes = {row: _volume(goals[row], box, draws) for row in rows}
    largest = max(planners, key=lambda row: volumes[row].value)
    together = _volume([np.concatenate([goals[row][0] for row in planners], axis=1)], box, draws)
    gains = {row: [_reward(some[row], draws) - max((_reward(some[p], draws) for p in planners), key=lambda drawn: drawn.value)
                   for some in outcomes.values()] for row in rows}
    found = [Breadth(
        row, first[row]["kind"], len(first[row]["members"]), _points(outcomes, row), volumes[row].estimate(),
        (volumes[row] - volumes[largest]).estimate(), (sum(gains[row][1:], gains[row][0]) * (1 / len(outcomes))).estimate(),
        sum(gain.estimate().low > 0 for gain in gains[row]), sum(gain.estimate().high < 0 for gain in gains[row]),
    ) for row in rows]
    more = together - volumes[largest]
    found.append(Breadth(TOGETHER, PLANNER, 1, {}, together.estimate(), more.estimate(), NOTHING, 0, 0))
    return sorted(found, key=lambda breadth: -breadth.volume.value)


def _goals(played: Sequence[Mapping[str, Any]], draws: Draws) -> list[np.ndarray]:
    """Of each member (1 + B, weightings, 3): violations, inaccuracy, cost, of all windows and then of each draw."""
    tables = [{m: values(outcome, m.total) for m in (VIOLATIONS, ACCURACY, COST)} for outcome in played]
    found = []
    for member in range(len(tables[0][COST])):
        of_weighting = []
        for table in tables:
            violations, accuracy, cost = (_mean(table[m][member], draws) for m in (VIOLATIONS, ACCURACY, COST))
            of_weighting.append(np.stack([violations, 1 - accuracy, cost], axis=-1))
        found.append(np.stack(of_weighting, axis=1))
    return found


def _mean(told: np.ndarray, draws: Draws) -> np.ndarray:
    """(1 + B,) means over the windows that tell a number: one without requests has no share of violations."""
    there = ~np.isnan(told)
    total, count = (draws.mean(part[None]) for part in (np.where(there, told, 0.0), there.astype(np.float64)))
    return np.append(total.value, total.draws) / np.maximum(np.append(count.value, count.draws), 1e-12)


def _box(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The corner where all is best, and the extents, of the rows' common front."""
    best = front(points)
    low, extent = best.min(0), np.ptp(best, axis=0)
    return low, np.where(extent > 0, (1 + BEYOND) * extent, 1.0)


def _volume(members: Sequence[np.ndarray], box: tuple[np.ndarray, np.ndarray], draws: Draws) -> Drawn:
    low, extent = box
    found = np.mean([[hypervolume(points) for points in (member - low) / extent] for member in members], axis=0)
    return Drawn(float(found[0]), found[1:], draws.windows)


def _reward(outcome: Mapping[str, Any], draws: Draws) -> Drawn:
    return draws.mean(values(outcome, REWARD.total).mean(0, keepdims=True))


def _points(outcomes: Outcomes, row: str) -> dict[Weighting, tuple[float, float, float]]:
    def mean(outcome: Mapping[str, Any], total: str) -> float:
        return float(np.nanmean(values(outcome, total)))

    return {weighting: (mean(some[row], VIOLATIONS.total), mean(some[row], ACCURACY.total), mean(some[row], COST.total))
            for weighting, some in outcomes.items()}

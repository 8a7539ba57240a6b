"""From cells to numbers: what a trouble takes from each policy's reward, window by window, and the verdict in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reports.measures import REWARD, VIOLATIONS
from reports.protocol_play import IMITATION, KNOWS, SUPERVISED
from reports.protocol_play import REWARD as LEARNT
from reports.robustness.disturbances import NONE, named
from reports.robustness.play import Cell
from reports.statistics import Bootstrap, Estimate

LEARNED = (SUPERVISED, IMITATION, LEARNT)
LEVEL = 0.01  # losses that differ by less than this many points of reward are called alike


@dataclass(frozen=True)
class Loss:
    """One cell against the same policy undisturbed, on the same windows and requests.

    Attributes:
        loss: reward without the trouble - with it; below 0 the trouble helped.
        reward, violations, before: with the trouble, and violations without it.
    """

    policy: str
    disturbance: str
    loss: Estimate
    reward: Estimate
    violations: Estimate
    before: Estimate


@dataclass(frozen=True)
class Matrix:
    """All of them.

    Attributes:
        policies: the planners first, then the agents, then hindsight.
        kinds: by policy.
        disturbances: names, in order.
        losses: by disturbance and policy.
        mean_loss: by policy, over all disturbances.
        calm: reward of each policy undisturbed.
    """

    policies: tuple[str, ...]
    kinds: Mapping[str, str]
    disturbances: tuple[str, ...]
    losses: Mapping[tuple[str, str], Loss]
    mean_loss: Mapping[str, Estimate]
    calm: Mapping[str, Estimate]

    def best(self, disturbance: str) -> str:
        """The policy that earns most under a trouble, hindsight aside."""
        return max(self.runnable, key=lambda p: self.losses[disturbance, p].reward.value)

    @property
    def runnable(self) -> list[str]:
        """The policies that anyone can run."""
        return [p for p in self.policies if self.kinds[p] != KNOWS]


def matrix(cells: Sequence[Cell], rng: np.random.Generator, resamples: int = 2000) -> Matrix:
    """Makes every number of the report.

    Raises:
        ValueError: a policy was not played undisturbed.
    """
    by = {(c.disturbance, c.policy): c for c in cells}
    names = list(dict.fromkeys(c.policy for c in cells))
    if missing := [p for p in names if (NONE.name, p) not in by]:
        raise ValueError(f"not played undisturbed: {', '.join(missing)}")
    kinds = {p: by[NONE.name, p].kind for p in names}
    policies = sorted(names, key=lambda p: (kinds[p] == KNOWS, kinds[p] in LEARNED))
    disturbances = [d for d in dict.fromkeys(c.disturbance for c in cells) if d != NONE.name]
    first = cells[0].runs
    draws = Bootstrap(["load"] * len(first), [run["start_s"] for run in first], rng, resamples=resamples)

    def column(disturbance: str, policy: str, name: str) -> np.ndarray:
        return np.array([run[name] for run in by[disturbance, policy].runs])

    losses: dict[tuple[str, str], Loss] = {}
    lost: dict[str, list[np.ndarray]] = {p: [] for p in policies}
    for d in disturbances:
        for p in policies:
            gap = column(NONE.name, p, REWARD.total) - column(d, p, REWARD.total)
            lost[p].append(gap)
            losses[d, p] = Loss(
                p,
                d,
                draws.estimate(gap),
                *(draws.estimate(column(at, p, m.total)) for at, m in ((d, REWARD), (d, VIOLATIONS), (NONE.name, VIOLATIONS))),
            )
    return Matrix(
        tuple(policies),
        kinds,
        tuple(disturbances),
        losses,
        {p: draws.estimate(np.mean(lost[p], axis=0)) for p in policies},
        {p: draws.estimate(column(NONE.name, p, REWARD.total)) for p in policies},
    )


def rows(found: Matrix) -> list[dict[str, Any]]:
    """One row a number, for the JSON record."""
    out = []
    for loss in found.losses.values():
        for figure, e, unit, how in (
            ("loss of reward", loss.loss, "", "undisturbed - disturbed, same windows and requests"),
            (REWARD.name, loss.reward, "", "disturbed"),
            (VIOLATIONS.name, loss.violations, "ratio", "disturbed"),
        ):
            out.append(
                {
                    "figure": figure,
                    "policy": loss.policy,
                    "disturbance": loss.disturbance,
                    "value": e.value,
                    "low": e.low,
                    "high": e.high,
                    "unit": unit,
                    "how": how,
                }
            )
    for figure, by in (("mean loss of reward", found.mean_loss), ("undisturbed reward", found.calm)):
        out += [
            {"figure": figure, "policy": p, "disturbance": None, "value": e.value, "low": e.low, "high": e.high}
            for p, e in by.items()
        ]
    return out


def verdict(found: Matrix) -> list[str]:
    """Who loses least, who earns most, and what hurts each most."""
    runnable = sorted(found.runnable, key=lambda p: found.mean_loss[p].value)
    least, earns = runnable[0], {p: _mean_reward(found, p) for p in runnable}
    most = max(earns, key=lambda p: earns[p])
    said = [
        f"{least} loses least: {_told(found.mean_loss[least])} of reward on average over {len(found.disturbances)} troubles"
        + (
            f"; {most} earns most under them, {REWARD.show(earns[most])} against {REWARD.show(earns[least])}."
            if most != least
            else ", and earns most under them."
        )
    ]
    agents, planners = ([p for p in runnable if (found.kinds[p] in LEARNED) is learned] for learned in (True, False))
    if agents and planners:
        agent, planner = max(agents, key=lambda p: earns[p]), max(planners, key=lambda p: earns[p])
        wins = [d for d in found.disturbances if _gap(found, d, agent, planner) > LEVEL]
        fails = [d for d in found.disturbances if _gap(found, d, agent, planner) < -LEVEL]
        said.append(
            f"The best agent, {agent}, against the best planner, {planner}, within {LEVEL:g} of reward: ahead under "
            f"{_list(wins)}; behind under {_list(fails)}; alike under the others."
        )
    worst = {p: max(found.disturbances, key=lambda d: found.losses[d, p].loss.value) for p in runnable}
    for trouble in dict.fromkeys(worst.values()):
        struck = [p for p in runnable if worst[p] == trouble]
        said.append(f"{trouble.capitalize()} ({named(trouble).told}) hurts {_list(struck)} most.")
    return said


def _gap(found: Matrix, disturbance: str, policy: str, peer: str) -> float:
    return found.losses[disturbance, policy].reward.value - found.losses[disturbance, peer].reward.value


def _mean_reward(found: Matrix, policy: str) -> float:
    return float(np.mean([found.losses[d, policy].reward.value for d in found.disturbances]))


def _told(e: Estimate) -> str:
    return f"{REWARD.show(e.value)} {REWARD.interval(e.low, e.high)}".strip()


def _list(words: Sequence[str]) -> str:
    return "none" if not words else words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def hundredths(value: float) -> str:
    """A difference of rewards as tables show it; no "-0.0"."""
    return f"{round(100 * value, 1) + 0.0:.1f}".replace("-", "−")

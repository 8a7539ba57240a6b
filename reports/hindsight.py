"""Hindsight rows: what the oracle earned and what no policy can beat, on the windows of a comparison, and shown apart from it.

They are no policies that anyone can run, so they take no part in the table, the ranking and the verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from baselines.bound import bound
from baselines.future import Future
from envs.episode import Episode
from envs.scenario import Scenario
from reports.comparison import Comparison
from reports.measures import REWARD
from reports.statistics import Bootstrap, Estimate
from traces.load import Load

ORACLE, BOUND = "oracle", "bound"
NAMES = (ORACLE, BOUND)
HOW = {ORACLE: "the best schedule found with the future known, played", BOUND: "no policy earns more: `baselines.bound`"}


def add_hindsight(
    comparison: Comparison,
    names: Sequence[str],
    oracles: Sequence[Episode],
    scenario: Scenario,
    loads: Mapping[str, Load],
    intervals: int,
    rng: np.random.Generator,
    resamples: int,
) -> None:
    """Adds the rows to the comparison's figures, and a sentence on each to its notes.

    Args:
        comparison: of the policies.
        names: of `NAMES`, those asked for.
        oracles: the oracle's episodes; of windows that it has not played there is no row.
        scenario: as the policies played it.
        loads: by application.
        intervals: length of a window.
        rng: generator of the bootstrap's draws.
        resamples: how many.
    """
    played = {(e.start_s, e.seed): e.totals["reward"] for e in oracles}
    best = comparison.ranking(REWARD)[0]
    runs = comparison.runs[comparison.runs["policy"] == best]
    keys = list(zip(runs["start_s"], runs["seed"]))
    bootstrap = Bootstrap(list(runs["trace"]), list(runs["start_s"]), rng, resamples=resamples)
    rows = []
    for name in (n for n in NAMES if n in names):
        if name == BOUND:
            rewards = np.array([bound(scenario, Future(loads, start_s, seed, intervals)).reward for start_s, seed in keys])
        else:
            rewards = np.array([played.get(key, np.nan) for key in keys])
        mean, gap = bootstrap.estimate(rewards), bootstrap.difference(rewards, runs["reward"].to_numpy(dtype=np.float64))
        rows += [_row(name, "", "mean", mean, len(keys)), _row(name, best, "paired difference", gap, len(keys))]
        comparison.notes.append(
            f"In hindsight, {name}: reward {_told(mean)}, {_told(gap, sign=True)} over {best}, the best here ({HOW[name]})."
        )
    comparison.figures = pd.concat([comparison.figures, pd.DataFrame(rows)], ignore_index=True)


def _row(name: str, peer: str, statistic: str, found: Estimate, n: int) -> dict[str, object]:
    return {"figure": "reward in hindsight", "statistic": statistic, "policy": name, "peer": peer, "value": found.value,
            "low": found.low, "high": found.high, "unit": REWARD.unit, "n": n, "how": HOW[name]}


def _told(found: Estimate, sign: bool = False) -> str:
    return f"{REWARD.show(found.value, sign=sign)} {REWARD.interval(found.low, found.high, sign=sign)}".rstrip()

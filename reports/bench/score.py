"""Points: 0 for what the static policy earned, 100 for what the reference of the track earned, on the same requests.

Of a window: 100 x (reward - floor) / (mean ceiling - mean floor), so that the points of a task are linear in its mean reward
and the reference has 100. A task that went far below the static policy counts -100, so that one disaster does not hide all
else.
A track's points are the mean of its tasks; only who played all of them has points of the track.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reports.bench.tasks import Task, TaskSet
from reports.statistics import Bootstrap, Estimate

LEAST = -100.0
LEAST_GAP = 1e-4  # of reward between floor and ceiling; a task below it tells nothing
RESAMPLES, SEED = 2000, 0


@dataclass(frozen=True)
class TrackScore:
    """One policy on one track.

    Attributes:
        track: its name.
        points: mean over its tasks with a 95 % interval over windows; nan where a task was not played.
        tasks: points by task.
        reward, violations, accuracy, cost: means over tasks.
        missing: tasks that were not played, and why.
    """

    track: str
    points: Estimate
    tasks: Mapping[str, float]
    reward: float
    violations: float
    accuracy: float
    cost: float
    missing: Mapping[str, str]

    @property
    def complete(self) -> bool:
        """Whether every task was played."""
        return not self.missing


def points(task: Task, rewards: Sequence[float]) -> np.ndarray:
    """(windows,) points of each window.

    Raises:
        ValueError: the task is not frozen, its floor and ceiling are too near, or there is not one reward a window.
    """
    floor, ceiling = np.array(task.floor), np.array(task.ceiling)
    if not len(floor) == len(ceiling) == task.windows:
        raise ValueError(f"task {task.name} is not frozen: python -m reports.bench.freeze FILE")
    if len(rewards) != task.windows:
        raise ValueError(f"task {task.name}: {len(rewards)} rewards for {task.windows} windows")
    gap = float(ceiling.mean() - floor.mean())
    if gap < LEAST_GAP:
        raise ValueError(f"task {task.name}: the reference earns no more than the static policy")
    found = 100 * (np.asarray(rewards, dtype=np.float64) - floor) / gap
    return found if found.mean() >= LEAST else np.full(task.windows, LEAST)


def score(tasks: TaskSet, track: str, played: Mapping[str, Mapping[str, Any]]) -> TrackScore:
    """One policy's points on a track.

    Args:
        tasks: the set.
        track: which of its tracks.
        played: by task: ``windows`` (rows with a reward) and ``refused``.
    """
    own = [t for t in tasks.tasks if t.track == track]
    missing = {
        t.name: played.get(t.name, {}).get("refused") or "not played" for t in own if not played.get(t.name, {}).get("windows")
    }
    there = [t for t in own if t.name not in missing]
    by_task = {t.name: points(t, [w["reward"] for w in played[t.name]["windows"]]) for t in there}
    values = np.concatenate([*by_task.values(), np.zeros(0)])
    labels = [(name, i) for name, row in by_task.items() for i in range(len(row))]
    if missing or not labels:
        found = Estimate(np.nan, np.nan, np.nan)
    else:  # windows weigh as their task does
        weights = np.concatenate([np.full(len(row), len(values) / (len(by_task) * len(row))) for row in by_task.values()])
        draws = Bootstrap(
            [name for name, _ in labels], [i for _, i in labels], np.random.default_rng(SEED), resamples=RESAMPLES
        )
        found = draws.estimate(values * weights)

    def mean(name: str) -> float:
        windows = [[w[name] for w in played[t.name]["windows"] if w[name] is not None] for t in there]
        rows = [np.mean(row) for row in windows if row]  # a window without a request has no violations
        return float(np.mean(rows)) if rows else float("nan")

    return TrackScore(
        track,
        found,
        {name: float(row.mean()) for name, row in by_task.items()},
        mean("reward"),
        mean("violation_ratio"),
        mean("accuracy"),
        mean("cost"),
        missing,
    )

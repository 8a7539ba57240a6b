"""What a real cluster does to a policy, one trouble at a time, each a part of the simulator and not of the policy's world.

A policy is told the scenario as it stands. What is played is that scenario with one trouble in it: its load, its models, its
replicas, or what the policy sees of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.scenario import Interference, Scenario
from traces.load import Load
from traces.modulated import modulated

CROWD, RISE_S, STAY_S, FALL_S = 4.0, 60.0, 300.0, 600.0  # of a flash crowd: factor, and how it comes and goes
REGIME = 2.0
WRONG = 0.2
LAG = 0.9

World = Callable[[Scenario], Scenario]
Course = Callable[
    [np.ndarray, float], np.ndarray
]  # seconds since a window's start (n,), its length -> factor on the load (n,)


@dataclass(frozen=True)
class Disturbance:
    """One trouble.

    Attributes:
        name: in tables.
        group: what it strikes: load, models, replicas, metrics; "" for none.
        told: what happens, in words with its numbers.
        world: the scenario that is played, made from the one that the policy is told.
        course: factor on the load over a window; None: the load stays.
    """

    name: str
    group: str
    told: str
    world: World = lambda scenario: scenario
    course: Course | None = None

    def loads(self, loads: Mapping[str, Load], starts_s: Sequence[float], window_s: float) -> dict[str, Load]:
        """The loads with this trouble in every window; where windows overlap the later one's counts."""
        course = self.course
        if course is None:
            return dict(loads)

        def factor(t_s: np.ndarray) -> np.ndarray:
            found = np.ones(t_s.size)
            for start_s in starts_s:
                inside = (t_s >= start_s) & (t_s < start_s + window_s)
                found[inside] = course(t_s[inside] - start_s, window_s)
            return found

        return {name: modulated(load, factor) for name, load in loads.items()}


def _times(factor: float) -> Disturbance:
    return Disturbance(
        f"load × {factor:g}",
        "load",
        f"{factor:g} times the load, all the time",
        course=lambda t_s, window_s: np.full(t_s.size, factor),
    )


def crowd(t_s: np.ndarray, window_s: float) -> np.ndarray:
    """Factor of a flash crowd that comes after a third of the window."""
    corners_s = window_s / 3 + np.cumsum([0.0, RISE_S, STAY_S, FALL_S])
    return np.interp(t_s, corners_s, [1.0, CROWD, CROWD, 1.0])


def regime(t_s: np.ndarray, window_s: float) -> np.ndarray:
    """Factor of a load that doubles at half of the window and stays there."""
    return np.where(t_s < window_s / 2, 1.0, REGIME)


def _with(part: str, **changes: Any) -> World:
    """A world in which some fields of a part are others."""
    return lambda s: s.with_(**{part: getattr(s, part).model_copy(update=changes)})


def _slower(factor: float) -> World:
    return lambda s: s.with_(profile=s.profile.scaled(factor))


NONE = Disturbance("undisturbed", "", "as the policy is told")
DISTURBANCES = (
    *(_times(factor) for factor in (0.25, 0.5, 2.0, 4.0)),
    Disturbance(
        "flash crowd",
        "load",
        f"{CROWD:g} times the load within {RISE_S:g} s, for {STAY_S / 60:g} minutes, gone after {FALL_S / 60:g} more",
        course=crowd,
    ),
    Disturbance("regime change", "load", f"{REGIME:g} times the load from half of the window on", course=regime),
    Disturbance("models 20 % slower", "models", "every batch takes 1.2 times what the profile says", _slower(1 + WRONG)),
    Disturbance("models 20 % faster", "models", "every batch takes 0.8 times what the profile says", _slower(1 - WRONG)),
    Disturbance(
        "noisy neighbour",
        "models",
        "spells of 3 minutes on average, 7 minutes between, in which batches take 1.5 times as long",
        lambda s: s.with_(interference=Interference(slowdown=1.5, calm_s=420, lasts_s=180)),
    ),
    Disturbance(
        "slow starts",
        "replicas",
        "loading takes 10 times as long as told, with a coefficient of variation of 0.5",
        _with("failures", load_factor=10.0, load_cv=0.5),
    ),
    Disturbance("failing starts", "replicas", "30 % of loads fail at their end", _with("failures", load_failure_ratio=0.3)),
    Disturbance(
        "worker failures",
        "replicas",
        "a ready replica fails after 10 minutes on average, noticed after 1 s",
        _with("failures", mean_time_s=600.0),
    ),
    Disturbance(
        "metrics late",
        "metrics",
        f"what a policy sees is {LAG:g} of an interval old (beyond a whole one the envelope keeps what runs)",
        lambda s: s.with_(scrape=s.scrape.model_copy(update={"delay_s": LAG * s.interval_s})),
    ),
    Disturbance(
        "metrics missing", "metrics", "in 30 % of intervals a policy sees nothing", _with("scrape", missing_ratio=0.3)
    ),
    Disturbance(
        "metrics stale", "metrics", "in 30 % of intervals a policy sees what it saw before", _with("scrape", stale_ratio=0.3)
    ),
)
GROUPS = tuple(dict.fromkeys(d.group for d in DISTURBANCES))


def named(name: str) -> Disturbance:
    """A disturbance of its name."""
    return next(d for d in (NONE, *DISTURBANCES) if d.name == name)

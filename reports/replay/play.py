"""Plays policies on every draw of a recording, and keeps a row of figures for each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np
import pandas as pd

from agents.registry import HINDSIGHT
from baselines.hpa import HPA
from baselines.keda import KEDA
from baselines.kpa import KPA
from baselines.static import Static
from baselines.target_tracking import TargetTracking
from envs.contract import Deployment, Policy
from envs.episode import Episode
from envs.scenario import Scenario
from reports.play import Plan, Player, make_policy
from reports.play import play as play_plan
from reports.replay.draws import Doubt, draw
from reports.replay.recording import Recording
from reports.replay.schedule import Schedule

ON_LOAD: Mapping[str, Callable[[], Policy]] = {
    "hpa": partial(HPA, metric="rps"), "keda": partial(KEDA, waiting=math.inf), "kpa": partial(KPA, metric="rps"),
    "target-tracking": partial(TargetTracking, metric="rps"), "static": Static}  # fmt: skip
"""Rules that look at the load and at nothing else, at their own defaults."""

AGAIN = "as recorded"
"""The name of the row that plays what was held."""

HINDSIGHT_PLAYS = 10  # what is played in hindsight takes 5 to 20 times as long: it tries schedules first


@dataclass(frozen=True)
class Part:
    """Some policies, by their places, on one draw; `work`: how long they take, in plays of a rule."""

    draw: int
    places: tuple[int, ...]
    work: int


@dataclass(frozen=True, eq=False)
class Counterfactual:
    """What is to be played.

    Attributes:
        recording: the load.
        scenario: the problem, with its middle times.
        doubt: how well they are known.
        policies: names; `AGAIN` among them where `schedule` is known.
        labels: what they are called.
        schedule: what was held, one deployment an interval.
        draws: how many.
    """

    recording: Recording
    scenario: Scenario
    doubt: Doubt
    policies: tuple[str, ...]
    labels: tuple[str, ...]
    schedule: tuple[Deployment, ...] | None
    draws: int

    @property
    def intervals(self) -> int:
        """How many whole intervals the recording lasts."""
        return int(self.recording.span_s / self.scenario.interval_s + 1e-9)

    @property
    def parts(self) -> list[Part]:
        """What is played together: each draw's policies; last, and on the middle draw alone, those in hindsight."""
        ahead = tuple(place for place, name in enumerate(self.policies) if name not in HINDSIGHT)
        after = tuple(place for place, name in enumerate(self.policies) if name in HINDSIGHT)
        parts = [Part(number, ahead, len(ahead)) for number in range(self.draws) if ahead]
        return parts + [Part(self.middle, after, HINDSIGHT_PLAYS * len(after))] * bool(after)

    @property
    def middle(self) -> int:
        """The draw whose course is shown."""
        return self.draws // 2

    def make(self, name: str, scenario: Scenario) -> Policy:
        """A policy of its name."""
        return Schedule(self.schedule or ()) if name == AGAIN else make(name, scenario, self.recording.tokens)


def make(name: str, scenario: Scenario, tokens: bool) -> Policy:
    """A policy of its name; for an engine with continuous batching only the rules that look at nothing but the load.

    Raises:
        ValueError: it plans on times that such an engine does not have.
    """
    if not tokens:
        return make_policy(name, scenario)
    if name not in ON_LOAD:
        raise ValueError("it plans on service times or utilisation, and those of an engine with continuous batching hang on "
                         f"what else is in the batch; valid are {', '.join(ON_LOAD)}")  # fmt: skip
    return ON_LOAD[name]()


@dataclass(frozen=True, eq=False)
class Played:
    """One policy in one draw: its figures, and for the middle draw its course (one row an interval)."""

    draw: int
    policy: str
    factor: float
    figures: dict[str, float]
    course: pd.DataFrame | None


def play(what: Counterfactual, jobs: int = 1) -> Iterator[tuple[Part, list[Played]]]:
    """All parts: in order with one job, as they end with more, when the longest is begun first."""
    if jobs <= 1:
        for part in what.parts:
            yield part, play_part(what, part)
        return
    pool = ProcessPoolExecutor(jobs, get_context("spawn"))
    try:
        begun = {pool.submit(play_part, what, part): part for part in reversed(what.parts)}
        for done in as_completed(begun):
            yield begun[done], done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def play_part(what: Counterfactual, part: Part) -> list[Played]:
    """Some policies on one draw, the same requests and times for each."""
    drawn = draw(what.recording, what.scenario, what.doubt, part.draw, what.draws)
    names, labels = (tuple(row[place] for place in part.places) for row in (what.policies, what.labels))
    plan = Plan(what.scenario.name, names, labels, drawn.loads, what.recording.source, (0.0,), (part.draw,),
                what.intervals)  # fmt: skip
    seen = known_intervals(what.recording, what.scenario.interval_s, what.intervals)
    played = []
    for _, episode in play_plan(Player(plan, drawn.scenario, what.make)):
        course = episode.intervals if part.draw == what.middle else None
        found = figures(episode, seen)
        if what.recording.tokens:  # the stand-in's latencies are nobody's
            found |= dict.fromkeys(("violations", "latency p99", "reward"), math.nan)
        played.append(Played(part.draw, episode.policy, drawn.factor, found, course))
    return played


def known_intervals(recording: Recording, interval_s: float, intervals: int) -> np.ndarray:
    """(intervals,) True where all of it was recorded: only there is anything counted."""
    edges = np.arange(intervals + 1) * interval_s / recording.step_s
    unknown = np.concatenate([[0], np.cumsum(~recording.known)])
    first, last = np.floor(edges[:-1] + 1e-9).astype(int), np.ceil(edges[1:] - 1e-9).astype(int)
    return np.asarray(unknown[np.minimum(last, recording.steps)] == unknown[np.minimum(first, recording.steps)])


def figures(episode: Episode, seen: np.ndarray) -> dict[str, float]:
    """What one episode came to, over the intervals that were recorded; latency over all of it."""
    rows = episode.intervals[seen]
    settled = rows["settled"].to_numpy(dtype=np.float64)
    total = max(float(settled.sum()), 1.0)

    def share(name: str) -> float:
        return float((rows[name].fillna(0.0).to_numpy() * settled).sum()) / total

    changed = episode.decisions["deployment"].ne(episode.decisions["deployment"].shift()).sum() - 1
    return {
        "violations": share("violation_ratio"), "accuracy": share("accuracy"), "held": float(rows["held_units"].mean()),
        "cost": float(rows["cost"].mean()), "latency p99": episode.totals["p99_s"], "reward": float(rows["reward"].mean()),
        "changes": float(changed),
    }  # fmt: skip

"""What was held, as a policy: it does again what the record says, whatever it sees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from envs.contract import Decision, Deployment, Observation, Policy
from envs.scenario import InitialReplica, Scenario
from reports.replay.recording import Recording


class Schedule(Policy):
    """Plays one deployment after another, one an interval."""

    def __init__(self, deployments: Sequence[Deployment]) -> None:
        self._deployments = deployments

    def reset(self, scenario: Scenario) -> None:
        """Starts again at the first."""
        self._played = 0

    def decide(self, observation: Observation) -> Decision:
        """The next one; the last for ever."""
        found = self._deployments[min(self._played, len(self._deployments) - 1)]
        self._played += 1
        return Decision(found, "as recorded")


def recorded_schedule(recording: Recording, scenario: Scenario, intervals: int) -> list[Deployment] | None:
    """What was in force in each interval: whole deployments, or a count of the only candidate; None: neither is known.

    A replica that was there had begun to load before: more are asked for one load time ahead.
    """
    starts_s = np.arange(intervals) * scenario.interval_s
    if recording.deployments:
        at_s = np.array([step * recording.step_s for step, _ in recording.deployments])
        place = np.maximum(np.searchsorted(at_s, starts_s + 1e-6, side="right") - 1, 0)
        return [recording.deployments[int(i)][1] for i in place]
    counts = held_counts(recording)
    if counts is None or len(scenario.candidates) != 1 or scenario.candidates[0].sized:
        return None
    candidate = scenario.candidates[0]
    ahead_s = scenario.load_s(candidate.kinds[0])

    def at(t_s: np.ndarray) -> np.ndarray:
        return np.asarray(counts[np.minimum((t_s / recording.step_s).astype(np.int64), len(counts) - 1)])

    wanted = np.maximum(at(starts_s), at(starts_s + ahead_s)).astype(np.int64)
    return [scenario.deployment([int(level)]) for level in np.clip(wanted, 0, candidate.max_count)]


def held_counts(recording: Recording) -> np.ndarray | None:
    """(T,) replicas held, whole ones; what is not known is as it was before. None: none is known."""
    known = np.isfinite(recording.replicas)
    if not known.any():
        return None
    last = np.maximum.accumulate(np.where(known, np.arange(recording.steps), -1))
    last[last < 0] = int(np.argmax(known))
    return np.asarray(np.rint(recording.replicas[last]))


def begun(scenario: Scenario, schedule: Sequence[Deployment] | None) -> Scenario:
    """The scenario, ready with what was held at first."""
    if not schedule:
        return scenario
    levels = scenario.levels(schedule[0])
    initial = tuple(InitialReplica(candidate=c, level=n) for c, n in enumerate(levels) if n)
    return scenario.with_(initial=initial)

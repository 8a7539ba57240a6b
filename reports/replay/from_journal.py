"""A recording from the autoscaler's journal: the observation of every decision, and the deployments that were in force."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from envs.contract import Deployment, Observation
from envs.scenario import Scenario
from reports.replay.recording import RecordError, Recording, recording
from runtime.autoscaler.journal import Record, in_segment, newest_first
from runtime.autoscaler.observation_json import observation_from_json

FEWEST = 10


def scenario_of(path: Path) -> str:
    """Name of the scenario that the newest decision was made for.

    Raises:
        RecordError: there is no decision.
        OSError: it cannot be read.
    """
    return str(next(_intents(path, newest=True))["scenario"])


def read_journal(path: Path, scenario: Scenario) -> Recording:
    """The recording in a journal.

    Args:
        path: the journal's folder, or one of its segments.
        scenario: that of the journal's decisions; decisions for another one are left out.

    Raises:
        RecordError: it holds too few decisions, or they are not of this scenario.
        OSError: it cannot be read.
    """
    if len(scenario.applications) > 1:
        raise RecordError(f"{scenario.name} has several applications; a recording is of one")
    seen: dict[float, Observation] = {}
    for record in _intents(path, newest=False):
        if record["scenario"] != scenario.name:
            continue
        try:
            found = observation_from_json(record["observation"], scenario)
        except (ValueError, KeyError, TypeError) as error:
            raise RecordError(f"{path}: its decisions do not fit the scenario {scenario.name} ({error})") from error
        seen[found.t_s] = found
    times = np.array(sorted(seen))
    if len(times) < FEWEST:
        raise RecordError(f"{path}: {len(times)} decisions for {scenario.name}, too few to replay ({FEWEST})")
    step_s = float(np.median(np.diff(times)))
    place = np.rint((times - times[0]) / step_s).astype(np.int64)  # an observation tells of the step before it
    return _recording(path, times[0], step_s, [seen[t] for t in times[1:]], place[1:] - 1)


def _recording(path: Path, began_s: float, step_s: float, observations: list[Observation], place: np.ndarray) -> Recording:
    steps = int(place[-1]) + 1
    table = {name: np.full(steps, np.nan) for name in ("requests", "replicas", "violations", "failed", "held", "accuracy")}
    deployments: list[tuple[int, Deployment]] = []
    for step, seen in zip(place.tolist(), observations):
        told = next(iter(seen.applications.values()))
        if math.isnan(seen.age_s) or seen.age_s > seen.interval_s:
            continue  # nothing new was seen
        requests = told.offered_rps * step_s
        kinds = seen.kinds.values()
        table["requests"][step] = requests
        table["replicas"][step] = sum(k.ready + k.pending + k.draining for k in kinds)
        table["held"][step] = sum(device.held for device in seen.devices.values())
        for name, ratio in (("violations", told.violation_ratio), ("failed", told.failed_ratio), ("accuracy", told.accuracy)):
            table[name][step] = ratio * requests if requests else 0.0
        if not deployments or deployments[-1][1] != seen.deployment:
            deployments.append((step if deployments else 0, seen.deployment))
    load = table.pop("requests")
    return recording(f"journal {path.name}", began_s, step_s, load, deployments=tuple(deployments), scrape_s=step_s, **table)


def _intents(path: Path, newest: bool) -> Iterator[Record]:
    """The decisions, the newest first or last."""
    found = [r for r in (newest_first(path) if path.is_dir() else in_segment(path)) if r.get("type") == "intent"]
    if not found:
        raise RecordError(f"{path}: no decision of an autoscaler in it")
    return iter(found if newest else found[::-1])

"""The tasks of the bench: a file of them, what each one plays, and digests that tell when that is no longer the same.

    read(TASKS).tasks[0].problem()          # the scenario that a policy is told, and plays

A task holds its own reference: what the static policy and the reference policy of its track earned in each window when it was
frozen (`reports.bench.freeze`), so that a score never hangs on who else is scored.
"""

from __future__ import annotations

import hashlib
import json
import os
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from pydantic import Field, ValidationError

from agents.randomise import with_cold_start
from baselines.future import Future
from envs.digest import digest, plain
from envs.loads import Loads, open_loads, spread
from envs.randomness import ARRIVAL, key
from envs.scenario import Part, Positive, Scenario, Workload
from envs.scenario_file import load as load_scenario
from traces.generators import GENERATORS
from traces.samplers import draw

TASKS, PLACEMENT = (Path(__file__).parent / name for name in ("tasks.yaml", "placement.yaml"))
SHORT = 16  # characters of a digest that a file holds


class Task(Part):
    """One scenario under one load, in windows of it; what is not given stays as the scenario has it."""

    name: str
    track: str
    scenario: str  # a built-in name, or a YAML file beside the file of tasks
    trace: str | None = None
    mean_rps: Positive | None = None  # of the whole load, of which windows are a part
    arrivals: Literal["poisson", "gamma"] | None = None
    cv: Positive = 1.0
    seed: Annotated[int, Field(ge=0)]  # added to the workloads' own
    cold_start_s: Positive | None = None  # for every variant
    windows: Annotated[int, Field(ge=1)] = 3
    intervals: Annotated[int, Field(ge=1)]  # of a window
    floor: tuple[float, ...] = ()  # reward of `static` in each window; empty: not yet frozen
    ceiling: tuple[float, ...] = ()  # reward of the track's reference
    digest: str = ""  # of the scenario and of what arrives

    @property
    def real(self) -> bool:
        """Whether it needs the shared traces."""
        return self.trace is not None and self.trace not in GENERATORS

    def problem(self) -> Scenario:
        """The scenario, with this task's load and cold start."""
        return _problem(self)

    def loads(self) -> Loads:
        """What arrives: a held-out draw of a generator, the validation part of a shared trace."""
        return _loads(self)

    def futures(self) -> list[Future]:
        """The windows, spread evenly over the load; the requests of each have a seed of their own."""
        scenario, loads = self.problem(), self.loads()
        starts_s = spread(loads.span_s, self.intervals * scenario.interval_s, self.windows, scenario.interval_s)
        return [Future(loads.loads, start_s, self.seed + i, self.intervals) for i, start_s in enumerate(starts_s)]

    def now(self) -> str:
        """The digest of what it plays today: the scenario, and how many requests arrive in each interval."""
        scenario = self.problem()
        edges_s = np.arange(1, self.intervals + 1) * scenario.interval_s
        counts = [
            np.searchsorted(draw(f.loads[name], np.uint64(key(f.seed, ARRIVAL, i)), f.start_s, edges_s[-1]), edges_s).tolist()
            for f in self.futures()
            for i, name in enumerate(scenario.applications)
            if name in f.loads
        ]
        return _sha([digest(scenario), counts])[:SHORT]


class Reference(Part):
    """What 100 points of a track stand for."""

    told: str  # the problem, in words
    reference: Literal["oracle", "ideal"]  # the oracle; or every request answered in time by the best variant, at no cost


class TaskSet(Part):
    """A file of tasks."""

    version: str
    tracks: dict[str, Reference]
    tasks: tuple[Task, ...]

    def digest(self) -> str:
        """Of all tasks, what they played when they were frozen and their references."""
        said = self.model_dump(mode="json")
        for task in said["tasks"]:
            task["scenario"] = Path(task["scenario"]).name  # wherever it lies
        return _sha(said)[:SHORT]


def read(path: Path = TASKS) -> TaskSet:
    """A file of tasks; scenarios are looked for beside it.

    Raises:
        ValueError: it is not YAML, a field is wrong, a track is unknown, or two tasks have one name.
        OSError: it cannot be read.
    """
    try:
        found = TaskSet.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    names = [task.name for task in found.tasks]
    for task in found.tasks:
        if task.track not in found.tracks:
            raise ValueError(f"{path}: task {task.name}: no track '{task.track}'; there are {', '.join(found.tracks)}")
        if names.count(task.name) > 1:
            raise ValueError(f"{path}: two tasks are called {task.name}")
    beside = {t.name: str(path.parent / t.scenario) for t in found.tasks if Path(t.scenario).suffix in (".yaml", ".yml")}
    tasks = [t.model_copy(update={"scenario": beside[t.name]}) if t.name in beside else t for t in found.tasks]
    return found.model_copy(update={"tasks": tuple(tasks)})


def playable(tasks: TaskSet) -> tuple[list[Task], list[str]]:
    """The tasks whose traces are here, and the names of the others."""
    here = bool(os.environ.get("TIDAL_TRACES"))
    return [t for t in tasks.tasks if here or not t.real], [t.name for t in tasks.tasks if t.real and not here]


@cache
def _problem(task: Task) -> Scenario:
    scenario = load_scenario(task.scenario)
    if task.cold_start_s is not None:
        scenario = with_cold_start(scenario, task.cold_start_s)
    return scenario.with_(workload={name: _workload(task, w) for name, w in scenario.workload.items()})


def _workload(task: Task, own: Workload) -> Workload:
    given: dict[str, Any] = {"trace": task.trace, "mean_rps": task.mean_rps, "arrivals": task.arrivals}
    changes = {name: value for name, value in given.items() if value is not None}
    if task.mean_rps is not None:
        changes["scale"] = None
    if task.arrivals is not None:
        changes["cv"] = task.cv
    return own.model_copy(update={**changes, "seed": own.seed + task.seed})


@cache
def _loads(task: Task) -> Loads:
    scenario = task.problem()
    return open_loads(scenario, None, "val", task.windows * task.intervals * scenario.interval_s)


def _sha(value: Any) -> str:
    return hashlib.sha256(json.dumps(plain(value), sort_keys=True).encode()).hexdigest()

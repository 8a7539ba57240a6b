"""One row of one cell of the protocol: calibrated on training load, then played on the validation windows."""

from __future__ import annotations

import hashlib
import inspect
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from glob import glob
from pathlib import Path
from typing import Any

from baselines.bound import bound
from baselines.future import Future
from baselines.oracle import Oracle
from baselines.perfect_forecast import PerfectForecastPlanner
from baselines.shortlist import fits
from envs.contract import Policy
from envs.episode import Episode
from envs.loads import spread
from envs.scenario import Scenario
from envs.scenario_file import load as load_scenario
from reports.code_version import ROOT, version_of
from reports.play import make_policy
from reports.protocol_plan import SOURCES, Cell, Sizes
from reports.protocol_tuning import TABLES, calibrated, played
from reports.record import plain
from reports.results import digest

ORACLE, BOUND, PERFECT, STATIC, STATIC_FAST = "oracle", "bound", "perfect-forecast", "static", "static-fast"
HINDSIGHT = (PERFECT, ORACLE, BOUND)  # what nobody can run
KEPT = ("reward", "violation_ratio", "accuracy", "cost", "settled", "p99_s", "decision_p50_s")
PLAYING = ("envs/episode.py", "envs/loads.py", "baselines/calibrate.py", "reports/training_windows.py")  # what plays all rows
PLANNER, SUPERVISED, IMITATION, REWARD, KNOWS = "planner", "supervised", "imitation", "reward-trained", "hindsight"


@dataclass(frozen=True)
class Row:
    """A row of the table: a policy, or several agents of one kind that differ in their training seed.

    Attributes:
        label: in tables.
        members: names that `agents.registry` knows, or paths.
    """

    label: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """What one process does at a time."""

    cell: Cell
    row: Row
    sizes: Sizes

    def key(self) -> str:
        """What all its numbers hang on, as a digest: the scenario, the load, the sizes, the code, and an agent's weights."""
        return next(iter(keys_of([self]).values()))


def keys_of(tasks: Iterable[Task]) -> dict[Task, str]:
    """The key of each task; what makes a row, and the digest of a problem, are found once."""
    made, digests = cache(_made_of), cache(lambda cell: digest(cell.problem()))
    told = {task: {"cell": task.cell.described(), "row": asdict(task.row), "sizes": asdict(task.sizes),
                   "scenario": digests(task.cell), **made(task.row, task.cell.scenario)} for task in tasks}
    return {task: hashlib.sha256(json.dumps(plain(words), sort_keys=True).encode()).hexdigest()[:24]
            for task, words in told.items()}


def rows_of(words: Sequence[str], scenario: Scenario) -> list[Row]:
    """Rows by name, each once; ``LABEL=PATTERN`` is one row of all agents whose folders match. `static` is always there.

    Raises:
        ValueError: a name stands for hindsight, a pattern matches nothing, or two rows have one label.
        LookupError, ImportError: an unknown policy.
    """
    rows = []
    for word in dict.fromkeys([STATIC, *words]):
        label, equals, pattern = word.partition("=")
        if word in HINDSIGHT:
            raise ValueError(f"{word} is always there: it is no policy that anyone can run")
        members = tuple(sorted(glob(pattern))) if equals else (word,)
        if not members:
            raise ValueError(f"{word}: no folder matches {pattern}")
        for member in members:
            _made(member, scenario)
        rows.append(Row(label if equals else _short(word), members))
    labels = [row.label for row in rows]
    if twice := next((label for label in labels if labels.count(label) > 1), None):
        raise ValueError(f"two rows are called {twice}: give LABEL=FOLDER")
    return rows


def _short(word: str) -> str:
    """A path by its last telling part, anything else as it is."""
    path = Path(word)
    return (path.parent if path.name == "best" else path).name.rpartition(":")[2]


def hindsight_rows() -> list[Row]:
    """Those that stand beside the policies."""
    return [Row(name, (name,)) for name in HINDSIGHT]


def outcome(task: Task) -> dict[str, Any]:
    """Plays a task; plain data. A row that cannot play the cell has no episodes, and ``refused`` says why."""
    began, scenario = time.process_time(), task.cell.problem()
    sizes, label = task.sizes, task.row.label
    found: dict[str, Any] = {"cell": task.cell.described(), "row": label, "members": list(task.row.members), "refused": "",
                             "settings": None, "calls": 0, "episodes": []}
    window_s = sizes.intervals * scenario.interval_s
    found["load"] = task.cell.loads("val", window_s * sizes.windows).told
    futures = _futures(task.cell.at_any_cold_start, sizes)
    try:
        if label == BOUND:
            found["kind"], found["episodes"] = KNOWS, [_bound(scenario, future) for future in futures]
        else:
            for member, word in enumerate(task.row.members):
                policy = _member(word, scenario, task, found)
                found["episodes"] += [{"member": member, **_kept(played(scenario, policy, f))} for f in futures]
                found["kind"] = kind(policy)  # some say only here what decides at this cold start
    except ValueError as error:
        found["refused"], found["episodes"] = " ".join(str(error).split()), []
    return {**found, "cpu_s": time.process_time() - began}


@lru_cache(maxsize=SOURCES)
def _futures(cell: Cell, sizes: Sizes) -> list[Future]:
    """The validation windows of a source, the same objects at every cold start: what hindsight has found of one is kept."""
    scenario = cell.problem()
    window_s = sizes.intervals * scenario.interval_s
    val = cell.loads("val", window_s * sizes.windows)
    starts_s = dict.fromkeys(spread(val.span_s, window_s, sizes.windows, scenario.interval_s))
    return [Future(val.loads, s, seed, sizes.intervals) for s in starts_s for seed in range(sizes.seeds)]


def _member(word: str, scenario: Scenario, task: Task, found: dict[str, Any]) -> Policy:
    """A policy as it plays: a planner with the settings that calibration chooses on training load, an agent as it is."""
    policy = _made(word, scenario)
    found["kind"], found["trained_on"] = kind(policy), trained_on(policy)
    space = type(policy).space(scenario)
    if not space or found["kind"] in (IMITATION, REWARD):
        return policy
    tuned = calibrated(type(policy), task.cell, task.sizes)
    found |= {"settings": tuned.settings, "calls": tuned.calls, "trained_load": tuned.load}
    return type(policy)(**tuned.settings)


def _made(word: str, scenario: Scenario) -> Policy:
    if word == ORACLE:
        return Oracle()
    return PerfectForecastPlanner() if word == PERFECT else make_policy(word, scenario)


def _kept(episode: Episode) -> dict[str, Any]:
    return {"start_s": episode.start_s, "seed": episode.seed, **{name: episode.totals[name] for name in KEPT}}


def _bound(scenario: Scenario, future: Future) -> dict[str, Any]:
    least = bound(scenario, future)
    return {"member": 0, "start_s": future.start_s, "seed": future.seed, "reward": least.reward,
            "violation_ratio": least.violation, "accuracy": least.accuracy, "cost": least.cost}


def kind(policy: Policy) -> str:
    """How a policy came to decide as it does: what it says itself (``learning``), else by the room that it lives in."""
    if isinstance(policy, (Oracle, PerfectForecastPlanner)):
        return KNOWS
    told = getattr(policy, "learning", "")
    return told or (REWARD if type(policy).__module__.startswith(("agents.", "stable_baselines3.")) else PLANNER)


def manifest_of(policy: Policy) -> Any:
    """What an exported agent says of itself, also where it decides the replicas within two time scales; None: nothing."""
    return getattr(policy, "manifest", None) or getattr(getattr(policy, "planner", None), "manifest", None)


def trained_on(policy: Policy) -> list[str]:
    """The traces that an agent's manifest names; empty: none, or not told."""
    training: Mapping[str, Any] = getattr(manifest_of(policy), "training", None) or {}
    named = training.get("traces") or training.get("trace") or training.get("families") or []
    return [name.strip() for name in named.split(",")] if isinstance(named, str) else [str(name) for name in named]


def _made_of(row: Row, scenario: str) -> dict[str, Any]:
    """The version of the code that plays a row, and the weights of agents: what is changed or retrained is played anew."""
    policies = [] if row.label == BOUND else [_made(word, load_scenario(scenario)) for word in row.members]
    policies += [_made(word, load_scenario(scenario)) for p in policies for word in getattr(p, "members", ())]
    own = [Path(inspect.getfile(type(policy))) for policy in policies] or [ROOT / "baselines/bound.py"]
    own += [ROOT / "baselines/shortlist.py"] if any(fits(type(policy)) for policy in policies) else []
    manifests = [m for m in map(manifest_of, policies) if m is not None]
    weights = [str(getattr(m, "weights_sha256", "")) for m in manifests]
    return {"code": version_of(*(ROOT / name for name in PLAYING), *own), "tables": TABLES, "weights": weights}

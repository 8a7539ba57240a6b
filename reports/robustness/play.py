"""One policy under one disturbance, on all windows: the cells of the matrix, each by itself, so that several run at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from typing import Any

from baselines.future import Future
from baselines.oracle import Oracle
from envs.contract import Decision, Observation, Policy
from envs.episode import run_episode
from envs.loads import Loads, open_loads
from envs.scenario import Scenario
from envs.scenario_file import load as load_scenario
from reports.play import make_policy
from reports.protocol_play import kind
from reports.robustness.disturbances import NONE, named

KEPT = ("reward", "violation_ratio", "accuracy", "cost", "p99_s")


@dataclass(frozen=True)
class Stage:
    """What all cells share.

    Attributes:
        scenario: name or path.
        trace: in place of the scenario's; None: its own.
        split: part of the load.
        starts_s: of the windows.
        intervals: length of a window.
        seeds: of the requests.
    """

    scenario: str
    trace: str | None
    split: Any
    starts_s: tuple[float, ...]
    intervals: int
    seeds: int

    def problem(self) -> Scenario:
        """What a policy is told."""
        return load_scenario(self.scenario)


@dataclass(frozen=True)
class Cell:
    """One policy under one disturbance: ``runs`` has a row a window and seed, ``kind`` says how the policy came to decide."""

    policy: str
    disturbance: str
    kind: str
    runs: tuple[dict[str, float], ...]


class Clairvoyant(Policy):
    """An oracle that knows the trouble as well as the load: it finds its schedule in the world that is played.

    A neighbour's spells alone it does not know: its tables are made by many clusters at once, which have none.
    """

    def __init__(self, oracle: Oracle, world: Scenario) -> None:
        self._oracle, self._world = oracle, world

    def reset(self, scenario: Scenario) -> None:
        """Finds the schedule, whatever is told."""
        self._oracle.reset(self._world.with_(interference=None))

    def decide(self, observation: Observation) -> Decision:
        """The next deployment of the schedule."""
        return self._oracle.decide(observation)


def cell(stage: Stage, policy_name: str, disturbance: str) -> Cell:
    """Plays one cell."""
    told, trouble = stage.problem(), named(disturbance)
    world, window_s = trouble.world(told), stage.intervals * told.interval_s
    calm = loads_of(stage.scenario, stage.trace, stage.split, window_s * len(stage.starts_s))
    loads = trouble.loads(calm.loads, stage.starts_s, window_s)
    policy = make_policy(policy_name, told)
    runs = []
    for start_s in stage.starts_s:
        for seed in range(stage.seeds):
            future = Future(loads, start_s, seed, stage.intervals)
            player = Clairvoyant(policy.foresee(future), world) if isinstance(policy, Oracle) else policy
            episode = run_episode(world, player, loads, seed=seed, start_s=start_s, intervals=stage.intervals, told=told)
            runs.append({"start_s": start_s, "seed": seed, **{name: float(episode.totals[name]) for name in KEPT}})
    return Cell(policy_name, disturbance, kind(policy), tuple(runs))


@cache
def loads_of(scenario: str, trace: str | None, split: Any, needed_s: float) -> Loads:
    """The load without a trouble."""
    return open_loads(load_scenario(scenario), trace, split, needed_s)


def play(stage: Stage, policies: Sequence[str], disturbances: Sequence[str], jobs: int) -> Iterator[Cell]:
    """All cells, the undisturbed ones first; in order with one job, as they end with more."""
    asked = [(policy, disturbance) for disturbance in (NONE.name, *disturbances) for policy in policies]
    if jobs <= 1:
        yield from (cell(stage, policy, disturbance) for policy, disturbance in asked)
        return
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN))
    try:
        waiting = {pool.submit(cell, stage, *words) for words in asked}
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    finally:
        pool.shutdown(cancel_futures=True)

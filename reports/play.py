"""Plays every policy on the same windows and seeds, in this process or in several."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from typing import Any

from baselines import future
from baselines.oracle import Oracle
from envs import episode as episodes
from envs.contract import Policy
from envs.episode import Episode
from envs.scenario import Scenario
from envs.scenario_file import load
from traces.load import Load

Maker = Callable[[str, Scenario], Policy]


@dataclass(frozen=True)
class Run:
    """One episode to be played: a policy by its place in the plan, a window, a seed."""

    policy: int
    start_s: float
    seed: int


@dataclass(frozen=True)
class Plan:
    """What is to be played.

    Attributes:
        scenario: name or path, for other processes to load.
        policies: names that `agents.registry` knows, paths of agents, or ``package.module:Class``.
        labels: what the policies are called in results; no two alike.
        loads: by application.
        trace: name of the load.
        starts_s: where windows begin.
        seeds: of the randomness of requests.
        intervals: length of a window.
    """

    scenario: str
    policies: tuple[str, ...]
    labels: tuple[str, ...]
    loads: Mapping[str, Load]
    trace: str
    starts_s: tuple[float, ...]
    seeds: tuple[int, ...]
    intervals: int

    def runs(self) -> list[Run]:
        """All episodes, every policy on a window and seed before the next, so that an interruption leaves pairs."""
        return [
            Run(policy, start_s, seed)
            for seed, start_s, policy in product(self.seeds, self.starts_s, range(len(self.policies)))
        ]


class Player:
    """Plays runs of a plan; a policy is made once and starts afresh on each of its runs."""

    def __init__(self, plan: Plan, scenario: Scenario, make: Maker) -> None:
        self.plan, self.scenario, self._make = plan, scenario, make
        self._policies: dict[int, Policy] = {}

    def policy(self, index: int) -> Policy:
        """A policy of the plan, made on first use."""
        if index not in self._policies:
            self._policies[index] = self._make(self.plan.policies[index], self.scenario)
        return self._policies[index]

    def play(self, run: Run) -> Episode:
        """One episode; its ``meta`` says whether the policy's settings are calibrated (None: it has none)."""
        policy, plan = self.policy(run.policy), self.plan
        if isinstance(policy, Oracle):
            policy = policy.foresee(future.Future(plan.loads, run.start_s, run.seed, plan.intervals))
        episode = episodes.run_episode(
            self.scenario,
            policy,
            plan.loads,
            seed=run.seed,
            start_s=run.start_s,
            intervals=plan.intervals,
            policy_name=plan.labels[run.policy],
            trace_name=plan.trace,
        )
        episode.meta["calibrated"] = getattr(policy, "calibrated", None)
        return episode


def make_policy(name: str, scenario: Scenario) -> Policy:
    """A policy by name, calibrated for the scenario; the registry is asked only now, since it may import much."""
    from agents import registry

    policy: Policy = registry.make(name, scenario)
    return policy


def play(player: Player, jobs: int = 1) -> Iterator[tuple[Run, Episode]]:
    """Plays all runs of a plan, in order with one job, as they end with more."""
    if jobs <= 1:
        for run in player.plan.runs():
            yield run, player.play(run)
        return
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), _start, (player.plan,))
    try:
        waiting: dict[Future[Episode], Run] = {pool.submit(_play, run): run for run in player.plan.runs()}
        while waiting:
            for done in wait(waiting, return_when=FIRST_COMPLETED).done:
                yield waiting.pop(done), done.result()
    finally:
        pool.shutdown(cancel_futures=True)  # after an interruption: only what is being played now is waited for


_player: list[Any] = []  # the one Player of a worker process


def _start(plan: Plan) -> None:
    """Makes a worker process ready; an interruption is the main process's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _player[:] = [Player(plan, load(plan.scenario), make_policy)]


def _play(run: Run) -> Episode:
    episode: Episode = _player[0].play(run)
    return episode

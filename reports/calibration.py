"""Calibrates policies on training windows of one load, each with as many calls of the simulator as the others."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from types import MappingProxyType

from baselines.calibrate import Calibration, Settings, calibrate
from envs import episode as episodes
from envs.contract import Policy
from envs.scenario import Scenario
from envs.scenario_file import load as load_scenario
from reports.training_windows import Window
from traces.load import Load

Player = Callable[["Call"], float]


@dataclass(frozen=True)
class Stage:
    """On what settings are played.

    Attributes:
        scenario: name or path, for other processes to load.
        loads: the training load, by application.
        intervals: length of a window.
    """

    scenario: str
    loads: Mapping[str, Load]
    intervals: int


@dataclass(frozen=True)
class Call:
    """One call of the simulator: a policy with some settings, the rest default, on a window."""

    policy: type[Policy]
    settings: Settings
    window: Window


def calibrate_all(
    policies: Mapping[str, type[Policy]],
    scenario: Scenario,
    stage: Stage,
    budget: int,
    windows: tuple[Sequence[Window], Sequence[Window]],
    jobs: int = 1,
    tell: Callable[[str], None] = lambda policy: None,
    shortlists: Mapping[str, Sequence[Settings]] = MappingProxyType({}),
) -> dict[str, Calibration]:
    """What calibration finds for each policy, by name. Results do not hang on the number of processes.

    Args:
        policies: classes, by name.
        scenario: that of the stage.
        stage: on what they are played.
        budget: calls of the simulator for each policy.
        windows: those that choose and those that judge, as many of each as the budget.
        jobs: processes.
        tell: hears the name of the policy after each call.
        shortlists: settings to try in place of drawn ones, by name.

    Raises:
        ValueError: a policy has nothing to calibrate, the budget is too small, or a reward is not a number.
    """
    if jobs <= 1:
        return _all(policies, scenario, budget, windows, partial(map, partial(play, stage, scenario)), tell, shortlists)
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), _start, (stage,))
    try:
        return _all(policies, scenario, budget, windows, partial(pool.map, _play), tell, shortlists)
    finally:
        pool.shutdown(cancel_futures=True)  # after an interruption: only what is being played now is waited for


def play(stage: Stage, scenario: Scenario, call: Call) -> float:
    """Mean reward of one episode."""
    episode = episodes.run_episode(
        scenario,
        call.policy(**call.settings),
        stage.loads,
        seed=call.window.seed,
        start_s=call.window.start_s,
        intervals=stage.intervals,
    )
    return episode.totals["reward"]


def _all(
    policies: Mapping[str, type[Policy]],
    scenario: Scenario,
    budget: int,
    windows: tuple[Sequence[Window], Sequence[Window]],
    play_all: Callable[[Sequence[Call]], Iterator[float]],
    tell: Callable[[str], None],
    shortlists: Mapping[str, Sequence[Settings]],
) -> dict[str, Calibration]:
    found = {}
    for name, policy in policies.items():

        def rewards(
            calls: Sequence[tuple[Settings, Window]], name: str = name, policy: type[Policy] = policy
        ) -> Iterator[float]:
            for reward in play_all([Call(policy, settings, window) for settings, window in calls]):
                tell(name)
                yield reward

        found[name] = calibrate(policy.space(scenario), budget, *windows, rewards, shortlist=shortlists.get(name, ()))
    return found


_stage: list[tuple[Stage, Scenario]] = []  # the one stage of a worker process


def _start(stage: Stage) -> None:
    """Makes a worker process ready; an interruption is the main process's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _stage[:] = [(stage, load_scenario(stage.scenario))]


def _play(call: Call) -> float:
    return play(*_stage[0], call)

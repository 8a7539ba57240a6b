"""Schedules of placements, with every request known: the best one for all of them, and one planned anew as they come.

AlpaServe's search and the better one (`baselines.placement_improve`) plan on the episode's own requests. A placement that
changes is planned for the next `AHEAD` intervals, with what the change costs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from baselines.alpaserve_online import ANEW, Switching
from baselines.future import Future
from baselines.placement import normal
from baselines.placement_improve import BUDGET, improve, plan, requests_played
from baselines.placement_replay import Replay, Requests
from baselines.placement_scenario import deployment_of, merged, problem_of
from envs.contract import Deployment
from envs.randomness import ARRIVAL, key
from envs.scenario import Scenario
from traces.samplers import draw

AHEAD = 5  # intervals


def is_placement(scenario: Scenario) -> bool:
    """Whether a scenario asks which models share which devices: several services, each with one model."""
    services = scenario.services.values()
    return len(services) > 1 and all(len(s.variants) == 1 for s in services) and len(scenario.applications) == len(services)


def placed_schedules(scenario: Scenario, future: Future, seed: int = 0) -> Iterator[list[Deployment]]:
    """The schedules.

    Raises:
        ValueError: the scenario is not one of placement (`baselines.placement_scenario.problem_of`).
    """
    problem, requests = problem_of(scenario), requests_of(scenario, future)
    replay = Replay(problem, requests)
    placement = plan(replay, replay, requests_played(BUDGET), seed).placement
    kept = deployment_of(scenario, placement)
    yield [kept] * future.intervals
    schedule = [kept]
    for t in range(1, future.intervals):
        begin_s, end_s = t * scenario.interval_s, (t + AHEAD) * scenario.interval_s
        ahead = Replay(problem, _between(requests, begin_s, end_s))
        before = improve(ahead, normal(placement), requests_played(0))
        worth = Switching(scenario, problem, before, AHEAD * scenario.interval_s)
        after = improve(ahead, before.placement, requests_played(ANEW), seed, worth)
        placement = after.placement if worth(after) > worth(before) else placement
        schedule.append(deployment_of(scenario, placement))
    yield schedule


def requests_of(scenario: Scenario, future: Future) -> Requests:
    """The requests of an episode, by model."""
    until_s = future.intervals * scenario.interval_s
    services = list(scenario.services)
    seeds = {name: np.uint64(key(future.seed, ARRIVAL, i)) for i, name in enumerate(scenario.applications)}
    return merged({services.index(name): draw(load, seeds[name], future.start_s, until_s)
                   for name, load in future.loads.items()})


def _between(requests: Requests, begin_s: float, end_s: float) -> Requests:
    first, last = np.searchsorted(requests.arrival_s, (begin_s, end_s))
    return Requests(requests.arrival_s[first:last] - begin_s, requests.model[first:last])

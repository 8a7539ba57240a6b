"""Where proposals come from: planners asked under many loads and preferences, and the few that together do best, played.

A pipeline's are IPA's plans, a placement's AlpaServe's with the better search, a service's all deployments of one or two
candidates. The few are chosen greedily: each adds the most to the mean, over situations, of the best of those chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product

import numpy as np
from scipy.cluster.vq import kmeans2

from agents.proposals import Proposals
from baselines.alpaserve_search import search
from baselines.ipa import IPA
from baselines.ladder import ladder_of
from baselines.placement_improve import WIDER, better, requests_played
from baselines.placement_replay import Replay
from baselines.placement_scenario import SteadyLoad, deployment_of, problem_of
from envs.contract import Deployment
from envs.envelope import project
from envs.scenario import Scenario

LOADS, LEAST = 32, 0.03  # of a pipeline: geometric, from so much of what the budget carries
FONDNESS = (0.3, 0.6, 1.0, 1.6, 3.0)  # factors on the weight of accuracy
PATIENCE = (1.0, 1.6, 2.5)  # factors on latencies: smaller batches
MOST = 1500  # deployments of a service, to be played
ALIKE = (24, 96)  # groups of intervals, coarse and fine
LEAST_GAIN = 1e-6  # of reward, in the mean: less is rounding
PLACED, PLANNING_S, REPLAYED = 20, 300.0, 2e7  # load vectors, length of the requests, requests replayed for each


def pool_of(scenario: Scenario, rates_rps: np.ndarray, rng: np.random.Generator) -> Proposals:
    """All that may be proposed, the initial deployment first.

    Args:
        scenario: of one service, one pipeline, or a placement of many services.
        rates_rps: (T, A) mean rate of each application, over training load.
        rng: source of randomness.

    Raises:
        ValueError: a cascade, several pipelines, or more deployments of one service than can be played.
    """
    applications = list(scenario.applications.values())
    if any(application.cascade for application in applications):
        raise ValueError(f"scenario '{scenario.name}': a cascade's thresholds are no part of a proposal")
    if len(applications) > 1:
        found = _placements(scenario, rates_rps, rng)
    else:
        found = _plans(scenario) if len(applications[0].services) > 1 else _few_kinds(scenario)
    feasible = [deployment for deployment in found if project(deployment, scenario)[0] == deployment]
    return Proposals.of([scenario.initial_deployment, *feasible])


def covering(worth: np.ndarray, count: int) -> np.ndarray:
    """(count,) at most: entries of a pool, the first always among them, whose best is high in the mean.

    Args:
        worth: (N, P) of each entry in each of N situations.
        count: of entries; fewer where no other one adds anything.
    """
    chosen, best = [0], worth[:, 0]
    while len(chosen) < count:
        gain = np.maximum(worth, best[:, None]).mean(0) - best.mean()
        if gain.max() <= LEAST_GAIN:
            break
        chosen.append(int(gain.argmax()))
        best = np.maximum(best, worth[:, chosen[-1]])
    return np.array(chosen)


def situations(before_rps: np.ndarray, worth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(G, P) mean worth in groups of intervals that look alike beforehand.

    In hindsight a deployment with room for a burst is never the best; before the load is known it may be.

    Args:
        before_rps: (N, A) load of the interval before each.
        worth: (N, P).
        rng: source of randomness.
    """
    logs = np.log(before_rps + 0.02 * before_rps.mean(0))
    rows = []
    for count in ALIKE:
        groups = kmeans2(logs, min(count, len(logs)), minit="++", rng=rng)[1]
        rows += [worth[groups == g].mean(0) for g in np.unique(groups)]
    return np.array(rows)


def _plans(scenario: Scenario) -> list[Deployment]:
    """IPA's plans of a pipeline."""
    loads_rps = np.geomspace(LEAST, 1.0, LOADS) * ladder_of(scenario, 2).loads_rps[-1]
    found = []
    for fondness, patience in product(FONDNESS, PATIENCE):
        planner = IPA(capacity_ratio=1.0, alpha=fondness * scenario.weights.accuracy, latency_ratio=patience)
        planner.reset(scenario)
        plans = [planner.plan(float(rps)) for rps in loads_rps]
        found += [Deployment({kind: n for (_, kind, _), n in plan[0].items()}) for plan in plans if plan is not None]
    return found


def _few_kinds(scenario: Scenario) -> list[Deployment]:
    """All deployments of one or two candidates of a service within the budget."""
    rows: set[tuple[int, ...]] = set()
    numbers = range(len(scenario.candidates))
    for some in combinations(numbers, min(2, len(numbers))):
        for levels in product(*(range(scenario.candidates[c].levels) for c in some)):
            row = [0] * len(scenario.candidates)
            for c, level in zip(some, levels):
                row[c] = level
            rows.add(tuple(row))
    if len(rows) > MOST:
        raise ValueError(f"scenario '{scenario.name}': {len(rows)} deployments of two kinds are too many to play; train the "
                         "order/keep network for it: --agent order-keep")
    return [scenario.deployment(row) for row in sorted(rows) if any(row)]


def _placements(scenario: Scenario, rates_rps: np.ndarray, rng: np.random.Generator) -> list[Deployment]:
    """AlpaServe's placements, bettered, for loads like those of training."""
    problem, steady = problem_of(scenario), SteadyLoad.of(scenario)
    order = [list(scenario.applications).index(name) for name in scenario.services]
    found = []
    for seed, rate in enumerate(_typical(rates_rps[:, order], rng)):
        fewer, more = (Replay(problem, steady.requests(rate, n * PLANNING_S, seed)) for n in (1, WIDER))
        placed = better(more, search(fewer).placement, requests_played(REPLAYED), seed)
        found.append(deployment_of(scenario, placed.placement))
    return found


def _typical(rates_rps: np.ndarray, rng: np.random.Generator) -> Sequence[np.ndarray]:
    """The mean load, and the centres of clusters of loads."""
    centres, _ = kmeans2(rates_rps, min(PLACED - 1, len(rates_rps)), minit="++", rng=rng)
    return [rates_rps.mean(0), *centres]

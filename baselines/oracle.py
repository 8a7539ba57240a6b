"""The oracle: the best schedule that hindsight finds, for scenarios of every family.

It knows every request of the episode. Reward tables (`envs.reward_table`) made of these very requests, with routes for the
load that comes, say what each rung (`baselines.rungs`: of a service's or pipeline's ladder, a cascade's gears, the deployments
of several services) would earn in each interval; dynamic programming finds the best schedule over them, load times and overlap
included, for each of several margins of the routes. Where queues are unlimited, a rung that was short once is behind for long
in the table, though no schedule need be: so rungs that follow the load that comes, with the same margins, stand beside. Where
models are placed on devices, the schedules are those of `baselines.hindsight_placement`. Each schedule is played in the
simulator, and the best is the oracle's. What it decides is feasible, and a policy that knew the future could decide it too.

It is not exact: its deployments are the rungs, its routes those of the fast loop, each change finishes loading before the next
one, and the table forgets what queues one interval leaves to the next. What no policy beats is `baselines.bound`; the best
policy lies between the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from baselines.future import Future
from baselines.hindsight_placement import is_placement, placed_schedules
from baselines.placement_scenario import problem_of
from baselines.quantiles import loading_intervals
from baselines.rungs import Rungs, rungs_of
from envs.cluster import SimulatedCluster
from envs.contract import Decision, Deployment, Observation, Policy
from envs.digest import digest
from envs.loading import ROUNDING, changes_of
from envs.reward import pricing, reward, terms
from envs.reward_table import RewardTable, coming_rps, reward_table
from envs.routes import ROUTE_MARGIN, deployment_of, hosting_of, share_out
from envs.scenario import Scenario

FAST_MARGINS = (1.05, 1.2, 1.4, 1.7)  # on the load that comes: for bursts within an interval


class Oracle(Policy):
    """Plays the best schedule found in hindsight.

    Args:
        future: the episode that it will play; without it, `foresee` makes an oracle that has one.

    Raises:
        ValueError: on reset, for a scenario without rungs; on the first decision, without a future.
    """

    def __init__(self, future: Future | None = None) -> None:
        self.future = future

    def foresee(self, future: Future) -> Oracle:
        """The oracle of one episode."""
        return type(self)(future)

    def reset(self, scenario: Scenario) -> None:
        """Finds the schedule, which takes seconds."""
        self._played = 0
        self._schedule: list[Deployment] = []
        future = self.future
        if future is None:
            _check(scenario)
            return
        found = placed_schedules(scenario, future) if is_placement(scenario) else _schedules(scenario, future)
        self._schedule = max(found, key=lambda schedule: played(scenario, future, schedule))

    def decide(self, observation: Observation) -> Decision:
        """The next deployment of the schedule; the last one after its end."""
        if not self._schedule:
            raise ValueError("an oracle needs the future: make it with Oracle(future), or by foresee(future)")
        deployment = self._schedule[min(self._played, len(self._schedule) - 1)]
        self._played += 1
        return Decision(deployment, "best in hindsight")


def _check(scenario: Scenario) -> None:
    """Raises where the scenario has no schedules, whatever comes."""
    if is_placement(scenario):
        problem_of(scenario)
    else:
        rungs_of(scenario, np.ones((1, len(scenario.services))))


def _schedules(scenario: Scenario, future: Future) -> Iterator[list[Deployment]]:
    """For each margin the best schedule over the rungs, and the one that follows the load that comes, with their routes."""
    coming = admitted_rps(scenario, future)
    rungs, hosting = rungs_of(scenario, coming), hosting_of(scenario)
    for margin in FAST_MARGINS:
        chosen = [_following(scenario, rungs, margin * coming)]
        if margin == FAST_MARGINS[0] or _routed(scenario, rungs):
            chosen.append(_table(scenario, future, rungs, coming, margin).best(0) - 1)  # row 0 is the initial deployment
        for schedule in chosen:
            levels = np.where(schedule[:, None] < 0, scenario.levels(scenario.initial_deployment), rungs.levels[schedule])
            shares = share_out(hosting, levels, coming * (margin / ROUTE_MARGIN))
            deployments = [deployment_of(scenario, *row) for row in zip(levels, shares)]
            yield _with_thresholds(scenario, rungs, deployments, schedule)
            if rungs.thresholds:
                yield _with_thresholds(scenario, rungs, deployments, _once_loaded(scenario, levels, schedule))


def _table(scenario: Scenario, future: Future, rungs: Rungs, coming: np.ndarray, margin: float) -> RewardTable:
    """Played once for a future, whatever the load times."""
    at_once = scenario.with_(variants={n: v.model_copy(update={"load_s": 0.0}) for n, v in scenario.variants.items()})
    asked = (digest(at_once), rungs.levels.tobytes(), margin)
    if asked not in future.found:
        window = (future.start_s, future.seed)
        future.found[asked] = reward_table(scenario, future.loads, rungs.levels, [window], future.intervals, margin,
                                           coming[None], rungs.thresholds)
    found: RewardTable = future.found[asked]
    return found.at(scenario)


def _with_thresholds(scenario: Scenario, rungs: Rungs, deployments: Sequence[Deployment],
                     schedule: np.ndarray) -> list[Deployment]:
    """Deployments with the thresholds of a schedule's rungs; -1: the initial ones."""
    first = scenario.initial_deployment.thresholds
    thresholds = [rungs.thresholds[rung] if rungs.thresholds and rung >= 0 else first for rung in schedule]
    return [replace(deployment, thresholds=row) for deployment, row in zip(deployments, thresholds)]


def _once_loaded(scenario: Scenario, levels: np.ndarray, schedule: np.ndarray) -> np.ndarray:
    """(T,) of a cascade's rungs, those whose replicas have loaded: thresholds would act at once."""
    loading, loaded, since = changes_of(scenario, levels).between()[0], schedule.copy(), 0
    now = 0  # the interval whose rung has loaded
    for t in range(1, len(schedule)):
        since = t if schedule[t] != schedule[t - 1] else since
        now = t if t - since >= loading[now, t] - ROUNDING else now
        loaded[t] = schedule[now]
    return loaded


def _routed(scenario: Scenario, rungs: Rungs) -> bool:
    """Whether some rung shares a service's requests among several kinds, so that routes depend on the margin."""
    hosts = hosting_of(scenario).capacity_rps[:, :, 1] > 0
    return bool(((rungs.levels > 0)[:, None] & hosts).sum(-1).max() > 1)


def _following(scenario: Scenario, rungs: Rungs, needed_rps: np.ndarray) -> np.ndarray:
    """(T,) rungs for the greatest load until what is ordered in the next interval has loaded; the initial deployment first."""
    ahead = loading_intervals(scenario) + 1
    padded = np.concatenate([needed_rps, np.repeat(needed_rps[-1:], ahead - 1, axis=0)])
    rows = rungs.carrying(np.lib.stride_tricks.sliding_window_view(padded, ahead, axis=0).max(-1))
    return np.concatenate([[-1], rows[1:]])


def admitted_rps(scenario: Scenario, future: Future) -> np.ndarray:
    """(T, Z) load that comes, of each tenant no more than its quota."""
    coming = coming_rps(scenario, future.loads, future.start_s, future.seed, future.intervals)
    for name, tenant in scenario.tenants.items():
        own = [z for z, service in enumerate(scenario.services.values()) if service.tenant == name]
        if tenant.quota_rps and own:
            total = coming[:, own].sum(1, keepdims=True)
            coming[:, own] *= np.minimum(1.0, tenant.quota_rps / np.maximum(total, tenant.quota_rps))
    return coming


def played(scenario: Scenario, future: Future, schedule: Sequence[Deployment]) -> float:
    """Mean reward that a schedule earns in the simulator."""
    cluster = SimulatedCluster(scenario, future.loads, seed=future.seed, offset_s=future.start_s)
    prices, earned = pricing(scenario, cluster.kinds), []
    for deployment in [cluster.deployment, *schedule[1:]]:  # the envelope keeps the first one while nothing has been seen
        cluster.apply(deployment)
        if len(prices.price_units) != len(cluster.kinds):
            prices = pricing(scenario, cluster.kinds)
        cluster.advance()
        found = terms(prices, cluster.last_truth, cluster.change_load_s, scenario.interval_s)
        earned.append(float(reward(scenario.weights, found)))
    return float(np.mean(earned))

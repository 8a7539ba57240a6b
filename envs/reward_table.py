"""Reward tables: the kernel's reward for every interval of a stretch of load at each of a row of constant deployments.

Load does not hang on what is decided, so one play of each deployment tells what every interval would have earned there. A
schedule, one deployment an interval, is then scored without the kernel, hundreds of settings in seconds, and the best one is
found by dynamic programming. The routes follow the load, as those of a policy on two time scales do.

Deployments are played with all loaded; what changes take and cost follows from load times, which may be longer than an
interval (`envs.loading`).

What a table leaves out: queues that one interval leaves to the next one's deployment (and that a deployment, had it been there
before, would have), routes while replicas load, and what a part of a deployment serves within the interval in which it loads.
Scores are for choosing; `envs.episode.run_episode` tells what a choice earns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from envs.clusters import Clusters
from envs.loading import ROUNDING, Changes, changes_of
from envs.randomness import ARRIVAL, key
from envs.reward import pricing, terms
from envs.routes import ROUTE_MARGIN, hosting_of, share_out
from envs.scenario import Scenario
from traces.samplers import Load, draw

Thresholds = Mapping[tuple[str, int], float]  # by application and stage


@dataclass(frozen=True, eq=False)
class RewardTable:
    """What R deployments earn in each of T intervals of W windows; rewards as the scenario weighs them.

    A schedule is (T,) indices of deployments and begins with 0: in an episode's first interval nothing has been observed, and
    the envelope keeps the initial deployment.

    Attributes:
        levels: (R, C) level of each candidate in each deployment; the first is the scenario's initial one.
        value: (W, T, R) reward for accuracy and violations, all loaded; in the first interval all are the initial deployment.
        offered_rps: (W, T) load.
        cost: (R,) of the deployment, each interval.
        loading: (R, R) intervals until one deployment has loaded in place of another.
        switch: (R, R) reward lost by changing: the change itself, and what is held beside it until all has loaded.
        changes: the same candidate by candidate, for changes that are themselves changed.
    """

    levels: np.ndarray
    value: np.ndarray
    offered_rps: np.ndarray
    cost: np.ndarray
    loading: np.ndarray
    switch: np.ndarray
    changes: Changes

    def at(self, scenario: Scenario) -> RewardTable:
        """The same where load times alone differ: what a deployment earns once it has loaded stays."""
        changes = changes_of(scenario, self.levels)
        loading, switch = changes.between()
        return replace(self, cost=changes.cost(self.levels), loading=loading, switch=switch, changes=changes)

    def score(self, window: int, schedule: np.ndarray) -> float:
        """Mean reward of a schedule."""
        return float(self.scores(window, np.asarray(schedule)[None])[0])

    def scores(self, window: int, schedules: np.ndarray) -> np.ndarray:
        """(N,) mean rewards of schedules (N, T)."""
        return self.changes.scores(self.value[window], schedules)

    def best(self, window: int) -> np.ndarray:
        """The schedule of the highest score among those that let each change finish loading."""
        value = self.value[window]
        length, rungs = value.shape
        so_far = np.concatenate([np.zeros((1, rungs)), np.cumsum(value, axis=0)])
        steps = np.maximum(np.ceil(self.loading - ROUNDING).astype(np.int64), 1)
        reached = np.full((length + 1, rungs), -np.inf)  # all of a deployment ready, at the start of an interval
        reached[1, 0] = value[0, 0] - self.cost[0]
        came = np.zeros((length + 1, rungs, 2), np.int64)  # when the change to it was made, and from what
        for t in range(1, length):
            for n in np.unique(steps):
                if t + n > length:
                    continue
                last, late = value[t + n - 1], self.loading - (n - 1)
                kept = so_far[t + n - 1] - so_far[t]  # earned by the old one in the intervals before the last
                move = (reached[t] + kept)[:, None] + late * last[:, None] + (1 - late) * last - n * self.cost
                move = np.where(steps == n, move - self.switch, -np.inf)
                better = move.max(0) > reached[t + n]
                reached[t + n] = np.where(better, move.max(0), reached[t + n])
                came[t + n, better] = np.stack([np.full(rungs, t), move.argmax(0)], axis=1)[better]
        schedule, t, rung = np.zeros(length, np.int64), length, int(reached[length].argmax())
        while t > 1:
            since, before = came[t, rung]
            schedule[since:t] = rung
            t, rung = since, before
        return schedule


def reward_table(scenario: Scenario, loads: Mapping[str, Load], levels: np.ndarray, windows: Sequence[tuple[float, int]],
                 intervals: int, fast_margin: float = ROUTE_MARGIN, known_rps: np.ndarray | None = None,
                 thresholds: Sequence[Thresholds] = ()) -> RewardTable:
    """Plays every deployment on every window.

    Args:
        scenario: the problem.
        loads: by application.
        levels: (R - 1, C) deployments beside the initial one, each within the budget.
        windows: (start in the loads in seconds, seed) of each.
        intervals: T.
        fast_margin: factor on the load that routes are made for.
        known_rps: (W, T, Z) load that comes, to make routes for; None: the one last observed.
        thresholds: of each of `levels`, in a cascade; none: the scenario's.
    """
    initial = scenario.levels(scenario.initial_deployment)
    levels = np.concatenate([[initial], np.asarray(levels, np.int64)])
    changes = changes_of(scenario, levels)
    loaded = scenario.with_(variants={name: v.model_copy(update={"load_s": 0.0}) for name, v in scenario.variants.items()})
    prices = pricing(loaded, loaded.kinds)
    clusters, hosting = Clusters(loaded, loads, len(levels)), hosting_of(scenario)
    value, offered = np.empty((len(windows), intervals, len(levels))), np.empty((len(windows), intervals))
    for w, (start_s, seed) in enumerate(windows):
        clusters.begin([seed] * len(levels), [start_s] * len(levels), [1.0] * len(levels))
        if thresholds:
            clusters.set_thresholds([scenario.initial_deployment.thresholds, *thresholds])
        for t in range(intervals):
            rps = clusters.view.service_rps if known_rps is None else np.tile(known_rps[w, t], (len(levels), 1))
            if t == 0:
                clusters.advance(np.tile(levels[0], (len(levels), 1)), clusters.shares)
            else:
                clusters.advance(levels, share_out(hosting, levels, rps * (fast_margin / ROUTE_MARGIN)))
            found = terms(prices, clusters.truth, 0.0, scenario.interval_s)
            value[w, t] = scenario.weights.accuracy * found.accuracy - scenario.weights.slo * found.violation
            offered[w, t] = clusters.truth.offered_rps[0].sum()
    return RewardTable(levels, value, offered, changes.cost(levels), *changes.between(), changes)


def coming_rps(scenario: Scenario, loads: Mapping[str, Load], start_s: float, seed: int, intervals: int) -> np.ndarray:
    """(T, Z) load that each service will be offered, req/s: the requests of this seed, at every service of their chain."""
    edges = np.arange(intervals + 1) * scenario.interval_s
    coming = np.zeros((intervals, len(scenario.services)))
    for i, (name, application) in enumerate(scenario.applications.items()):
        if name in loads:
            times = draw(loads[name], np.uint64(key(seed, ARRIVAL, i)), start_s, edges[-1])
            counts = np.histogram(times, edges)[0]
            coming[:, [list(scenario.services).index(s) for s in application.services]] += counts[:, None]
    return coming / scenario.interval_s

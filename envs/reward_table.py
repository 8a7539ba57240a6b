"""Reward tables: the kernel's reward for every interval of a stretch of load at each of a row of constant deployments.

Load does not hang on what is decided, so one play of each deployment tells what every interval would have earned there. A
schedule, one deployment an interval, is then scored without the kernel, hundreds of settings in seconds, and the best one is
found by dynamic programming. The routes follow the load, as those of a policy on two time scales do.

What a table leaves out: queues that one interval leaves to the next one's deployment, and routes while replicas load. Scores
are for choosing; `envs.episode.run_episode` tells what a choice earns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from envs.clusters import Clusters
from envs.randomness import ARRIVAL, key
from envs.reward import pricing, terms
from envs.routes import ROUTE_MARGIN, hosting_of, share_out
from envs.scenario import Scenario
from traces.samplers import Load, draw


@dataclass(frozen=True, eq=False)
class RewardTable:
    """What R deployments earn in each of T intervals of W windows; rewards as the scenario weighs them.

    A schedule is (T,) indices of deployments and begins with 0: in an episode's first interval nothing has been observed, and
    the envelope keeps the initial deployment.

    Attributes:
        levels: (R, C) level of each candidate in each deployment; the first is the scenario's initial one.
        value: (W, T, R) reward for accuracy and violations. In the first interval all play the initial deployment, in the
            second one the others load in place of it.
        offered_rps: (W, T) load.
        cost: (R,) of the deployment, each interval.
        loading: (R, R) share of an interval until one deployment has loaded in place of another.
        switch: (R, R) reward lost by changing: the change itself, and what is held beside it until all has loaded.
    """

    levels: np.ndarray
    value: np.ndarray
    offered_rps: np.ndarray
    cost: np.ndarray
    loading: np.ndarray
    switch: np.ndarray

    def score(self, window: int, schedule: np.ndarray) -> float:
        """Mean reward of a schedule."""
        value, t = self.value[window], np.arange(len(schedule))
        before = np.concatenate([[0], schedule[:-1]])
        late = np.where(t > 1, self.loading[before, schedule], 0.0)
        earned = (1 - late) * value[t, schedule] + late * value[t, before]
        return float((earned - self.cost[schedule] - self.switch[before, schedule]).mean())

    def best(self, window: int) -> np.ndarray:
        """The schedule of the highest score."""
        value = self.value[window]
        reached = np.full(len(self.cost), -np.inf)
        reached[0] = value[0, 0] - self.cost[0]
        came_from = np.zeros(value.shape, np.int64)
        for t in range(1, len(value)):
            late = self.loading if t > 1 else np.zeros_like(self.loading)
            move = reached[:, None] + (1 - late) * value[t] + late * value[t][:, None] - self.cost - self.switch
            came_from[t] = move.argmax(0)
            reached = move.max(0)
        schedule = np.zeros(len(value), np.int64)
        schedule[-1] = reached.argmax()
        for t in range(len(value) - 1, 0, -1):
            schedule[t - 1] = came_from[t, schedule[t]]
        return schedule


def reward_table(scenario: Scenario, loads: Mapping[str, Load], levels: np.ndarray, windows: Sequence[tuple[float, int]],
                 intervals: int, fast_margin: float = ROUTE_MARGIN, foresight: bool = False) -> RewardTable:
    """Plays every deployment on every window.

    Args:
        scenario: the problem; its replicas load within an interval.
        loads: by application.
        levels: (R - 1, C) deployments beside the initial one, each within the budget.
        windows: (start in the loads in seconds, seed) of each.
        intervals: T.
        fast_margin: factor on the load that routes are made for.
        foresight: make routes for the load that comes, in place of the one last observed.

    Raises:
        ValueError: a replica takes longer than an interval to load.
    """
    initial = scenario.levels(scenario.initial_deployment)
    levels = np.concatenate([[initial], np.asarray(levels, np.int64)])
    loading, switch = _changes(scenario, levels)
    prices = pricing(scenario, scenario.kinds)
    clusters, hosting = Clusters(scenario, loads, len(levels)), hosting_of(scenario)
    value, offered = np.empty((len(windows), intervals, len(levels))), np.empty((len(windows), intervals))
    for w, (start_s, seed) in enumerate(windows):
        clusters.begin([seed] * len(levels), [start_s] * len(levels), [1.0] * len(levels))
        coming = coming_rps(scenario, loads, start_s, seed, intervals) if foresight else None
        for t in range(intervals):
            rps = clusters.view.service_rps if coming is None else np.tile(coming[t], (len(levels), 1))
            if t == 0:
                clusters.advance(np.tile(levels[0], (len(levels), 1)), clusters.shares)
            else:
                clusters.advance(levels, share_out(hosting, levels, rps * (fast_margin / ROUTE_MARGIN)))
            found = terms(prices, clusters.truth, 0.0, scenario.interval_s)
            value[w, t] = scenario.weights.accuracy * found.accuracy - scenario.weights.slo * found.violation
            offered[w, t] = clusters.truth.offered_rps[0].sum()
    units = _price_units(scenario, levels)
    return RewardTable(levels, value, offered, scenario.weights.cost * units / prices.budget, loading, switch)


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


def _price_units(scenario: Scenario, levels: np.ndarray) -> np.ndarray:
    """Price x units of each deployment."""
    return np.array([_price(scenario, scenario.deployment(row).replicas) for row in levels])


def _price(scenario: Scenario, replicas: Mapping) -> float:
    return sum(scenario.devices[k.shape.device].price * k.shape.units * n for k, n in replicas.items())


def _changes(scenario: Scenario, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`RewardTable.loading` and `.switch`."""
    longest_s = max(map(scenario.load_s, scenario.kinds))
    if longest_s + scenario.decision_delay_s > scenario.interval_s:
        raise ValueError(f"scenario '{scenario.name}': a replica takes {longest_s:g} s to load, longer than an interval; "
                         "a reward table knows only what has loaded by the next decision")
    weights = scenario.weights
    budget = sum(d.price * d.budget for d in scenario.devices.values())
    after = [scenario.deployment(row).replicas for row in levels]
    loading, switch = np.zeros((2, len(after), len(after)))
    for i, old in enumerate(after):
        for j, new in enumerate(after):
            load_s = max((scenario.load_s(k) for k, n in new.items() if n > old.get(k, 0)), default=0.0)
            given_up = {k: n - new.get(k, 0) for k, n in old.items() if n > new.get(k, 0)}
            loading[i, j] = load_s / scenario.interval_s
            overlap = loading[i, j] * _price(scenario, given_up) / budget
            switch[i, j] = weights.cost * overlap + weights.change * (load_s / longest_s if longest_s else 0.0)
    return loading, switch

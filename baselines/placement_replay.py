"""How good a placement is: its requests played in one pass, with what a search wants to know counted as it goes.

The recursion is that of `envs.replay.replay_groups` (AlpaServe's dispatch and rejection), to the last bit; beside each
latency it counts the requests that each group was given, and it knows models that are still being loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numba import njit

from baselines.placement import Placement, PlacementProblem, replicas

LATENCY_WEIGHT, REPLICA_WEIGHT = 1e-4, 1e-6  # per second, per replica: attainment first, then these


@dataclass(frozen=True, eq=False)
class Requests:
    """Arrivals to plan on or to be scored on.

    Attributes:
        arrival_s: (n,) float64, ascending.
        model: (n,) int64, index of the model asked for.
    """

    arrival_s: np.ndarray
    model: np.ndarray

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Requests:
        """From a table with the columns `arrival_s` and `model`."""
        return cls(frame.arrival_s.to_numpy(np.float64), frame.model.to_numpy(np.int64))

    def only(self, models: Sequence[int]) -> Requests:
        """Those for some of the models."""
        return self[np.isin(self.model, models)]

    def __getitem__(self, chosen: slice | np.ndarray) -> Requests:
        return Requests(self.arrival_s[chosen], self.model[chosen])

    def __len__(self) -> int:
        return len(self.arrival_s)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of the requests.

    Attributes:
        latency_s: (n,) float64, nan where refused.
        asked, good: (M,) int64, requests for each model, and those answered within the SLO.
        dispatched: (groups,) int64, requests sent to each group, refused ones too.
        replicas: models hosted, each counted on each group.
    """

    latency_s: np.ndarray
    asked: np.ndarray
    good: np.ndarray
    dispatched: np.ndarray
    replicas: int

    @cached_property
    def total_latency_s(self) -> float:
        """Of all answers."""
        return float(np.nansum(self.latency_s))

    @property
    def attainment(self) -> float:
        """Share of requests answered within their SLO."""
        return float(self.good.sum() / max(len(self.latency_s), 1))

    @property
    def score(self) -> float:
        """What searches maximise."""
        return score(int(self.good.sum()), self.total_latency_s, self.replicas, len(self.latency_s))


def score(good: int, total_latency_s: float, replicas: int, requests: int) -> float:
    """Attainment, then low latency, then many replicas, as AlpaServe weighs them; a refused request has latency 0 there."""
    return (good - LATENCY_WEIGHT * total_latency_s) / max(requests, 1) + REPLICA_WEIGHT * replicas


class Replay:
    """Plays one set of requests on any number of placements.

    Args:
        problem: the models and their latencies.
        requests: what arrives.

    Attributes:
        played: how many placements were played.
    """

    def __init__(self, problem: PlacementProblem, requests: Requests) -> None:
        self.problem, self.requests, self.played = problem, requests, 0
        self._asked = np.bincount(requests.model, minlength=len(problem.models))
        self._shape_index = {shape: i for i, shape in enumerate(problem.shapes)}

    def play(self, placement: Placement, clock: np.ndarray | None = None, ready_s: np.ndarray | None = None) -> Outcome:
        """One pass.

        Args:
            placement: which group hosts what; its order breaks ties between clocks.
            clock: (groups, most stages) float64, when each stage is free; moves on. None: all are free.
            ready_s: (groups, M) float64, from when a group can serve a model that it hosts. None: at once.
        """
        problem, self.played = self.problem, self.played + 1
        model_of = np.array([m for group in placement for m in group.models], np.int64)
        group_of = np.repeat(np.arange(len(placement)), [len(group.models) for group in placement])
        order = np.argsort(model_of, kind="stable")
        models, hosts = model_of[order], group_of[order]
        shape = np.array([self._shape_index[group.shape] for group in placement], np.int64)
        first_host = np.searchsorted(models, np.arange(len(problem.models) + 1))
        good, dispatched = np.zeros(len(problem.models), np.int64), np.zeros(len(placement), np.int64)
        latency_s = np.empty(len(self.requests))
        _play(self.requests.arrival_s, self.requests.model, first_host, hosts, problem.stage_s[models, shape[hosts]],
              np.array([group.shape.inter_op for group in placement], np.int64), problem.slo_s, problem.overhead_s,
              np.zeros(len(hosts)) if ready_s is None else ready_s[hosts, models],
              np.zeros((len(placement), problem.stage_s.shape[2])) if clock is None else clock, latency_s, good, dispatched)
        return Outcome(latency_s, self._asked, good, dispatched, replicas(placement))


@njit(cache=True)
def _play(arrival_s, model, first_host, hosts, stage_s, n_stages, slo_s, overhead_s, ready_s, clock, latency_s, good,
          dispatched):
    last_clock = np.empty(n_stages.shape[0])
    for g in range(n_stages.shape[0]):
        last_clock[g] = clock[g, n_stages[g] - 1]
    for i in range(arrival_s.shape[0]):
        t, m = arrival_s[i], model[i]
        latency_s[i] = np.nan
        best, best_clock = -1, np.inf
        for h in range(first_host[m], first_host[m + 1]):
            if last_clock[hosts[h]] < best_clock and ready_s[h] <= t:
                best, best_clock = h, last_clock[hosts[h]]
        if best < 0:
            continue
        g = hosts[best]
        dispatched[g] += 1
        x = t
        for stage in range(n_stages[g]):
            x = max(x, clock[g, stage]) + stage_s[best, stage]
        finish = x + overhead_s
        if finish - t > slo_s[m]:
            continue
        last_clock[g] = x
        x = t
        for stage in range(n_stages[g]):
            x = max(x, clock[g, stage]) + stage_s[best, stage]
            clock[g, stage] = x
        latency_s[i] = finish - t
        good[m] += 1

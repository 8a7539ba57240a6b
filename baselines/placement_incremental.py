"""Scores of placements that differ in few groups: only what a change can reach is replayed again.

A request goes to whichever host of its model is free first, so a changed group moves the requests of its models to and from
all other hosts of these, and so on: what a change can reach are the groups that are linked to it by shared models. Requests
of models that are not linked to it meet the same clocks as before and are not replayed. The result is that of a replay of all
requests. Where models are shared throughout, everything is linked and nothing is saved; where buckets of models have devices
of their own, only the bucket is replayed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from baselines.placement import Group, Placement, replicas
from baselines.placement_replay import Replay, score

MOST_SUBSETS = 64  # sets of linked models whose requests are kept


@dataclass(frozen=True, eq=False)
class Scored:
    """A placement with what the requests made of it.

    Attributes:
        placement: in normal order.
        good: (M,) int64, requests answered within the SLO.
        latency_s: (M,) float64, their latencies added up.
        dispatched: (groups,) int64, requests sent to each group.
        score: as `Outcome.score`.
    """

    placement: Placement
    good: np.ndarray
    latency_s: np.ndarray
    dispatched: np.ndarray
    score: float


class IncrementalReplay:
    """Scores placements, each from one that was scored before.

    Args:
        replay: of the requests to plan on.

    Attributes:
        played: requests replayed so far.
        replays: in how many replays.
    """

    def __init__(self, replay: Replay) -> None:
        self.problem, self.requests, self.played, self.replays = replay.problem, replay.requests, 0, 0
        self.asked = np.bincount(replay.requests.model, minlength=len(replay.problem.models))
        self._subsets: dict[bytes, Replay] = {np.ones(len(self.asked), dtype=bool).tobytes(): replay}

    def whole(self, placement: Placement) -> Scored:
        """By a replay of all requests."""
        nothing = np.zeros(len(self.asked))
        return self._scored(placement, np.ones(len(nothing), dtype=bool), nothing.astype(np.int64), nothing, {})

    def changed(self, before: Scored, placement: Placement) -> Scored:
        """Of a placement in normal order, some of whose groups are those of another one.

        Args:
            before: the other one.
            placement: to be scored.
        """
        kept: dict[Group, list[int]] = {}
        for group, dispatched in zip(before.placement, before.dispatched.tolist(), strict=True):
            kept.setdefault(group, []).append(dispatched)
        return self._scored(placement, self._linked(before.placement, placement), before.good, before.latency_s, kept)

    def _linked(self, before: Placement, after: Placement) -> np.ndarray:
        """(M,) bool: models whose requests a change of groups can reach."""
        changed = (Counter(before) - Counter(after)) + (Counter(after) - Counter(before))
        linked = np.zeros(len(self.asked), dtype=bool)
        linked[[m for group in changed for m in group.models]] = True
        apart = [list(group.models) for group in {*before, *after}]
        while reached := [models for models in apart if linked[models].any()]:
            apart = [models for models in apart if not linked[models].any()]
            linked[[m for models in reached for m in models]] = True
        return linked

    def _scored(self, placement: Placement, linked: np.ndarray, good: np.ndarray, latency_s: np.ndarray,
                kept: Mapping[Group, list[int]]) -> Scored:
        replay = self._replay(linked)
        there = [bool(group.models) and bool(linked[group.models[0]]) for group in placement]
        outcome = replay.play(tuple(group for group, played in zip(placement, there, strict=True) if played))
        self.played += len(replay.requests)
        self.replays += 1
        answered = ~np.isnan(outcome.latency_s)
        latencies = np.bincount(replay.requests.model[answered], outcome.latency_s[answered], minlength=len(linked))
        good, latency_s = np.where(linked, outcome.good, good), np.where(linked, latencies, latency_s)
        fresh = iter(outcome.dispatched.tolist())
        dispatched = np.array([next(fresh) if played else kept[group].pop(0) if group.models else 0
                               for group, played in zip(placement, there, strict=True)])
        total = score(int(good.sum()), float(latency_s.sum()), replicas(placement), len(self.requests))
        return Scored(placement, good, latency_s, dispatched, total)

    def _replay(self, linked: np.ndarray) -> Replay:
        key = linked.tobytes()
        if key not in self._subsets:
            if len(self._subsets) > MOST_SUBSETS:
                self._subsets.clear()
            self._subsets[key] = Replay(self.problem, self.requests.only(np.flatnonzero(linked).tolist()))
        return self._subsets[key]

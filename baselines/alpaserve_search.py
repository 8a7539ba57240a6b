"""AlpaServe's Algorithm 2: every way to cut the devices into groups, models selected for each, the best by replay.

`search` cuts all devices alike. `search_sep` also parts the models into buckets of like latency and gives each bucket its
own devices: nothing is shared between buckets, so that each (bucket, number of devices) is solved once and the parts add up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from baselines.alpaserve_partitions import device_splits, group_partitions, model_buckets
from baselines.alpaserve_selection import greedy, shuffled
from baselines.placement import Placement
from baselines.placement_replay import Outcome, Replay, score
from envs.contract import Shape

AGAIN, BY_A_DRAW = 4, 0.01  # how often a cut is filled again, and how much that may move its score
NEARLY_ALL = 0.9999  # of the requests

Select = Callable[[Replay, Sequence[Shape], Sequence[int]], Placement]


@dataclass(frozen=True, eq=False)
class PlacementPlan:
    """A placement, and what it made of the requests that it was planned on."""

    placement: Placement
    outcome: Outcome


def search(replay: Replay, devices: int | None = None, models: Sequence[int] | None = None,
           select: Select = greedy) -> PlacementPlan:
    """The best of all ways to cut the devices into groups, of equal ones the first; then that cut, filled a few times more.

    Args:
        replay: plays the requests to plan on.
        devices: to be cut; None: all.
        models: to be placed; None: all.
        select: puts models on groups (`greedy`, or `beam_search`).

    Raises:
        ValueError: no model runs on any group of so many devices, or there are several types of them.
    """
    return refilled(replay, best_cut(replay, devices, models, select), models)


def best_cut(replay: Replay, devices: int | None = None, models: Sequence[int] | None = None,
             select: Select = greedy) -> PlacementPlan:
    """What is published of `search`: each cut is filled once. Arguments and errors are those of `search`."""
    problem = replay.problem
    if len(problem.stocks) > 1:
        raise ValueError(f"this search cuts devices of one type, not of {', '.join(problem.stocks)}: use the better search")
    chosen = list(range(len(problem.models))) if models is None else models
    shapes = sorted({shape for m in chosen for shape in problem.models[m].latency_s})
    best: PlacementPlan | None = None
    for partition in group_partitions(problem.devices if devices is None else devices, shapes):
        placement = select(replay, partition, chosen)
        plan = PlacementPlan(placement, replay.play(placement))
        if best is None or plan.outcome.score > best.outcome.score:
            best = plan
    if best is None:
        raise ValueError(f"no model runs on {devices or problem.devices} devices: its profile has no such shape")
    return best


def refilled(replay: Replay, plan: PlacementPlan, models: Sequence[int] | None) -> PlacementPlan:
    """The best of a plan and of others with the same groups, filled with equals taken in another order.

    Which of equals comes first moves what a greedy plan attains by 0.01 up or down: one plan is a draw.
    """
    shapes = [group.shape for group in plan.placement]
    for seed in range(AGAIN):
        placement = greedy(replay, shapes, models, shuffled(seed))
        outcome = replay.play(placement)
        if outcome.score > plan.outcome.score:
            plan = PlacementPlan(placement, outcome)
    return plan


def search_sep(replay: Replay, select: Select = greedy) -> PlacementPlan:
    """The best of `search` and of all worthwhile ways to share the devices out to buckets of models.

    Where `search` answers nearly all requests in time, nothing is left to be gained, and no bucket is tried.

    Args:
        replay: as for `search`.
        select: as for `search`.
    """
    first = best_cut(replay, select=select)
    whole = refilled(replay, first, None)
    if whole.outcome.attainment > NEARLY_ALL:
        return whole
    apart = _apart(replay, select, first.outcome.score - BY_A_DRAW)
    return whole if apart is None or apart.outcome.score <= whole.outcome.score else apart


def _apart(replay: Replay, select: Select, least: float) -> PlacementPlan | None:
    """The best with devices for each bucket, where its score is above `least` before it is refilled.

    The part of fewest devices is solved first: where even all requests of the others in time would not do, it is left at that.
    """
    problem = replay.problem
    size_s = [model.size_s for model in problem.models]
    buckets = model_buckets(size_s)
    if len(buckets) == 1:
        return None
    own = [Replay(problem, replay.requests.only(bucket)) for bucket in buckets]
    mean_s = [float(np.mean([size_s[m] for m in bucket])) for bucket in buckets]
    solved: dict[tuple[int, int], PlacementPlan] = {}
    best: list[PlacementPlan] = []
    for split in device_splits(problem.devices, mean_s, [len(part.requests) for part in own]):
        if any(not _runs(replay, bucket, devices) for bucket, devices in zip(buckets, split, strict=True)):
            continue
        bounds = [Bound(len(own[b].requests), 0.0, devices * len(buckets[b])) for b, devices in enumerate(split)]
        for b in sorted(range(len(split)), key=split.__getitem__):
            if _together(bounds, replay) <= least:
                break
            if (b, split[b]) not in solved:
                solved[b, split[b]] = best_cut(own[b], split[b], buckets[b], select)
            outcome = solved[b, split[b]].outcome
            bounds[b] = Bound(int(outcome.good.sum()), outcome.total_latency_s, outcome.replicas)
        if _together(bounds, replay) > least:
            best, least = [solved[b, devices] for b, devices in enumerate(split)], _together(bounds, replay)
    best = [refilled(own[b], part, buckets[b]) for b, part in enumerate(best)]
    replay.played += sum(part.played for part in own)
    placement = tuple(group for part in best for group in part.placement)
    return PlacementPlan(placement, replay.play(placement)) if best else None


class Bound(NamedTuple):
    """What a bucket makes of its requests, or the best that it could."""

    good: int
    total_latency_s: float
    replicas: int


def _together(bounds: Sequence[Bound], replay: Replay) -> float:
    good, latency_s, replicas = map(sum, zip(*bounds))
    return score(int(good), latency_s, int(replicas), len(replay.requests))


def _runs(replay: Replay, bucket: Sequence[int], devices: int) -> bool:
    return bool(group_partitions(devices, sorted({s for m in bucket for s in replay.problem.models[m].latency_s})))

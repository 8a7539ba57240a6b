"""AlpaServe's Algorithm 2: every way to cut the devices into groups, models selected for each, the best by replay.

`search` cuts all devices alike. `search_sep` also parts the models into buckets of like latency and gives each bucket its
own devices: nothing is shared between buckets, so that each (bucket, number of devices) is solved once and the parts add up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from baselines.alpaserve_partitions import device_splits, group_partitions, model_buckets
from baselines.alpaserve_selection import greedy
from baselines.placement import Placement
from baselines.placement_replay import Outcome, Replay, score
from envs.contract import Shape

Select = Callable[[Replay, Sequence[Shape], Sequence[int]], Placement]


@dataclass(frozen=True, eq=False)
class PlacementPlan:
    """A placement, and what it made of the requests that it was planned on."""

    placement: Placement
    outcome: Outcome


def search(replay: Replay, devices: int | None = None, models: Sequence[int] | None = None,
           select: Select = greedy) -> PlacementPlan:
    """The best of all ways to cut the devices into groups; of equal ones the first.

    Args:
        replay: plays the requests to plan on.
        devices: to be cut; None: all.
        models: to be placed; None: all.
        select: puts models on groups (`greedy`, or `beam_search`).

    Raises:
        ValueError: no model runs on any group of so many devices, or there are several types of them.
    """
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


def search_sep(replay: Replay, select: Select = greedy) -> PlacementPlan:
    """The best of `search` and of all worthwhile ways to share the devices out to buckets of models.

    Args:
        replay: as for `search`.
        select: as for `search`.
    """
    problem, requests = replay.problem, replay.requests
    whole = search(replay, select=select)
    size_s = [model.size_s for model in problem.models]
    buckets = model_buckets(size_s)
    apart = [Replay(problem, requests.only(bucket)) for bucket in buckets]
    solved: dict[tuple[int, int], PlacementPlan] = {}

    def part(bucket: int, devices: int) -> PlacementPlan:
        if (bucket, devices) not in solved:
            solved[bucket, devices] = search(apart[bucket], devices, buckets[bucket], select)
        return solved[bucket, devices]

    best, best_score = whole.placement, whole.outcome.score
    mean_s = [float(np.mean([size_s[m] for m in bucket])) for bucket in buckets]
    for split in device_splits(problem.devices, mean_s, [len(own.requests) for own in apart]) if len(buckets) > 1 else ():
        if any(not _runs(replay, bucket, devices) for bucket, devices in zip(buckets, split, strict=True)):
            continue
        parts = [part(b, devices) for b, devices in enumerate(split)]
        together = score(sum(int(p.outcome.good.sum()) for p in parts), sum(p.outcome.total_latency_s for p in parts),
                         sum(p.outcome.replicas for p in parts), len(requests))
        if together > best_score:
            best, best_score = tuple(group for p in parts for group in p.placement), together
    replay.played += sum(own.played for own in apart)
    return PlacementPlan(best, replay.play(best))


def _runs(replay: Replay, bucket: Sequence[int], devices: int) -> bool:
    return bool(group_partitions(devices, sorted({s for m in bucket for s in replay.problem.models[m].latency_s})))

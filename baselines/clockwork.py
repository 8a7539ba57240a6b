"""Clockwork++: Selective Replication anew for every window of time, on that window's own requests.

AlpaServe (Li et al., OSDI 2023, section 6) made it as an optimistic stand-in for Clockwork: it sees each window's future,
changes models between windows at no cost, and what runs at the change vanishes. `swap="loaded"` takes the first of these as
it is and charges the other two: work in progress stays, and a model serves on a device only once it has been loaded there.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from baselines.placement import Placement, PlacementProblem
from baselines.placement_replay import Replay, Requests
from baselines.selective_replication import replicate

Swap = Literal["free", "loaded"]


class Window(NamedTuple):
    """From when on a placement holds, and the requests of that time."""

    start_s: float
    requests: slice
    placement: Placement


def plan(problem: PlacementProblem, requests: Requests, window_s: float) -> list[Window]:
    """Replicates for each window's own requests; windows begin with the first arrival.

    Windows without a request are left out: the placement before stays.

    Raises:
        ValueError: the window is not above 0.
    """
    if not window_s > 0:
        raise ValueError(f"a window of {window_s} s: give one above 0")
    if not len(requests):
        return []
    number = ((requests.arrival_s - requests.arrival_s[0]) // window_s).astype(np.int64)
    bounds = [*np.flatnonzero(np.diff(number, prepend=-1)), len(requests)]
    return [Window(float(requests.arrival_s[0] + number[low] * window_s), slice(int(low), int(high)),
                   replicate(Replay(problem, requests[low:high])))
            for low, high in pairwise(bounds)]


def play(problem: PlacementProblem, requests: Requests, windows: Sequence[Window], swap: Swap) -> np.ndarray:
    """Latency of each request, nan where it was refused; (n,) float64.

    Args:
        problem: the models.
        requests: what arrives.
        windows: of `plan`; the first placement is there from the start.
        swap: "free": as published. "loaded": a model that a device did not host before loads for its `load_s`, those most
            asked for first; the device serves its other models meanwhile. Placements move to the devices where least has to
            be loaded.
    """
    latency_s = np.full(len(requests), np.nan)
    clock: np.ndarray | None = None
    before: Placement = ()
    ready_s = np.zeros((0, 0))
    for window in windows:
        own = requests[window.requests]
        placement = window.placement
        if swap == "free":
            latency_s[window.requests] = Replay(problem, own).play(placement).latency_s
            continue
        if clock is None:
            clock = np.zeros((len(placement), problem.stage_s.shape[2]))
            ready_s = np.zeros((len(placement), len(problem.models)))
        else:
            placement = nearest(problem, before, placement)
            ready_s = loading(problem, before, placement, own, window.start_s, ready_s)
        latency_s[window.requests] = Replay(problem, own).play(placement, clock, ready_s).latency_s
        before = placement
    return latency_s


def nearest(problem: PlacementProblem, before: Placement, after: Placement) -> Placement:
    """The groups of `after`, each on the device where least has to be loaded in all."""
    load_s = [[sum(problem.models[m].load_s for m in set(new.models) - set(old.models)) for new in after] for old in before]
    _, chosen = linear_sum_assignment(np.array(load_s))
    return tuple(after[i] for i in chosen)


def loading(problem: PlacementProblem, before: Placement, after: Placement, own: Requests, start_s: float,
            ready_s: np.ndarray) -> np.ndarray:
    """(groups, M) float64: when each group can serve each model. What is kept, or is loading still, keeps its time."""
    asked = np.bincount(own.model, minlength=len(problem.models))
    times = np.full_like(ready_s, np.inf)
    for g, (old, new) in enumerate(zip(before, after, strict=True)):
        kept = [m for m in new.models if m in old.models]
        times[g, kept] = ready_s[g, kept]
        t = max([start_s, *times[g, kept]])  # what is loading still goes on first
        for m in sorted(set(new.models) - set(kept), key=lambda m: (-asked[m], m)):
            t += problem.models[m].load_s
            times[g, m] = t
    return times

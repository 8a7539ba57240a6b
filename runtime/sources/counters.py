"""From samples of counters on a grid of times to what was counted in each step: raw differences, nothing extrapolated."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

HOLE_STEPS = 4
"""Where no series has a sample for longer than this many steps, nothing was recorded: a gap."""


def increases(values: np.ndarray) -> np.ndarray:
    """What all counters together counted in each step.

    A counter that fell began again at 0. What one counted while it was not seen is spread evenly over the steps in between. A
    counter that comes up beside others that are seen began at 0 when its process did, a moment before; unless it says more
    than the busiest step of all others: then it is older, and only now seen.

    Args:
        values: (S, T + 1) samples at the edges of T steps; nan where there is none.

    Returns:
        (T,) increases; nan in gaps: where no counter was seen for more than `HOLE_STEPS` steps, or at either end.
    """
    steps = values.shape[1] - 1
    counted = np.zeros(steps)
    born: list[tuple[int, float]] = []
    seen = np.isfinite(values)
    for row, known in zip(values, seen):
        at = np.flatnonzero(known)
        if not at.size:
            continue
        if at[0] > 0 and seen[:, at[0] - 1].any():
            born.append((int(at[0]) - 1, float(row[at[0]])))
        rise = np.diff(row[at])
        rise = np.where(rise >= 0, rise, row[at[1:]])
        length = np.diff(at)
        np.add.at(counted, at[:-1], rise / length)
        ended = at[1:] < steps
        np.add.at(counted, at[1:][ended], -(rise / length)[ended])
    counted = np.maximum(np.round(np.cumsum(counted), 6), 0.0)  # rates begin and end: the sum of all that run
    most = counted.max(initial=0.0)
    for step, value in born:
        counted[step] += value if value <= most else 0.0
    counted[gaps(seen.any(axis=0))] = np.nan
    return counted


def gaps(seen: np.ndarray) -> np.ndarray:
    """(T,) True for the steps that were not recorded, of (T + 1,) True where any sample is."""
    at = np.flatnonzero(seen)
    found = np.ones(len(seen) - 1, dtype=bool)
    for begin, end in pairwise(at):
        if end - begin <= HOLE_STEPS:
            found[begin:end] = False
    return found


def present(values: np.ndarray) -> np.ndarray:
    """(T + 1,) 1 at the edges at which any of these series is there, nan at others; a hole within `HOLE_STEPS` is none.

    Args:
        values: (S, T + 1) samples of one replica.
    """
    seen = np.isfinite(values).any(axis=0)
    at = np.flatnonzero(seen)
    for begin, end in pairwise(at):
        if end - begin <= HOLE_STEPS:
            seen[begin:end] = True
    return np.where(seen, 1.0, np.nan)


def levels(values: np.ndarray) -> np.ndarray:
    """(T,) sum of gauges in each step: the mean of both its edges, of those edges that are known; nan where neither is.

    Args:
        values: (S, T + 1) samples; a gauge without one has gone.
    """
    total = np.where(np.isfinite(values).any(axis=0), np.nansum(values, axis=0), np.nan)
    both = np.stack([total[:-1], total[1:]])
    known = np.isfinite(both)
    number = known.sum(axis=0)
    return np.where(number > 0, np.where(known, both, 0.0).sum(axis=0) / np.maximum(number, 1), np.nan)

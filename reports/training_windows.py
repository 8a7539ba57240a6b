"""Windows for calibration: some choose settings, others judge them, none is played in an evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from envs.loads import spread
from traces.load import RECORDED, Load

SELECTING_SEED, JUDGING_SEED = 1000, 2000  # of requests; evaluations count theirs from 0
GOLDEN_RATIO = (5**0.5 - 1) / 2


class Window(NamedTuple):
    """A stretch of load: where it begins in the training part (s), and the seed of its requests."""

    start_s: float
    seed: int


def training_windows(
    loads: Iterable[Load], span_s: float, window_s: float, count: int, grid_s: float
) -> tuple[list[Window], list[Window]]:
    """Windows that choose and windows that judge, `count` of each.

    As many windows as fit (at most `count`) lie evenly over the span; half of them choose, the other half judge. Rewards hang
    above all on how heavy the load is, so that their order is stratified by load: the first few, as any others in a row, have
    light and heavy load in the proportions of the whole. Where windows do not suffice they are played again with the next
    seed. In a span of one window both play it, with seeds of their own.

    Args:
        loads: what arrives; their time 0 is the start of the span.
        span_s: length of the training part.
        window_s: length of a window.
        count: how many of each.
        grid_s: windows begin at multiples of this.

    Raises:
        ValueError: a window is longer than the span.
    """
    slots = max(1, min(int(span_s / window_s + 1e-9), count))
    starts = np.array(spread(span_s, window_s, slots, grid_s))
    requests = sum((_requests(load, starts, window_s) for load in loads), np.zeros(slots))
    by_load = starts[np.argsort(requests, kind="stable")]
    order = np.argsort(np.argsort(np.arange(slots) * GOLDEN_RATIO % 1))
    half = (slots + 1) // 2
    selecting, judging = by_load[order[:half]].tolist(), by_load[order[half:]].tolist()
    return _repeated(selecting, SELECTING_SEED, count), _repeated(judging or selecting, JUDGING_SEED, count)


def _requests(load: Load, starts_s: np.ndarray, window_s: float) -> np.ndarray:
    """Requests expected in each window (recorded: those that arrive)."""
    ends_s = starts_s + window_s
    if load.model == RECORDED:
        return np.asarray(np.searchsorted(load.recorded_s, ends_s) - np.searchsorted(load.recorded_s, starts_s), dtype=float)
    edges_s = np.arange(load.rate_rps.size + 1) * load.bin_s
    total = np.concatenate([[0.0], np.cumsum(load.rate_rps * load.bin_s)])
    return np.asarray(np.interp(ends_s, edges_s, total) - np.interp(starts_s, edges_s, total))


def _repeated(starts_s: Sequence[float], seed: int, count: int) -> list[Window]:
    return [Window(starts_s[i % len(starts_s)], seed + i // len(starts_s)) for i in range(count)]

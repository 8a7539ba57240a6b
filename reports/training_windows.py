"""Windows for calibration: some choose settings, others judge them, none is played in an evaluation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from reports.loads import spread

SELECTING_SEED, JUDGING_SEED = 1000, 2000  # of requests; evaluations count theirs from 0
GOLDEN_RATIO = (5**0.5 - 1) / 2


class Window(NamedTuple):
    """A stretch of load: where it begins in the training part (s), and the seed of its requests."""

    start_s: float
    seed: int


def training_windows(span_s: float, window_s: float, count: int, grid_s: float) -> tuple[list[Window], list[Window]]:
    """Windows that choose and windows that judge, `count` of each, in an order whose every beginning covers the whole span.

    As many windows as fit (at most `count`) lie evenly over the span; half of them choose, the other half judge. Where they do
    not suffice they are played again with the next seed. In a span of one window both play it, with seeds of their own.

    Args:
        span_s: length of the training part.
        window_s: length of a window.
        count: how many of each.
        grid_s: windows begin at multiples of this.

    Raises:
        ValueError: a window is longer than the span.
    """
    slots = max(1, min(int(span_s / window_s + 1e-9), count))
    starts = spread(span_s, window_s, slots, grid_s)
    order = np.argsort(np.argsort(np.arange(slots) * GOLDEN_RATIO % 1))
    half = (slots + 1) // 2
    return _repeated(starts, order[:half], SELECTING_SEED, count), _repeated(starts, order[half:], JUDGING_SEED, count)


def _repeated(starts: list[float], order: np.ndarray, seed: int, count: int) -> list[Window]:
    slots = order if len(order) else [0]
    return [Window(starts[slots[i % len(slots)]], seed + i // len(slots)) for i in range(count)]

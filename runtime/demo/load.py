"""The demonstration's load: twenty minutes of Twitter, played twenty times as fast.

Time is compressed here and nowhere else: nothing is trained, tuned or judged on it.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from traces.workload import Workload
from traces.workload import open as open_workload

SPEED = 20  # seconds of the trace in one second
SHARED, GENERATED = "twitter_2021", "twitter-like"
GENERATED_SEED, GENERATED_SPAN_S = 1000, 86_400.0  # a draw that no policy was trained or tuned on
PEAK_AT = (0.3, 0.55)  # of the excerpt: a quiet time before it, and one after it
SMOOTHED = 3  # seconds as played


class Excerpt(NamedTuple):
    """What is played.

    Attributes:
        rates_rps: (seconds,) as played.
        told: what it is, in words.
    """

    rates_rps: np.ndarray
    told: str


def excerpt(seconds: int, peak_rps: float) -> Excerpt:
    """The stretch of the trace whose load rises the most above what is usual in it, with that peak."""
    name = SHARED if os.environ.get("TIDAL_TRACES") else GENERATED
    opened = open_workload(
        Workload(SHARED, split="val")
        if name == SHARED
        else Workload(GENERATED, length_s=GENERATED_SPAN_S, seed=GENERATED_SEED)
    )
    times_s = np.arange(0.0, opened.span_s, 1.0)
    per_second = opened.load.rate_rps[(times_s / opened.load.bin_s).astype(int)]
    played = per_second[: per_second.size // SPEED * SPEED].reshape(-1, SPEED).mean(1)
    start = _most_moved(played, seconds)
    rates = played[start : start + seconds]
    part = "validation days" if name == SHARED else "a draw of its own"
    told = (
        f"{name} ({part}), {seconds * SPEED / 60:g} minutes from {_clock(start * SPEED)} on, "
        f"played {SPEED} times as fast in {seconds} s, peak {peak_rps:.0f} req/s"
    )
    return Excerpt(rates * (peak_rps / _smooth(rates).max()), told)


def _most_moved(rates: np.ndarray, length: int) -> int:
    """Start of the stretch with the highest peak over its median, among those that peak in their middle."""
    smooth = _smooth(rates)
    best, best_ratio = 0, 0.0
    for start in range(0, smooth.size - length, max(1, length // 12)):
        stretch = smooth[start : start + length]
        at = int(stretch.argmax()) / length
        ratio = float(stretch.max() / max(np.median(stretch), 1e-9))
        if PEAK_AT[0] <= at <= PEAK_AT[1] and ratio > best_ratio:
            best, best_ratio = start, ratio
    return best


def _smooth(rates: np.ndarray) -> np.ndarray:
    return np.convolve(rates, np.ones(SMOOTHED) / SMOOTHED, "same")


def _clock(t_s: float) -> str:
    """Time since the beginning of the part, as day and time of day."""
    return f"day {int(t_s // 86400) + 1}, {int(t_s // 3600) % 24:02}:{int(t_s // 60) % 60:02}"

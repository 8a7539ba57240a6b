"""The demonstration's load: twenty minutes of Twitter, played twenty times as fast.

Time is compressed here and nowhere else: nothing but the demonstration's own policy is tuned on it, and nothing judged.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from traces.workload import Workload
from traces.workload import open as open_workload

SPEED = 20  # seconds of the trace in one second
SHARED, GENERATED = "twitter_2021", "twitter-like"
SPAN_S = 86_400.0
PLAYED_SEED, KNOWN_SEED = 1000, 1001  # draws that no policy was trained or tuned on; and for tuning it here
OTHERS = 12
PEAK_AT = (0.3, 0.55)  # of the excerpt: a quiet time before it, and one after it
SMOOTHED = 3  # seconds as played


class Excerpt(NamedTuple):
    """What is played.

    Attributes:
        rates_rps: (seconds,) as played.
        told: what it is, in words.
        others: stretches of the training part, of the same length and scale, chosen in the same way.
    """

    rates_rps: np.ndarray
    told: str
    others: list[np.ndarray]


def excerpt(seconds: int, peak_rps: float) -> Excerpt:
    """The stretch of the trace whose load rises the most above what is usual in it, with that peak."""
    name = SHARED if os.environ.get("TIDAL_TRACES") else GENERATED
    own = name == GENERATED
    played = _played(Workload(GENERATED, length_s=SPAN_S, seed=PLAYED_SEED) if own else Workload(SHARED, split="val"))
    known = _played(Workload(GENERATED, length_s=SPAN_S, seed=KNOWN_SEED) if own else Workload(SHARED, split="train"))
    start = _most_moved(played, seconds)[0]
    rates = played[start : start + seconds]
    scale = peak_rps / _smooth(rates).max()
    others = [np.ascontiguousarray(scale * known[at : at + seconds]) for at in _most_moved(known, seconds)[:OTHERS]]
    part = "validation days" if name == SHARED else "a draw of its own"
    told = (
        f"{name} ({part}), {seconds * SPEED / 60:g} minutes from {_clock(start * SPEED)} on, "
        f"played {SPEED} times as fast in {seconds} s, peak {peak_rps:.0f} req/s"
    )
    return Excerpt(scale * rates, told, others)


def _played(workload: Workload) -> np.ndarray:
    """A workload's rates by the second as played."""
    opened = open_workload(workload)
    times_s = np.arange(0.0, opened.span_s, 1.0)
    per_second = opened.load.rate_rps[(times_s / opened.load.bin_s).astype(int)]
    return per_second[: per_second.size // SPEED * SPEED].reshape(-1, SPEED).mean(1)


def _most_moved(rates: np.ndarray, length: int) -> list[int]:
    """Starts of stretches, the highest peak over its median first, of those that peak in their middle; none overlap."""
    smooth, found = _smooth(rates), []
    for start in range(0, smooth.size - length, max(1, length // 12)):
        stretch = smooth[start : start + length]
        if PEAK_AT[0] <= int(stretch.argmax()) / length <= PEAK_AT[1]:
            found.append((float(stretch.max() / max(np.median(stretch), 1e-9)), start))
    kept: list[int] = []
    for _, start in sorted(found, key=lambda one: -one[0]):
        if all(abs(start - other) >= length for other in kept):
            kept.append(start)
    return kept


def _smooth(rates: np.ndarray) -> np.ndarray:
    return np.convolve(rates, np.ones(SMOOTHED) / SMOOTHED, "same")


def _clock(t_s: float) -> str:
    """Time since the beginning of the part, as day and time of day."""
    return f"day {int(t_s // 86400) + 1}, {int(t_s // 3600) % 24:02}:{int(t_s // 60) % 60:02}"

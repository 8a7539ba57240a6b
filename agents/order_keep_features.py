"""What the order/keep network sees: the counted load of the past, relative to the last one, and what the decision is about.

No clock and no trace's name: a decision must be possible in the second interval of any service. What is not known yet looks
as if the load had never changed. Groups of features can be left out, which training does at random so that no one group is
relied on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

MEMORY = 120  # intervals looked back
LAGS = 10  # single loads before the last one
BLOCKS = ((10, 15), (15, 20), (20, 30), (30, 40), (40, 60), (60, 120))  # intervals back, means
SPANS = (2, 4, 8, 16, 32, 64, 120)  # intervals back, maxima
WIDE = (8, 32, 120)  # intervals back, minima and roughness
SHARPNESS = 20.0  # a change by a twentieth is worth seeing: features are arcsinh(20 x log ratio) / 2
FEATURES_VERSION = 1
QUESTION = 3  # features beside those of the load


class Question(NamedTuple):
    """What a decision is about, beside the load.

    Attributes:
        load_s: cold start, seconds.
        w_cost, w_slo: weights of the reward, in units of that of accuracy.
    """

    load_s: float
    w_cost: float
    w_slo: float


def names() -> list[str]:
    """The features' names, in order."""
    lags = [f"lag {k}" for k in range(1, LAGS + 1)]
    blocks = [f"mean {a} to {b}" for a, b in BLOCKS]
    spans = [f"max of {k}" for k in SPANS]
    wide = [f"{what} of {k}" for what in ("min", "roughness") for k in WIDE]
    return [*lags, *blocks, *spans, *wide, "known", "level", "cold start", "price", "slo weight"]


def groups() -> list[slice]:
    """Parts that training leaves out at random: lags, means, maxima, minima, roughness."""
    ends = np.cumsum([LAGS, len(BLOCKS), len(SPANS), len(WIDE), len(WIDE)])
    return [slice(int(end - size), int(end)) for end, size in zip(ends, (LAGS, len(BLOCKS), len(SPANS), len(WIDE), len(WIDE)))]


def history_features(past_rps: np.ndarray, full_rps: float) -> np.ndarray:
    """(..., F - 3) features of the load.

    Args:
        past_rps: (..., MEMORY) counted loads, the last one last, nan where none was known yet; the last one must be.
        full_rps: what the largest deployment carries.
    """
    least = full_rps * 1e-3
    logs = np.log(np.maximum(past_rps, least))
    known = np.isfinite(past_rps)
    now = logs[..., -1:]
    ratio = np.where(known, logs - now, 0.0)[..., ::-1]  # the last one first
    steps = np.abs(np.diff(ratio, axis=-1))
    rows = [ratio[..., 1 : LAGS + 1]]
    rows += [ratio[..., a:b].mean(-1, keepdims=True) for a, b in BLOCKS]
    rows += [ratio[..., :k].max(-1, keepdims=True) for k in SPANS]
    rows += [ratio[..., :k].min(-1, keepdims=True) for k in WIDE]
    rows = [np.arcsinh(SHARPNESS * row) / 2 for row in rows]
    rows += [np.log((steps[..., : k - 1].mean(-1, keepdims=True) + 0.003) / 0.03) for k in WIDE]
    rows += [np.log1p(known.sum(-1, keepdims=True)) / math.log1p(MEMORY), now - math.log(full_rps) + 1.5]
    return np.concatenate(rows, -1).clip(-4.0, 4.0).astype(np.float32)


def log_ratio(feature: np.ndarray) -> np.ndarray:
    """The log ratio to the last load that a lag, mean, maximum or minimum stands for."""
    return np.asarray(np.sinh(2 * feature) / SHARPNESS)


def question_features(question: Question) -> np.ndarray:
    """(QUESTION,)"""
    return np.array([math.log((question.load_s + 5) / 60), math.log(max(question.w_cost, 1e-3) / 0.05) / 2,
                     math.log(max(question.w_slo, 1e-2))], np.float32)


def windows(series_rps: np.ndarray) -> np.ndarray:
    """(..., T, MEMORY) what is known after each interval of (..., T) loads, when the first is the first ever seen."""
    before = np.full((*series_rps.shape[:-1], MEMORY - 1), np.nan)
    return np.lib.stride_tricks.sliding_window_view(np.concatenate([before, series_rps], -1), MEMORY, axis=-1)


def left_out(features: np.ndarray, some: Sequence[slice]) -> np.ndarray:
    """The features without some groups."""
    features = features.copy()
    for group in some:
        features[..., group] = 0.0
    return features

"""What a network over proposals sees: the counted load of each application, from the last interval back to many.

Loads are relative to their mean in training. What is not known yet is left out of the means, so that the second interval of
any episode can be decided on.
"""

from __future__ import annotations

import numpy as np

MEMORY = 64  # intervals looked back
FEATURES_VERSION = 1
LONE, MANY = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64), (1, 3, 8, 20)  # intervals of means: of one application, of each of many
MAXIMA = (2, 4, 8, 16, 32)  # intervals of maxima of the whole load
ROUGHNESS = (6, 24)  # intervals of mean steps of the whole load
LEAST = 0.02  # of the mean in training: less looks like that


def features(past_rps: np.ndarray, mean_rps: np.ndarray) -> np.ndarray:
    """(..., F) float32.

    Args:
        past_rps: (..., MEMORY, A) counted loads, the last one last, nan where none was known yet; the last one must be.
        mean_rps: (A,) of training.
    """
    many = past_rps.shape[-1] > 1
    whole = past_rps.sum(-1, keepdims=True)
    rows = [_means(whole, mean_rps.sum(keepdims=True), LONE)]
    rows += [_means(past_rps, mean_rps, MANY)] if many else []
    total = np.where(np.isfinite(whole), whole, 0.0)[..., 0]
    now = np.maximum(total[..., -1:], LEAST * mean_rps.sum())
    rows += [np.log(np.maximum(total[..., -k:].max(-1, keepdims=True), LEAST * mean_rps.sum()) / now) for k in MAXIMA]
    logs = np.log(np.maximum(whole[..., 0], LEAST * mean_rps.sum()))
    steps = np.nan_to_num(np.abs(np.diff(logs, axis=-1)))
    rows += [np.log((steps[..., -k:].mean(-1, keepdims=True) + 0.01) / 0.1) for k in ROUGHNESS]
    known = np.isfinite(past_rps[..., 0]).sum(-1, keepdims=True)
    rows += [np.log1p(known) / np.log1p(MEMORY)]
    return np.concatenate(rows, -1).clip(-4.0, 4.0).astype(np.float32)


def windows(series_rps: np.ndarray) -> np.ndarray:
    """(..., T, MEMORY, A) what is known after each interval of (..., T, A) loads, when the first is the first ever seen."""
    *lead, _, apps = series_rps.shape
    padded = np.concatenate([np.full((*lead, MEMORY - 1, apps), np.nan), series_rps], -2)
    return np.lib.stride_tricks.sliding_window_view(padded, MEMORY, axis=-2).swapaxes(-1, -2)


def _means(past_rps: np.ndarray, mean_rps: np.ndarray, spans: tuple[int, ...]) -> np.ndarray:
    """(..., len(spans) x A) logs of means of the last known loads."""
    known = np.isfinite(past_rps)
    filled = np.where(known, past_rps, 0.0)
    means = [filled[..., -k:, :].sum(-2) / np.maximum(known[..., -k:, :].sum(-2), 1) for k in spans]
    return np.concatenate([np.log(np.maximum(mean / mean_rps, LEAST)) for mean in means], -1)

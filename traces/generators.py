"""Synthetic rates by name: `generate("twitter-like", span_s, seed)`, and the two plain generators `diurnal` and `spike`.

The numbers come from the shared traces' calibration.json; each constant names its entry there. Time 0 is a midnight (of a
Monday for `diurnal`), and one seed always gives the same rates for the same span.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import pandas as pd

from traces.azure_like import azure_code_like, azure_conv_like
from traces.errors import TraceError
from traces.servegen_like import servegen_like
from traces.shapes import DAY_S, bin_starts_s, curve_of_knots, draw_from_quantiles, log_noise, rates_frame
from traces.twitter_like import twitter_like

BIN_S = 10.0

# generator_presets.office_hours_llm and per_trace.azure_llm_2024_code.diurnal (Stojkovic et al., DynamoLLM, HPCA 2025)
DIURNAL_MEAN_RPS = 24.0
DIURNAL_KNOTS = [
    *[0.9635, 0.9347, 0.9312, 0.9642, 0.8795, 0.8245, 0.76, 0.7608, 0.6773, 0.5995, 0.5576, 0.4813],
    *[0.4373, 0.4162, 0.3517, 0.3109, 0.279, 0.2744, 0.2897, 0.2652, 0.2659, 0.2833, 0.3421, 0.4344],
    *[0.5586, 0.7413, 0.9139, 1.172, 1.3264, 1.5272, 1.5665, 1.5699, 1.4685, 1.5511, 1.6431, 1.7922],
    *[1.8482, 1.9034, 1.8825, 1.9459, 1.8559, 1.7915, 1.5656, 1.4522, 1.3349, 1.2282, 1.094, 0.9829],
]
DIURNAL_WEEKEND = 0.46
DIURNAL_TROUGH_S = 9.75 * 3600
DIURNAL_LOG_SD = 0.2658
DIURNAL_MEMORY_600S = 0.9606

# generator_presets.flash_crowd (worldcup_1998: burst_peak_ratio_q50_q90_max, burst_duration_s_q50_q90); the ends at 0 are
# ours: a burst is counted from twice the base, and lasts one bin of 600 s at least.
SPIKE_BASE_RPS = 200.0
SPIKE_LEVELS = [0.0, 0.5, 0.9, 1.0]
SPIKE_PEAK_RATIO = [2.0, 2.7, 5.4, 20.0]
SPIKE_DURATION_S = [600.0, 2400.0, 17600.0, 17600.0]
SPIKE_RISE = 0.1
SPIKE_FALL = 0.3


def diurnal(span_s: float, rng: np.random.Generator) -> pd.DataFrame:
    """Draws office hours: a strong daily curve, weekends at 0.46 of the weekly mean, slow noise.

    Args:
        span_s: length in seconds; time 0 is Monday 00:00 UTC. The weekend begins and ends at the night's trough, 09:45 UTC.
        rng: source of randomness.

    Returns:
        Rates in bins of 10 s, of mean 24 requests/s over many weeks.
    """
    times_s = bin_starts_s(span_s, BIN_S)
    day = np.floor((times_s - DIURNAL_TROUGH_S) / DAY_S) % 7
    week = np.where(day >= 5, DIURNAL_WEEKEND, (7 - 2 * DIURNAL_WEEKEND) / 5)
    noise = log_noise(rng, times_s.size, DIURNAL_LOG_SD, DIURNAL_MEMORY_600S ** (BIN_S / 600))[0]
    return rates_frame(times_s, DIURNAL_MEAN_RPS * week * curve_of_knots(DIURNAL_KNOTS, times_s) * noise, BIN_S)


def spike(span_s: float, rng: np.random.Generator) -> pd.DataFrame:
    """Draws flash crowds: a flat base with one spike in every day, or in the whole span when it is shorter than a day.

    A spike begins in the first half of its day, rises in a tenth of its time, stays, and falls in three tenths.

    Args:
        span_s: length in seconds.
        rng: source of randomness.

    Returns:
        Rates in bins of 10 s, of base 200 requests/s. A spike lasts at most 0.4 of its day (or span).
    """
    times_s = bin_starts_s(span_s, BIN_S)
    block_s = min(span_s, DAY_S)
    blocks = int(np.ceil(span_s / block_s))
    starts_s = block_s * (np.arange(blocks) + 0.5 * rng.random(blocks))
    peaks = draw_from_quantiles(rng, SPIKE_LEVELS, SPIKE_PEAK_RATIO, blocks)
    lengths_s = np.minimum(draw_from_quantiles(rng, SPIKE_LEVELS, SPIKE_DURATION_S, blocks), 0.4 * block_s)
    rate = np.ones(times_s.size)
    for start_s, peak, length_s in zip(starts_s, peaks, lengths_s):
        corners_s = start_s + length_s * np.array([0.0, SPIKE_RISE, 1 - SPIKE_FALL, 1.0])
        rate += np.interp(times_s, corners_s, [0.0, peak - 1, peak - 1, 0.0])
    return rates_frame(times_s, SPIKE_BASE_RPS * rate, BIN_S)


GENERATORS: Final[dict[str, Callable[[float, np.random.Generator], pd.DataFrame]]] = {
    "twitter-like": twitter_like,
    "azure-code-like": azure_code_like,
    "azure-conv-like": azure_conv_like,
    "servegen-like": servegen_like,
    "diurnal": diurnal,
    "spike": spike,
}


def generate(name: str, span_s: float, seed: int) -> pd.DataFrame:
    """Draws synthetic rates.

    Args:
        name: one of `GENERATORS`.
        span_s: length in seconds, > 0.
        seed: >= 0.

    Returns:
        Rates: `t_s`, `requests` (expected in the bin, not whole numbers).

    Raises:
        TraceError: the name is unknown.
        ValueError: span_s is not positive.
    """
    if name not in GENERATORS:
        raise TraceError(name, None, f"no generator of this name; there are {', '.join(GENERATORS)}")
    return GENERATORS[name](span_s, np.random.default_rng(seed))

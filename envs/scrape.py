"""What is seen of a cluster: samples of its counters and gauges, and what two samples say together.

A `Sample` is what a scrape reads at one time. `Scrape` is what an interval showed: differences of counters between two
samples, gauges of the newer one. All arrays may have a leading dimension for many clusters.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from envs import state as st
from envs.state import State


class Sample(NamedTuple):
    """Counters since the start, and gauges, at one time."""

    t_s: np.ndarray | np.float64  # () time of the sample
    app_count: np.ndarray  # (A, 7)
    histogram: np.ndarray  # (A, 512)
    service_offered: np.ndarray  # (Z,)
    service_waiting: np.ndarray  # (Z,) gauge
    kind_ns: np.ndarray  # (K, 3)
    ready: np.ndarray  # (K,) gauges
    pending: np.ndarray
    draining: np.ndarray
    kind_waiting: np.ndarray  # (K,) gauge


class Scrape(NamedTuple):
    """What the time between two samples showed; nan where there is nothing to divide by."""

    offered_rps: np.ndarray  # (A,)
    fate_ratio: np.ndarray  # (A, 5) good, late, rejected, dropped, failed / settled
    settled: np.ndarray  # (A,)
    accuracy: np.ndarray  # (A,) sum of accuracy of good answers / settled
    quantiles_s: np.ndarray  # (A, 3) p50, p95, p99
    service_rps: np.ndarray  # (Z,)
    service_waiting: np.ndarray  # (Z,)
    ready: np.ndarray  # (K,)
    pending: np.ndarray  # (K,)
    draining: np.ndarray  # (K,)
    kind_waiting: np.ndarray  # (K,)
    busy_ratio: np.ndarray  # (K,)
    held_s: np.ndarray  # (K,) replica-seconds held


def take_sample(state: State, service_waiting: np.ndarray, kind_waiting: np.ndarray, t_s: float) -> Sample:
    """Copies the counters and gauges of a state (or of many)."""
    return Sample(
        np.float64(t_s),
        state.app_count.copy(),
        state.histogram.copy(),
        state.service_offered.copy(),
        service_waiting.copy(),
        state.kind_ns.copy(),
        state.kind_ready.copy(),
        state.kind_pending.copy(),
        state.kind_draining.copy(),
        kind_waiting.copy(),
    )


def between(new: Sample, old: Sample, slo_s: np.ndarray) -> Scrape:
    """What happened between two samples. `slo_s` (A,) scales the histograms."""
    with np.errstate(divide="ignore", invalid="ignore"):
        seconds = np.asarray(new.t_s - old.t_s)[..., None]
        count = new.app_count - old.app_count
        settled = count[..., st.GOOD : st.FAILED + 1].sum(-1)
        ns = new.kind_ns - old.kind_ns
        return Scrape(
            offered_rps=count[..., st.OFFERED] / seconds,
            fate_ratio=count[..., st.GOOD : st.FAILED + 1] / settled[..., None],
            settled=settled,
            accuracy=count[..., st.ACCURACY_PPB] * 1e-9 / settled,
            quantiles_s=quantiles(new.histogram, (0.5, 0.95, 0.99), old.histogram) * (slo_s / st.BINS_PER_SLO)[..., None],
            service_rps=(new.service_offered - old.service_offered) / seconds,
            service_waiting=new.service_waiting.astype(float),
            ready=new.ready.astype(float),
            pending=new.pending.astype(float),
            draining=new.draining.astype(float),
            kind_waiting=new.kind_waiting.astype(float),
            busy_ratio=ns[..., st.BUSY] / np.where(ns[..., st.READY_SERVERS] > 0, ns[..., st.READY_SERVERS], np.nan),
            held_s=ns[..., st.HELD] * 1e-9,
        )


def quantiles(histogram: np.ndarray, levels: tuple[float, ...], before: np.ndarray | None = None) -> np.ndarray:
    """Quantiles of histograms (..., bins), as (..., levels) in units of a bin; nan where a histogram is empty.

    Linear inside a bin. A quantile in the open last bin is that bin's lower edge. With `before`, of what came since.
    """
    before = np.zeros_like(histogram) if before is None else before
    new, old = (np.ascontiguousarray(h).reshape(-1, histogram.shape[-1]) for h in (histogram, before))
    return _quantiles(new, old, np.array(levels)).reshape(*histogram.shape[:-1], len(levels))


@njit(cache=True)
def _quantiles(new: np.ndarray, old: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Quantiles of new - old (rows, bins), levels rising, as (rows, levels)."""
    out = np.full((len(new), len(levels)), np.nan)
    last = new.shape[1] - 1
    for row in range(len(new)):
        total = 0
        for bin_ in range(last + 1):
            total += new[row, bin_] - old[row, bin_]
        bin_, below = 0, 0
        here = new[row, 0] - old[row, 0]
        for i in range(len(levels) if total > 0 else 0):
            wanted = levels[i] * total
            while bin_ < last and below + here < wanted:
                below += here
                bin_ += 1
                here = new[row, bin_] - old[row, bin_]
            part = (wanted - below) / max(here, 1) if bin_ < last else 0.0
            out[row, i] = bin_ + part
    return out

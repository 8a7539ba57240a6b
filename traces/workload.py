"""One workload: which trace, which part of it, how much of it, and how its requests arrive. `open` makes it playable."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from traces.errors import TraceError
from traces.gaps import fill_gaps
from traces.generators import GENERATORS, generate
from traces.readers import bin_length_s, form, read, sum_clients
from traces.samplers import GAMMA, MMPP, POISSON, RECORDED, WEIBULL, Load, make_load
from traces.scaling import copy_weights, shift_bins, shifted_times, superpose_arrivals, superpose_rates, weights_for_mean
from traces.shapes import DAY_S
from traces.splits import Split, cut, cut_spans, read_manifest, read_shared, split_bounds

Arrivals = Literal["poisson", "gamma", "weibull", "mmpp", "recorded"]

_MODELS = {"poisson": POISSON, "gamma": GAMMA, "weibull": WEIBULL, "mmpp": MMPP, "recorded": RECORDED}


@dataclass(frozen=True)
class Workload:
    """What arrives.

    Attributes:
        trace: name of a generator (`traces.generators.GENERATORS`), name in the folder of shared traces, or path of a file.
        split: "train" or "val" of a shared trace; None for all of it. Files and generators have no splits.
        start_s: start of the window, in seconds from the start of the split; a multiple of the bin where rates are played.
        length_s: length of the window; None for the rest of the trace (a day for generators).
        scale: how many times the trace's users there are, > 0: thinned below 1, superposed copies above (`traces.scaling`).
        mean_rps: in place of scale, the mean rate wanted in the window, requests per second.
        scaling: "superpose" adds users, whose bursts average; "multiply" multiplies the rate, which keeps the shape of
            bursts ("recorded" arrivals cannot be multiplied).
        arrivals: how requests arrive around the rate. "recorded": the times of an arrivals file as they are. Other models
            count the requests of an arrivals file in bins of `count_s`.
        cv: coefficient of variation of the gaps, for "gamma" and "weibull".
        states: (rate multiplier, mean duration in seconds) of two or more states, for "mmpp".
        seed: of the generator, and of the choice of requests when recorded arrivals are thinned.
        count_s: length of the bins in which the requests of an arrivals file are counted.
    """

    trace: str
    split: Split | None = None
    start_s: float = 0.0
    length_s: float | None = None
    scale: float = 1.0
    mean_rps: float | None = None
    scaling: Literal["superpose", "multiply"] = "superpose"
    arrivals: Arrivals = "poisson"
    cv: float = 1.0
    states: tuple[tuple[float, float], ...] = ()
    seed: int = 0
    count_s: float = 10.0


class Opened(NamedTuple):
    """A workload that can be played.

    Attributes:
        load: for `traces.samplers.start` and `fill`; its time 0 is the window's start.
        span_s: length of the window in seconds.
        mean_rps: mean rate in the window, requests per second.
    """

    load: Load
    span_s: float
    mean_rps: float


def open(workload: Workload, root: str | Path | None = None) -> Opened:
    """Reads, fills, cuts and scales what a workload names.

    Gaps and low runs of a shared trace are filled within the split, so that nothing of one split reaches the other. Copies
    are taken of the whole split, then the window is cut.

    Args:
        workload: what to open.
        root: the folder of shared traces; TIDAL_TRACES when None. Needed for the names in it only.

    Returns:
        The load, its length and its mean rate.

    Raises:
        TraceError: the trace is unknown or its file faulty, or the window lies outside it.
        ValueError: a part of the workload is out of range or does not fit another.
    """
    if workload.arrivals not in _MODELS:
        raise ValueError(f"arrivals {workload.arrivals!r} is unknown; use one of {', '.join(_MODELS)}")
    if workload.scaling not in ("superpose", "multiply"):
        raise ValueError(f"scaling {workload.scaling!r} is unknown; use superpose or multiply")
    if workload.mean_rps is not None and workload.scale != 1.0:
        raise ValueError("give scale or mean_rps, not both")
    frame, full_s = _source(workload, root)
    begin_s, end_s = _window(workload, full_s)
    if workload.arrivals == "recorded":
        return _recorded(workload, frame, full_s, begin_s, end_s)
    if form(frame) == "arrivals":
        frame = _count(frame, workload.count_s, full_s)
    return _rates(workload, frame, begin_s, end_s)


def _source(workload: Workload, root: str | Path | None) -> tuple[pd.DataFrame, float]:
    """Returns the frame of the split (gaps filled, clients summed) and its length in seconds."""
    name = workload.trace
    if workload.split is not None and (name in GENERATORS or Path(name).is_file()):
        raise TraceError(name, None, "has no splits; only shared traces do. Leave split at None")
    if name in GENERATORS:
        span_s = workload.start_s + (DAY_S if workload.length_s is None else workload.length_s)
        return generate(name, span_s, workload.seed), span_s
    if Path(name).is_file():
        return _whole_file(read(name))
    if "/" in name or "." in name:
        raise TraceError(name, None, "no such file")
    manifest = read_manifest(root)
    if name not in manifest:
        raise TraceError(name, None, f"neither a generator ({', '.join(GENERATORS)}), nor a file, nor a shared trace")
    trace = manifest[name]
    begin_s, end_s = split_bounds(trace, workload.split)
    frame = cut(read_shared(trace), begin_s, end_s)
    if trace.form == "rates":
        frame = fill_gaps(frame, cut_spans(trace.gaps_s + trace.low_runs_s, begin_s, end_s))
    return frame, end_s - begin_s


def _whole_file(frame: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """Returns a file's frame with clients summed, and its length: arrivals end one mean gap after the last one."""
    kind = form(frame)
    if kind == "clients":
        times = np.unique(frame["t_s"].to_numpy())
        if times.size < 2:
            raise ValueError("clients of one bin only do not tell its length")
        frame = sum_clients(frame, float(np.diff(times).min()))
    if kind != "arrivals":
        frame = frame.assign(t_s=frame["t_s"] - frame["t_s"].iloc[0])
        return frame, bin_length_s(frame) * len(frame)
    times = frame["arrival_s"].to_numpy()
    mean_gap_s = (times[-1] - times[0]) / (times.size - 1) if times.size > 1 else 0.0
    return frame, float(times[-1] + max(mean_gap_s, 1e-6))


def _window(workload: Workload, full_s: float) -> tuple[float, float]:
    begin_s = workload.start_s
    end_s = full_s if workload.length_s is None else begin_s + workload.length_s
    if not 0 <= begin_s < end_s <= full_s + 1e-9:
        reason = f"the window from {begin_s:g} s to {end_s:g} s is empty or not inside the trace, which lasts {full_s:g} s"
        raise TraceError(workload.trace, None, reason)
    return begin_s, end_s


def _count(arrivals: pd.DataFrame, count_s: float, full_s: float) -> pd.DataFrame:
    if not 0 < count_s <= full_s:
        raise ValueError(f"count_s is {count_s}; it must be above 0 and within the trace of {full_s:g} s")
    bins = max(math.ceil(full_s / count_s), 2)
    index = np.minimum((arrivals["arrival_s"].to_numpy() / count_s).astype(np.int64), bins - 1)
    requests = np.bincount(index, minlength=bins).astype(np.float64)
    last_s = full_s - (bins - 1) * count_s
    if 0 < last_s < count_s:
        requests[-1] *= count_s / last_s  # the last bin is cut short by the end of the trace; its rate is not
    return pd.DataFrame({"t_s": count_s * np.arange(bins), "requests": requests})


def _rates(workload: Workload, frame: pd.DataFrame, begin_s: float, end_s: float) -> Opened:
    bin_s = bin_length_s(frame)
    first = round(begin_s / bin_s)
    if not math.isclose(first * bin_s, begin_s, rel_tol=0, abs_tol=1e-6):
        raise ValueError(f"start_s is {begin_s:g}; it must be a multiple of the trace's bin of {bin_s:g} s")
    ends_s = np.clip(bin_s * np.arange(len(frame) + 1), begin_s, end_s)
    part = np.diff(ends_s) / (end_s - begin_s) / bin_s  # turns the counts of bins into the mean rate of the window
    requests = frame["requests"].to_numpy(dtype=np.float64)

    @functools.cache
    def mean_shifted(bins: int) -> float:
        return float(part @ np.roll(requests, bins))

    def mean_of_copy(copy: int) -> float:
        return mean_shifted(shift_bins(copy, len(requests), bin_s))

    if workload.scaling == "multiply":
        factor = workload.scale if workload.mean_rps is None else workload.mean_rps / max(mean_of_copy(0), 1e-300)
        if not 0 < factor < math.inf:
            raise ValueError(
                f"the factor of the rate is {factor}; give a positive scale or mean_rps, and a window with requests"
            )
        frame = frame.assign(requests=factor * frame["requests"])
    else:
        frame = superpose_rates(frame, _weights(workload, mean_of_copy))
    rate_rps = frame["requests"].to_numpy() / bin_s
    inside = rate_rps[first : math.ceil(end_s / bin_s - 1e-9)]
    load = make_load(_MODELS[workload.arrivals], inside, bin_s, cv=workload.cv, states=workload.states)
    return Opened(load, end_s - begin_s, float(part @ frame["requests"].to_numpy()))


def _recorded(workload: Workload, frame: pd.DataFrame, full_s: float, begin_s: float, end_s: float) -> Opened:
    if form(frame) != "arrivals":
        raise TraceError(workload.trace, None, "holds rates, not arrivals; choose poisson, gamma, weibull or mmpp arrivals")
    if workload.scaling == "multiply":
        raise ValueError("recorded arrivals cannot be multiplied; use scaling superpose")
    times = frame["arrival_s"].to_numpy()

    def mean_of_copy(copy: int) -> float:
        moved = shifted_times(times, copy, full_s)
        return int(((moved >= begin_s) & (moved < end_s)).sum()) / (end_s - begin_s)

    weights = _weights(workload, mean_of_copy)
    if weights != [1.0]:
        frame = superpose_arrivals(frame[["arrival_s"]], weights, full_s, np.random.default_rng(workload.seed))
    times = cut(frame, begin_s, end_s)["arrival_s"].to_numpy()
    load = make_load(RECORDED, recorded_s=times, cv=workload.cv, states=workload.states)
    return Opened(load, end_s - begin_s, times.size / (end_s - begin_s))


def _weights(workload: Workload, mean_of_copy: Callable[[int], float]) -> list[float]:
    if workload.mean_rps is None:
        return copy_weights(workload.scale)
    return weights_for_mean(mean_of_copy, workload.mean_rps)

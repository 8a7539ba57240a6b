"""A recording from a CSV file.

    t_s,requests[,replicas][,answers][,latency_sum_s][,compute_sum_s][,violations][,failed]   one row for each step
    arrival_s                                                                                   one row for each request

`t_s` is Unix time or seconds from anywhere, with steps of one length; an empty cell, or a step that is left out, was not
recorded. Any other trace file that `traces.readers` knows is read too: its requests, and nothing else.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from reports.replay.recording import PER_STEP, RecordError, Recording, recording
from traces.errors import TraceError
from traces.readers import form, read, sum_clients
from traces.table import Kind, check_order, read_table, read_text

FIRST_DATE_S = 1e9  # 2001: smaller times are no dates
COUNTED_S = 1.0  # steps in which single requests are counted
ROUNDING_S = 1e-3


def read_csv(path: Path) -> Recording:
    """The recording in a file.

    Raises:
        TraceError: the file is faulty.
        RecordError: it holds no requests.
    """
    header = {name.strip().strip('"') for name in read_text(path).partition("\n")[0].split(",")}
    if {"t_s", "requests"} <= header and "model" not in header:
        return _steps(path)
    try:
        frame = read(path)
    except TraceError as error:
        if error.line != 1:  # its form is known
            raise
        raise RecordError(f"{error}; for --replay give the columns t_s,requests (docs/replay.md)") from error
    if form(frame) == "arrivals":
        return _requests(path, frame["arrival_s"].to_numpy(dtype=np.float64))
    if form(frame) == "clients":
        frame = sum_clients(frame, float(np.diff(np.unique(frame["t_s"].to_numpy())).min()))
    times = frame["t_s"].to_numpy(dtype=np.float64)
    step_s = float(times[1] - times[0])
    return recording(path.name, _date(times[0]), step_s, frame["requests"].to_numpy(), scrape_s=step_s)


def _steps(path: Path) -> Recording:
    optional: dict[str, Kind] = {name: "number or empty" for name in PER_STEP}
    frame = read_table(path, {"t_s": "number"}, optional)
    check_order(path, frame["t_s"])
    times = frame["t_s"].to_numpy(dtype=np.float64)
    if len(times) < 2:
        raise TraceError(path, 2, "one step only; at least two are needed to know its length")
    step_s = float(np.median(np.diff(times)))
    place = (times - times[0]) / step_s if step_s > 0 else np.zeros(len(times))
    wrong = np.flatnonzero((np.abs(place - np.rint(place)) * step_s > ROUNDING_S) | (np.diff(np.rint(place), prepend=-1) < 1))
    if wrong.size:
        row = int(wrong[0])
        raise TraceError(path, row + 2, f"t_s is {times[row]:.15g}, which is not on the steps of {step_s:g} s, or is repeated")
    whole = pd.RangeIndex(round(place[-1]) + 1)
    table = frame.set_index(np.rint(place).astype(np.int64)).reindex(whole)
    columns = {name: table[name].to_numpy() for name in PER_STEP if name in table}
    requests = columns.pop("requests")
    return recording(path.name, _date(times[0]), step_s, requests, scrape_s=step_s, **columns)


def _requests(path: Path, times: np.ndarray) -> Recording:
    """Every request was recorded: its time is known exactly."""
    if not times.size:
        raise RecordError(f"{path.name}: no requests were recorded there")
    began_s = float(np.floor(times[0])) if times[0] >= FIRST_DATE_S else 0.0
    inside = times - began_s
    steps = max(int(np.ceil(inside[-1] / COUNTED_S + 1e-9)), 2)
    counts = np.bincount(np.minimum((inside / COUNTED_S).astype(np.int64), steps - 1), minlength=steps)
    return recording(path.name, _date(times[0]) if began_s else np.nan, COUNTED_S, counts, arrival_s=inside)


def _date(t_s: float) -> float:
    return float(t_s) if t_s >= FIRST_DATE_S else np.nan

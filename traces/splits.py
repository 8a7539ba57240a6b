"""The manifest of a folder of shared traces, and the training and validation parts that it draws.

The folder is given by an argument or the environment variable TIDAL_TRACES; its files are read where they lie.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from traces.errors import TraceError
from traces.readers import Form, form, read_arrivals, read_clients, read_rates

Split = Literal["train", "val"]
Spans = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class SharedTrace:
    """One entry of the manifest.

    Attributes:
        name: the trace's name.
        path: its file.
        form: "arrivals" or "rates".
        bin_s: length of a bin in seconds; None for arrivals.
        span_s: length of the file in seconds.
        requests: how many the file holds.
        mean_rps: mean rate outside gaps, requests per second.
        splits: (begin, end) of each split in file seconds; a split that the trace does not have is absent.
        gaps_s: (start, length) of missing data, stored as 0.
        low_runs_s: (start, length) of minutes far below their surroundings: outages.
        clients_path: the clients file, where there is one.
    """

    name: str
    path: Path
    form: Form
    bin_s: float | None
    span_s: float
    requests: int
    mean_rps: float
    splits: dict[Split, tuple[float, float]]
    gaps_s: Spans
    low_runs_s: Spans
    clients_path: Path | None


def find_root(root: str | Path | None = None) -> Path:
    """Finds the folder of shared traces.

    Args:
        root: the folder; TIDAL_TRACES when None.

    Returns:
        A folder that holds a manifest.

    Raises:
        TraceError: no folder is named, or it holds no manifest.json.
    """
    named = root if root is not None else os.environ.get("TIDAL_TRACES")
    if not named:
        raise TraceError("shared traces", None, "no folder is named; pass root or set TIDAL_TRACES")
    if not (Path(named) / "manifest.json").is_file():
        raise TraceError(named, None, "holds no manifest.json; point root or TIDAL_TRACES to the folder of shared traces")
    return Path(named)


def read_manifest(root: str | Path | None = None) -> dict[str, SharedTrace]:
    """Reads the manifest.

    Args:
        root: the folder; TIDAL_TRACES when None.

    Returns:
        Traces by name, in the manifest's order.

    Raises:
        TraceError: the folder or manifest is absent or faulty.
    """
    folder = find_root(root)
    path = folder / "manifest.json"
    try:
        entries = json.loads(path.read_text())["traces"]
        return {entry["name"]: _entry(folder, entry) for entry in entries}
    except json.JSONDecodeError as error:
        raise TraceError(path, error.lineno, f"not JSON ({error.msg})") from error
    except (KeyError, TypeError, ValueError) as error:
        raise TraceError(path, None, f"an entry is not as described in the folder's README: {error!r}") from error


def read_shared(trace: SharedTrace) -> pd.DataFrame:
    """Reads the file of one entry.

    Args:
        trace: from `read_manifest`.

    Returns:
        Arrivals or rates.

    Raises:
        TraceError: the file is faulty.
    """
    return read_arrivals(trace.path) if trace.form == "arrivals" else read_rates(trace.path)


def read_shared_clients(trace: SharedTrace) -> pd.DataFrame:
    """Reads the clients file of one entry.

    Args:
        trace: from `read_manifest`.

    Returns:
        Clients.

    Raises:
        TraceError: the trace has no clients file, or it is faulty.
    """
    if trace.clients_path is None:
        raise TraceError(trace.name, None, "has no clients file; those of ServeGen have one")
    return read_clients(trace.clients_path)


def split_bounds(trace: SharedTrace, split: Split | None) -> tuple[float, float]:
    """Tells where a split begins and ends.

    Args:
        trace: from `read_manifest`.
        split: "train", "val", or None for the whole file.

    Returns:
        (begin, end) in file seconds.

    Raises:
        TraceError: the trace does not have this split.
    """
    if split is None:
        return 0.0, trace.span_s
    if split not in trace.splits:
        raise TraceError(trace.name, None, f"has no split {split!r}; it has {' and '.join(trace.splits)}")
    return trace.splits[split]


def cut(frame: pd.DataFrame, begin_s: float, end_s: float) -> pd.DataFrame:
    """Cuts a window out of a frame; time 0 of the result is the window's start.

    Args:
        frame: any of the three forms. Bins are kept whole: those that start in the window.
        begin_s: start of the window, seconds.
        end_s: end of the window, seconds, not in it.

    Returns:
        A new frame of the same form.
    """
    column = "arrival_s" if form(frame) == "arrivals" else "t_s"
    inside = frame[(frame[column] >= begin_s) & (frame[column] < end_s)].reset_index(drop=True)
    inside[column] = inside[column] - begin_s
    return inside


def cut_spans(spans: Spans, begin_s: float, end_s: float) -> Spans:
    """Cuts (start, length) spans to a window, as `cut` does with a frame.

    Args:
        spans: (start, length) in seconds.
        begin_s: start of the window, seconds.
        end_s: end of the window, seconds.

    Returns:
        The parts inside the window, from its start.
    """
    parts = ((max(start, begin_s), min(start + length, end_s)) for start, length in spans)
    return tuple((low - begin_s, high - low) for low, high in parts if high > low)


def _entry(folder: Path, entry: dict[str, Any]) -> SharedTrace:
    if entry["kind"] not in ("arrivals", "rates"):
        raise ValueError(f"{entry['name']} is of kind {entry['kind']!r}")
    clients = entry.get("clients_file")
    return SharedTrace(
        name=entry["name"],
        path=folder / entry["file"],
        form=entry["kind"],
        bin_s=entry["bin_s"],
        span_s=float(entry["span_s"]),
        requests=int(entry["requests"]),
        mean_rps=float(entry["mean_rate_rps"]),
        splits={name: (float(ends[0]), float(ends[1])) for name, ends in entry["splits"].items() if ends is not None},
        gaps_s=_spans(entry["gaps_s"]),
        low_runs_s=_spans(entry.get("low_runs_s", [])),
        clients_path=folder / clients["file"] if clients else None,
    )


def _spans(rows: list[list[float]]) -> Spans:
    return tuple((float(start), float(length)) for start, length in rows)

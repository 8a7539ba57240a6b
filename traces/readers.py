"""Files in, DataFrames out: the three plain forms, and `read`, which tells the form of any readable file.

Every reader returns one of three forms:

- **arrivals**: `arrival_s` (sorted, seconds from the file's time 0), one row per request; where the source has them
  `input_tokens`, `output_tokens`, `model`, `service_s` and others.
- **rates**: `t_s` (start of the bin), `requests` (count in the bin); bins of equal length, none left out.
- **clients**: `t_s`, `model` (client, function or model), `requests` and, where known, `cv` of the gaps in the bin; only bins
  with requests.

The public formats (Azure, BurstGPT, Mooncake, per-second counts) are in `traces.public`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from traces import public
from traces.errors import TraceError
from traces.table import Kind, check_order, read_table, read_text

Form = Literal["arrivals", "rates", "clients"]

_REQUEST_COLUMNS: dict[str, Kind] = {
    "model": "text",
    "input_tokens": "number or empty",
    "output_tokens": "number or empty",
    "service_s": "number or empty",
    "num_images": "number or empty",
    "steps": "number or empty",
    "num_lora": "number or empty",
    "prompt_chars": "number or empty",
}


def read(path: str | Path) -> pd.DataFrame:
    """Reads a trace file of any known format, told by its name and first line.

    Args:
        path: CSV, CSV.gz, JSONL or space-separated counts.

    Returns:
        A frame in one of the three forms; `form` tells which.

    Raises:
        TraceError: the format is unknown or the file is faulty.
    """
    path = Path(path)
    if ".jsonl" in path.suffixes:
        return public.read_mooncake(path)
    first = read_text(path).partition("\n")[0].strip()
    columns = {name.strip().strip('"') for name in first.split(",")}
    if {"t_s", "model", "requests"} <= columns:
        return read_clients(path)
    if {"t_s", "requests"} <= columns:
        return read_rates(path)
    if "arrival_s" in columns:
        return read_arrivals(path)
    if {"TIMESTAMP", "ContextTokens", "GeneratedTokens"} <= columns:
        return public.read_azure_llm(path)
    if {"HashFunction", "1", "1440"} <= columns:
        return public.read_azure_functions_2019(path)
    if {"func", "end_timestamp", "duration"} <= columns:
        return public.read_azure_functions_2021(path)
    if {"Timestamp", "Request tokens", "Response tokens"} <= columns:
        return public.read_burstgpt(path)
    if first[:1].isdigit() and "," not in first:
        return public.read_counts(path)
    raise TraceError(path, 1, f"unknown format; the first line is {first[:80]!r}. traces/readers.py lists those that are read")


def form(frame: pd.DataFrame) -> Form:
    """Tells the form of a frame that a reader returned.

    Args:
        frame: any frame.

    Returns:
        "arrivals", "rates" or "clients".

    Raises:
        ValueError: the columns are of none of them.
    """
    columns = set(frame.columns)
    if "arrival_s" in columns:
        return "arrivals"
    if {"t_s", "model", "requests"} <= columns:
        return "clients"
    if {"t_s", "requests"} <= columns:
        return "rates"
    raise ValueError(f"columns {sorted(columns)} are of no known form; arrivals need arrival_s, rates t_s and requests")


def bin_length_s(rates: pd.DataFrame) -> float:
    """Tells the length of a bin of rates from its first two rows.

    Args:
        rates: `t_s`, `requests`, at least two rows.

    Returns:
        Seconds.

    Raises:
        ValueError: fewer than two rows.
    """
    if len(rates) < 2:
        raise ValueError("rates of fewer than two bins do not tell their bin length")
    return float(rates["t_s"].iloc[1] - rates["t_s"].iloc[0])


def read_arrivals(path: str | Path) -> pd.DataFrame:
    """Reads an arrivals file: `arrival_s` and optional columns of requests.

    Args:
        path: CSV or CSV.gz.

    Returns:
        Arrivals; an empty cell of an optional column is NaN.

    Raises:
        TraceError: the file is faulty, or its times are negative or unsorted.
    """
    path = Path(path)
    frame = read_table(path, {"arrival_s": "number"}, _REQUEST_COLUMNS)
    check_order(path, frame["arrival_s"])
    return frame


def read_rates(path: str | Path) -> pd.DataFrame:
    """Reads a rates file: `t_s` and `requests`, equal bins, none left out.

    Args:
        path: CSV or CSV.gz.

    Returns:
        Rates.

    Raises:
        TraceError: the file is faulty, has one row only, or a bin is missing or repeated.
    """
    path = Path(path)
    frame = read_table(path, {"t_s": "number", "requests": "number"})
    check_order(path, frame["t_s"])
    if len(frame) < 2:
        raise TraceError(path, 2, "one bin only; at least two are needed to know its length")
    times = frame["t_s"].to_numpy()
    bin_s = times[1] - times[0]
    expected = times[0] + bin_s * np.arange(times.size)
    wrong = np.flatnonzero(~np.isclose(times, expected, rtol=0.0, atol=1e-6 * max(bin_s, 1e-9)) | (bin_s <= 0))
    if wrong.size:
        row = int(wrong[0])
        reason = f"a bin is missing or repeated: t_s is {times[row]:g} where {expected[row]:g} was due (bins of {bin_s:g} s)"
        raise TraceError(path, row + 2, reason)
    return frame


def read_clients(path: str | Path) -> pd.DataFrame:
    """Reads a clients file: `t_s`, `model`, `requests` and, where known, `cv`.

    Args:
        path: CSV or CSV.gz.

    Returns:
        Clients; `model` is text, `cv` NaN where the source had too few requests.

    Raises:
        TraceError: the file is faulty, or its times are unsorted.
    """
    path = Path(path)
    frame = read_table(path, {"t_s": "number", "model": "text", "requests": "number"}, {"cv": "number or empty"})
    check_order(path, frame["t_s"])
    return frame


def sum_clients(clients: pd.DataFrame, bin_s: float) -> pd.DataFrame:
    """Adds up clients to rates.

    Args:
        clients: `t_s`, `model`, `requests`.
        bin_s: length of a bin in seconds.

    Returns:
        Rates from time 0 to the last bin with requests; bins without a row hold 0.
    """
    index = np.rint(clients["t_s"].to_numpy() / bin_s).astype(np.int64)
    requests = np.bincount(index, weights=clients["requests"].to_numpy(), minlength=2)
    return pd.DataFrame({"t_s": bin_s * np.arange(requests.size), "requests": requests})

"""Readers for raw public formats: Azure LLM inference, Azure Functions 2019 and 2021, BurstGPT, Mooncake, plain counts."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from traces.errors import TraceError
from traces.table import Kind, check_order, read_table, read_text

_MINUTES = [str(m) for m in range(1, 1441)]


def read_azure_llm(path: str | Path) -> pd.DataFrame:
    """Reads an Azure LLM inference trace (Azure/AzurePublicDataset 2023 and 2024: TIMESTAMP, ContextTokens, GeneratedTokens).

    Args:
        path: CSV or CSV.gz.

    Returns:
        Arrivals: `arrival_s` = TIMESTAMP less the first one, `input_tokens`, `output_tokens`.

    Raises:
        TraceError: the file is faulty, or a time is not a date or goes back.
    """
    path = Path(path)
    frame = read_table(path, {"TIMESTAMP": "text", "ContextTokens": "number", "GeneratedTokens": "number"})
    stamps = pd.to_datetime(frame["TIMESTAMP"], format="ISO8601", utc=True, errors="coerce")
    bad = stamps.isna().to_numpy()
    if bad.any():
        row = int(np.argmax(bad))
        raise TraceError(path, row + 2, f"column 'TIMESTAMP': {frame['TIMESTAMP'].iloc[row]!r} is not a date and time")
    stamps = stamps.astype("datetime64[ns, UTC]")
    check_order(path, stamps.rename("TIMESTAMP"))
    arrival_s = (stamps - stamps.iloc[0]).astype("int64").to_numpy() / 1e9
    return pd.DataFrame(
        {
            "arrival_s": arrival_s,
            "input_tokens": frame["ContextTokens"],
            "output_tokens": frame["GeneratedTokens"],
        }
    )


def read_azure_functions_2019(path: str | Path) -> pd.DataFrame:
    """Reads one day of the Azure Functions 2019 trace (HashOwner, HashApp, HashFunction, Trigger, 1..1440: counts per minute).

    Args:
        path: `invocations_per_function_md.anon.dNN.csv`, plain or gzip.

    Returns:
        Clients, sorted by time: `t_s` (0 = midnight, bins of 60 s), `model` = HashFunction, `app`, `trigger`, `requests`.

    Raises:
        TraceError: the file is faulty.
    """
    texts: dict[str, Kind] = {"HashOwner": "text", "HashApp": "text", "HashFunction": "text", "Trigger": "text"}
    frame = read_table(Path(path), {**texts, **dict.fromkeys(_MINUTES, "number")})
    counts = frame[_MINUTES].to_numpy()
    minute, function = np.nonzero(counts.T)
    return pd.DataFrame(
        {
            "t_s": 60.0 * minute,
            "model": frame["HashFunction"].to_numpy()[function],
            "requests": counts[function, minute],
            "app": frame["HashApp"].to_numpy()[function],
            "trigger": frame["Trigger"].to_numpy()[function],
        }
    )


def read_azure_functions_2021(path: str | Path) -> pd.DataFrame:
    """Reads the Azure Functions 2021 trace (app, func, end_timestamp, duration; seconds from the start of the trace).

    The source is in order of neither start nor end, hence it is sorted here by start.

    Args:
        path: CSV or CSV.gz.

    Returns:
        Arrivals: `arrival_s` = end_timestamp - duration, `model` = func, `app`, `service_s` = duration. Invocations that
        began before time 0 are left out.

    Raises:
        TraceError: the file is faulty.
    """
    frame = read_table(Path(path), {"app": "text", "func": "text", "end_timestamp": "number", "duration": "number"})
    frame["arrival_s"] = frame["end_timestamp"] - frame["duration"]
    frame = frame[frame["arrival_s"] >= 0].sort_values("arrival_s", kind="stable", ignore_index=True)
    frame = frame.rename(columns={"func": "model", "duration": "service_s"})
    return frame[["arrival_s", "model", "app", "service_s"]]


def read_burstgpt(path: str | Path) -> pd.DataFrame:
    """Reads a BurstGPT trace (HPMLL/BurstGPT: Timestamp, Model, Request tokens, Response tokens, Total tokens, Log Type).

    Args:
        path: CSV or CSV.gz.

    Returns:
        Arrivals: `arrival_s` = Timestamp (seconds from the first midnight), `model`, `log_type`, `input_tokens`,
        `output_tokens` (0 where the service failed).

    Raises:
        TraceError: the file is faulty, or its times are unsorted.
    """
    path = Path(path)
    columns: dict[str, Kind] = {
        "Timestamp": "number",
        "Model": "text",
        "Log Type": "text",
        "Request tokens": "number",
        "Response tokens": "number",
    }
    frame = read_table(path, {**columns, "Total tokens": "number"})[list(columns)]
    check_order(path, frame["Timestamp"])
    frame.columns = pd.Index(["arrival_s", "model", "log_type", "input_tokens", "output_tokens"])
    return frame


def read_mooncake(path: str | Path) -> pd.DataFrame:
    """Reads a Mooncake trace (kvcache-ai/Mooncake: JSON lines of timestamp in ms, input_length, output_length, hash_ids).

    Args:
        path: JSONL, plain or gzip.

    Returns:
        Arrivals: `arrival_s`, `input_tokens`, `output_tokens`, `hash_ids` (lists of the ids of 512-token blocks).

    Raises:
        TraceError: a line is not a JSON object, lacks a field, or its number is negative, not finite, or goes back in time.
    """
    path = Path(path)
    rows: list[tuple[float, float, float, list[int]]] = []
    for line, text in enumerate(read_text(path).split("\n"), start=1):
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise TraceError(path, line, f"not a JSON object ({getattr(error, 'msg', error)})") from error
        if not isinstance(row, dict):
            raise TraceError(path, line, "not a JSON object")
        numbers = [_number(path, line, row, name) for name in ("timestamp", "input_length", "output_length")]
        if rows and numbers[0] / 1000 < rows[-1][0]:
            raise TraceError(path, line, f"timestamp {numbers[0]:g} goes back; sort the file by time")
        if not isinstance(row.get("hash_ids"), list):
            raise TraceError(path, line, "field 'hash_ids' is missing or not a list")
        rows.append((numbers[0] / 1000, numbers[1], numbers[2], row["hash_ids"]))
    return pd.DataFrame(rows, columns=["arrival_s", "input_tokens", "output_tokens", "hash_ids"])


def read_counts(path: str | Path, bin_s: float = 1.0) -> pd.DataFrame:
    """Reads counts separated by white space, one per bin (the Twitter and NASA sets of InfAdapter: `workload.txt`).

    Args:
        path: text, plain or gzip.
        bin_s: length of a bin in seconds.

    Returns:
        Rates.

    Raises:
        TraceError: a word is not a whole number >= 0, or there are fewer than two.
    """
    path = Path(path)
    text = read_text(path)
    try:
        counts = np.array(text.split(), dtype=object).astype(np.int64)
        if (counts < 0).any():
            raise ValueError("negative")
    except (ValueError, OverflowError):
        raise _bad_count(path, text) from None
    if counts.size < 2:
        raise TraceError(path, 1, "one count only; at least two bins are needed")
    return pd.DataFrame({"t_s": bin_s * np.arange(counts.size), "requests": counts.astype(np.float64)})


def _number(path: Path, line: int, row: dict[str, Any], name: str) -> float:
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TraceError(path, line, f"field {name!r} is missing or not a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not (math.isfinite(number) and number >= 0):
        raise TraceError(path, line, f"field {name!r}: {number} is negative or not finite")
    return number


def _bad_count(path: Path, text: str) -> TraceError:
    for line, words in enumerate(text.split("\n"), start=1):
        for place, word in enumerate(words.split(), start=1):
            if not word.isdecimal():
                return TraceError(path, line, f"word {place}, {word[:40]!r}, is not a whole number >= 0")
    return TraceError(path, None, "a count is too large for 64 bits")

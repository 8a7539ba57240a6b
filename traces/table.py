"""Reading a CSV table strictly: every fault becomes a `TraceError` with its line.

The fast path is pandas; only when something is wrong are lines looked at one by one, to name the first bad one.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from traces.errors import TraceError

Kind = Literal["number", "number or empty", "text"]
"""`number`: finite and >= 0. `number or empty`: the same, or NaN for an empty cell. `text`: kept as it stands."""


def read_text(path: Path) -> str:
    """Reads a text file, plain or gzip (told by its first bytes).

    Args:
        path: the file.

    Returns:
        The text without blank lines at the end; never empty.

    Raises:
        TraceError: the file is absent, empty, not UTF-8, or a damaged gzip file.
    """
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        text = data.decode("utf-8-sig").rstrip()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TraceError(path, None, f"damaged gzip file ({error}); fetch it again") from error
    except UnicodeDecodeError as error:
        raise TraceError(path, data.count(b"\n", 0, error.start) + 1, "not UTF-8 text; is this a trace file?") from error
    except OSError as error:
        raise TraceError(path, None, f"cannot be read: {error.strerror or error}") from error
    if not text:
        raise TraceError(path, 1, "the file is empty")
    return text


def read_table(path: Path, required: Mapping[str, Kind], optional: Mapping[str, Kind] | None = None) -> pd.DataFrame:
    """Reads the named columns of a CSV file with a header line.

    Args:
        path: the file, plain or gzip.
        required: columns that must be there, and their kinds.
        optional: columns that are read when they are there. Columns that are not named are left out.

    Returns:
        One row per line in the file's order; row i is line i + 2. Numbers are float64.

    Raises:
        TraceError: a column is missing, a line has too few or too many fields, a cell is not of its kind, or no row is there.
    """
    text = read_text(path)
    header_line, _, body = text.partition("\n")
    header = [name.strip().strip('"') for name in header_line.strip().split(",")]
    missing = [name for name in required if name not in header]
    if missing:
        raise TraceError(path, 1, f"column {missing[0]!r} is missing; the header is {header_line.strip()[:200]!r}")
    if len(set(header)) < len(header):
        raise TraceError(path, 1, "a column name stands twice in the header")
    if not body:
        raise TraceError(path, 2, "no rows after the header")
    kinds = {name: kind for name, kind in {**required, **(optional or {})}.items() if name in header}
    _check_widths(path, body, len(header))
    try:
        frame = pd.read_csv(
            io.StringIO(body),
            header=None,
            names=header,
            usecols=list(kinds),
            dtype={name: "str" if kind == "text" else "float64" for name, kind in kinds.items()},
            keep_default_na=False,
            na_values={name: [""] for name, kind in kinds.items() if kind != "text"},
            skip_blank_lines=False,
        )
    except ValueError as error:
        raise _first_bad_cell(path, body, header, kinds, str(error)) from error
    for name, kind in kinds.items():
        if kind != "text":
            _check_numbers(path, frame[name], kind)
    return frame[list(kinds)]


def check_order(path: Path, times: pd.Series) -> None:
    """Refuses times that go back.

    Args:
        path: named in the error.
        times: one per row, row i being line i + 2.

    Raises:
        TraceError: a time is smaller than the one before it.
    """
    values = times.to_numpy()
    back = np.flatnonzero(values[1:] < values[:-1])
    if back.size:
        row = int(back[0]) + 1
        reason = f"{times.name} goes back from {values[row - 1]} to {values[row]}; sort the file by time"
        raise TraceError(path, row + 2, reason)


def _check_widths(path: Path, body: str, width: int) -> None:
    if '"' in body:
        counts = np.array([len(row) for row in _rows(path, body)])
    else:
        data = np.frombuffer(body.encode(), dtype=np.uint8)
        starts = np.concatenate([[0], np.flatnonzero(data == ord("\n")) + 1])
        counts = np.add.reduceat(data == ord(","), starts, dtype=np.int32) + 1
    wrong = np.flatnonzero(counts != width)
    if wrong.size:
        row = int(wrong[0])
        raise TraceError(path, row + 2, f"{counts[row]} fields where the header has {width}")


def _rows(path: Path, body: str) -> Iterator[list[str]]:
    reader = csv.reader(io.StringIO(body))
    try:
        yield from reader
    except csv.Error as error:
        raise TraceError(path, reader.line_num + 1, str(error)) from error


def _check_numbers(path: Path, column: pd.Series, kind: Kind) -> None:
    values = column.to_numpy()
    bad = ~(np.isfinite(values) & (values >= 0))
    if kind == "number or empty":
        bad &= ~np.isnan(values)
    if bad.any():
        row = int(np.argmax(bad))
        fault = _fault("" if math.isnan(values[row]) else str(values[row]), kind)
        raise TraceError(path, row + 2, f"column {column.name!r}: {fault}")


def _first_bad_cell(path: Path, body: str, header: list[str], kinds: Mapping[str, Kind], message: str) -> TraceError:
    for line, row in enumerate(_rows(path, body), start=2):
        for name, cell in zip(header, row):
            fault = _fault(cell, kinds.get(name, "text"))
            if fault:
                return TraceError(path, line, f"column {name!r}: {fault}")
    return TraceError(path, None, message)


def _fault(cell: str, kind: Kind) -> str | None:
    if kind == "text" or (kind == "number or empty" and cell == ""):
        return None
    if cell == "":
        return "empty or NaN where a number is needed"
    try:
        value = float(cell)
    except ValueError:
        return f"{cell[:40]!r} is not a number"
    if not math.isfinite(value):
        return f"{cell} is not finite"
    return f"{cell} is negative" if value < 0 else None

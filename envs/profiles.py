"""Profiles: measured tables of latency by (variant, shape, batch, stage), read from CSV.

Columns of a profile: ``variant, device, cores, inter_op, intra_op, batch, stage, latency_s``. An empty ``cores`` stands
for any number of cores (each core then serves one batch at a time at that latency). Between measured batch sizes latency
is interpolated linearly. A capacity table (optional) has ``variant, device, cores, inter_op, intra_op, batch, capacity_rps``.
Further columns are ignored, and so is what follows a ``#``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from envs.contract import CPU, Shape
from envs.problem import Problem

LATENCY_COLUMNS = ["variant", "device", "cores", "inter_op", "intra_op", "batch", "stage", "latency_s"]
CAPACITY_COLUMNS = ["variant", "device", "cores", "inter_op", "intra_op", "batch", "capacity_rps"]
_Key = tuple[str, str, int, int, int]


class ProfileError(ValueError):
    """A profile file, or a look-up in it, is wrong; the message names the file, the line or key, and the reason.

    Attributes:
        problems: all that is wrong with the file, line by line; empty for a look-up.
    """

    def __init__(self, message: str = "", problems: Iterable[Problem] = ()) -> None:
        self.problems = tuple(problems)
        super().__init__(message or "\n".join(map(str, self.problems)))


class Profile:
    """Latency tables, and measured capacities where there are any.

    Args:
        latencies: frame with the columns of a profile.
        capacities: frame with the columns of a capacity table, or None.
        name: what messages call the profile.

    Raises:
        ProfileError: missing columns, bad numbers, or gaps in the stages.
    """

    def __init__(self, latencies: pd.DataFrame, capacities: pd.DataFrame | None = None, name: str = "profile") -> None:
        self.name = name
        latencies = _checked(latencies, LATENCY_COLUMNS, name)
        _check_stages(latencies, name)
        self._table: dict[_Key, dict[int, tuple[float, ...]]] = {}
        rows = latencies.assign(cores=latencies["cores"].fillna(-1)).sort_values("stage", kind="stable")
        for (v, d, c, p, o, b), group in rows.groupby(["variant", "device", "cores", "inter_op", "intra_op", "batch"]):
            stages = tuple(float(x) for x in group["latency_s"])
            self._table.setdefault((str(v), str(d), int(c), int(p), int(o)), {})[int(b)] = stages
        self._capacity: dict[tuple[str, Shape, int], float] = {}
        if capacities is not None:
            for row in _checked(capacities, CAPACITY_COLUMNS, name).itertuples():
                shape = Shape(int(row.cores), int(row.inter_op), int(row.intra_op), str(row.device))
                self._capacity[str(row.variant), shape, int(row.batch)] = float(row.capacity_rps)
        self.latency_s = lru_cache(maxsize=None)(self._latency_s)

    @classmethod
    def read(cls, path: str | Path, capacities: str | Path | None = None) -> Profile:
        """Reads a profile, and a capacity table, from CSV; an error tells of both files."""
        problems: list[Problem] = []
        tables = []
        for file, columns in ((path, LATENCY_COLUMNS), (capacities, CAPACITY_COLUMNS)):
            try:
                tables.append(_checked(_read(Path(file)), columns, str(file)) if file else None)
            except ProfileError as error:
                problems += error.problems
        if problems:
            raise ProfileError(problems=problems)
        return cls(tables[0], tables[1], str(path))

    def _latency_s(self, variant: str, shape: Shape, batch: int) -> tuple[float, ...]:
        """Latency of one batch in each stage, seconds.

        Raises:
            ProfileError: nothing measured for this variant and shape, or only smaller batches.
        """
        parallel = (shape.inter_op, shape.intra_op)
        cores = shape.cores if shape.device == CPU else 0
        table = (self._table.get((variant, shape.device, cores, *parallel))
                 or self._table.get((variant, shape.device, -1, *parallel)))
        if table is None:
            raise ProfileError(f"{self.name}: no row for variant '{variant}' on shape {shape}; add one to the profile")
        if batch in table:
            return table[batch]
        sizes = sorted(table)
        if not sizes[0] <= batch <= sizes[-1]:
            raise ProfileError(
                f"{self.name}: '{variant}' on {shape} is measured for batches {sizes[0]} to {sizes[-1]}, not {batch}")
        return tuple(float(np.interp(batch, sizes, [table[b][s] for b in sizes])) for s in range(shape.inter_op))

    def measured_capacity_rps(self, variant: str, shape: Shape, batch: int) -> float | None:
        """Load that one replica was measured to carry within the SLO, or None."""
        return self._capacity.get((variant, shape, batch))

    def __getstate__(self) -> dict[str, object]:
        return {k: v for k, v in self.__dict__.items() if k != "latency_s"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self.latency_s = lru_cache(maxsize=None)(self._latency_s)


def read_capacities(path: str | Path) -> pd.DataFrame:
    """Reads a capacity table: columns `CAPACITY_COLUMNS`, numbers as float64.

    Raises:
        ProfileError: naming each line that is wrong.
    """
    return _checked(_read(Path(path)), CAPACITY_COLUMNS, str(path))


def _read(path: Path) -> pd.DataFrame:
    """Reads a CSV table of strings; the index of a row is its line in the file. Rows of a wrong length become problems."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file in UTF-8"
        raise ProfileError(problems=[Problem(str(path), 0, "", f"{reason}; give a CSV table")]) from None
    kept = [(i, text) for i, text in enumerate((line.split("#")[0].strip() for line in lines), 1) if text]
    rows = [[cell.strip() for cell in row] for row in csv.reader(text for _, text in kept)]
    if len(rows) < 2:
        raise ProfileError(problems=[Problem(str(path), 0, "", "no rows; give a line of column names and one or more rows")])
    whole = {line: row for (line, _), row in zip(kept[1:], rows[1:]) if len(row) == len(rows[0])}
    frame = pd.DataFrame(list(whole.values()), columns=rows[0], index=list(whole), dtype=str)
    frame.attrs["header_line"] = kept[0][0]
    frame.attrs["problems"] = [Problem(str(path), line, "", f"{len(row)} cells, but there are {len(rows[0])} columns")
                               for (line, _), row in zip(kept, rows) if len(row) != len(rows[0])]
    return frame


def _checked(frame: pd.DataFrame, columns: list[str], name: str) -> pd.DataFrame:
    """The columns wanted, the numbers among them as float64.

    Raises:
        ProfileError: naming each line (or row's index) that is wrong.
    """
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        reason = f"missing column(s) {', '.join(missing)}; expected {', '.join(columns)}"
        raise ProfileError(problems=[Problem(name, frame.attrs.get("header_line", 1), "", reason)])
    value = columns[-1]
    result = frame[columns].copy()
    problems: list[Problem] = list(frame.attrs.get("problems", ()))
    for column in columns:
        if column in ("variant", "device"):
            bad, wanted = frame[column].isna() | (frame[column] == ""), "a name"
        else:
            numbers = pd.to_numeric(frame[column], errors="coerce").astype(float)
            floor = 0 if column in ("cores", "stage") else 1
            good = np.isfinite(numbers) & ((numbers > 0) if column == value else (numbers >= floor) & (numbers % 1 == 0))
            if column == "cores" and value == "latency_s":
                good |= frame[column].isna() | (frame[column] == "")
            bad, wanted = ~good, "a number > 0" if column == value else f"a whole number >= {floor}"
            result[column] = numbers
        cells = frame[column][bad]
        problems += [Problem(name, line, column, f"{cell!r} is not {wanted}")
                     for line, cell in zip(cells.index.tolist(), cells)]
    if problems:
        raise ProfileError(problems=sorted(problems))
    return result


def _check_stages(latencies: pd.DataFrame, name: str) -> None:
    """Every (variant, shape, batch) has each of its stages once."""
    keys = ["variant", "device", "cores", "inter_op", "intra_op", "batch"]
    problems = []
    for key, group in latencies.groupby(keys, dropna=False):
        if sorted(group["stage"]) != list(range(int(key[3]))):
            stages = ", ".join(f"{s:g}" for s in sorted(group["stage"]))
            wanted = f"0 to {key[3] - 1:g}" if key[3] > 1 else "0"
            reason = (f"{key[0]} on {key[1]}, batch {key[5]:g}, has stages {stages}; "
                      f"with inter_op {key[3]:g} it needs {wanted}, each once")
            problems.append(Problem(name, int(group.index[0]), "stage", reason))
    if problems:
        raise ProfileError(problems=sorted(problems))

"""The tables behind a profile: CSV files read and checked line by line."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from envs.problem import Problem

LATENCY_COLUMNS = ["variant", "device", "cores", "inter_op", "intra_op", "batch", "stage", "latency_s"]
CAPACITY_COLUMNS = ["variant", "device", "cores", "inter_op", "intra_op", "batch", "capacity_rps"]
ANY_CORES = -1
"""What stands for an empty `cores` in a checked table."""


class ProfileError(ValueError):
    """A profile file, or a look-up in it, is wrong; the message names the file, the line or key, and the reason.

    Attributes:
        problems: all that is wrong with the file, line by line; empty for a look-up.
    """

    def __init__(self, message: str = "", problems: Iterable[Problem] = ()) -> None:
        self.problems = tuple(problems)
        super().__init__(message or "\n".join(map(str, self.problems)))


def read_table(path: str | Path, columns: list[str]) -> pd.DataFrame:
    """Reads a CSV file and checks it.

    Args:
        path: the file; what follows a ``#`` is ignored.
        columns: `LATENCY_COLUMNS` or `CAPACITY_COLUMNS`; further ones are ignored.

    Returns:
        The columns as `checked` gives them; the index of a row is its line in the file.

    Raises:
        ProfileError: with all that is wrong, line by line.
    """
    name = str(path)
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file in UTF-8"
        raise ProfileError(problems=[Problem(name, 0, "", f"{reason}; give a CSV table")]) from None
    kept = [(i, text) for i, text in enumerate((line.split("#")[0].strip() for line in lines), 1) if text]
    try:
        cells = [[cell.strip() for cell in row] for row in csv.reader(text for _, text in kept)]
    except csv.Error as error:
        raise ProfileError(problems=[Problem(name, 0, "", str(error))]) from None
    if len(cells) < 2:
        raise ProfileError(problems=[Problem(name, 0, "", "no rows; give a line of column names and one or more rows")])
    if twice := {column for column in cells[0] if cells[0].count(column) > 1}:
        raise ProfileError(problems=[Problem(name, kept[0][0], min(twice), "this column is there twice")])
    header, rows = cells[0], {line: row for (line, _), row in zip(kept[1:], cells[1:])}
    problems = [Problem(name, line, "", f"{len(row)} cells, but there are {len(header)} columns")
                for line, row in rows.items() if len(row) != len(header)]
    whole = {line: row for line, row in rows.items() if len(row) == len(header)}
    frame = pd.DataFrame(list(whole.values()), columns=header, index=list(whole), dtype=str)
    try:
        table = checked(frame, columns, name, kept[0][0])
    except ProfileError as error:
        problems += error.problems
    if problems:
        raise ProfileError(problems=sorted(problems))
    return table


def checked(frame: pd.DataFrame, columns: list[str], name: str, header_line: int = 1) -> pd.DataFrame:
    """Checks a table.

    Args:
        frame: strings or numbers; a problem is told with the row's index as its line.
        columns: `LATENCY_COLUMNS` or `CAPACITY_COLUMNS`.
        name: of the table, for messages.
        header_line: where its column names stand.

    Returns:
        The columns: names as strings, latencies and capacities as float64, others as int64, `ANY_CORES` for empty `cores`.

    Raises:
        ProfileError: with all that is wrong, line by line.
    """
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        reason = f"missing column(s) {', '.join(missing)}; expected {', '.join(columns)}"
        raise ProfileError(problems=[Problem(name, header_line, "", reason)])
    result, problems = {}, []
    lines = [int(str(line)) for line in frame.index]
    for column in columns:
        given = frame[column].tolist()
        values = [_value(cell, column, columns) for cell in given]
        problems += [Problem(name, line, column, f"{cell!r} is not {_wanted(column, columns)}")
                     for line, cell, value in zip(lines, given, values) if value is None]
        result[column] = values
    if problems:
        raise ProfileError(problems=sorted(problems))
    table = pd.DataFrame(result, index=lines)
    if "stage" in columns:
        _check_stages(table, name)
    return table


def _value(cell: object, column: str, columns: list[str]) -> str | float | int | None:
    """What a cell says; None where it is wrong."""
    empty = cell is None or cell == "" or cell != cell
    if column in ("variant", "device"):
        return None if empty else str(cell)
    if empty or cell == ANY_CORES:  # the latter in a table checked before; in a file it would be a string
        return ANY_CORES if column == "cores" and "stage" in columns else None
    try:
        number = float(str(cell))
    except ValueError:
        return None
    if column == columns[-1]:
        return number if 0 < number < np.inf else None
    return int(number) if _least(column) <= number < 2**31 and number % 1 == 0 else None


def _least(column: str) -> int:
    return 0 if column in ("cores", "stage") else 1


def _wanted(column: str, columns: list[str]) -> str:
    if column in ("variant", "device"):
        return "a name"
    return "a number > 0" if column == columns[-1] else f"a whole number >= {_least(column)}"


def _check_stages(table: pd.DataFrame, name: str) -> None:
    """Every (variant, shape, batch) has each of its stages once."""
    stages: dict[tuple[object, ...], list[tuple[int, int]]] = {}
    keys = zip(*(table[column].tolist() for column in LATENCY_COLUMNS[:6]))
    for line, key, stage in zip(table.index.tolist(), keys, table["stage"].tolist()):
        stages.setdefault(key, []).append((stage, line))
    problems = []
    for (variant, device, _, inter_op, _, batch), given in stages.items():
        found = sorted(stage for stage, _ in given)
        if len(found) != inter_op or found != list(range(len(found))):
            wanted = "0" if inter_op == 1 else f"0 to {int(str(inter_op)) - 1}"
            reason = (f"{variant} on {device}, batch {batch}, has stages {', '.join(map(str, found))}; "
                      f"with inter_op {inter_op} it needs {wanted}, each once")
            problems.append(Problem(name, given[0][1], "stage", reason))
    if problems:
        raise ProfileError(problems=sorted(problems))

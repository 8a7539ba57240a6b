"""Profiles: measured tables of latency by (variant, shape, batch, stage), read from CSV.

Columns of a profile: ``variant, device, cores, inter_op, intra_op, batch, stage, latency_s``. An empty ``cores`` stands
for any number of cores (each core then serves one batch at a time at that latency). Between measured batch sizes latency
is interpolated linearly. A capacity table (optional) has ``variant, device, cores, inter_op, intra_op, batch, capacity_rps``.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from envs.contract import CPU, Shape

LATENCY_COLUMNS = ["variant", "device", "cores", "inter_op", "intra_op", "batch", "stage", "latency_s"]
CAPACITY_COLUMNS = ["variant", "device", "cores", "inter_op", "intra_op", "batch", "capacity_rps"]
_Key = tuple[str, str, int, int, int]


class ProfileError(ValueError):
    """A profile file, or a look-up in it, is wrong; the message names the file, the line or key, and the reason."""


class Profile:
    """Latency tables, and measured capacities where there are any.

    Args:
        latencies: frame with the columns of a profile.
        capacities: frame with the columns of a capacity table, or None.

    Raises:
        ProfileError: missing columns, bad numbers, or gaps in the stages.
    """

    def __init__(self, latencies: pd.DataFrame, capacities: pd.DataFrame | None = None, name: str = "profile") -> None:
        self.name = name
        _check(latencies, LATENCY_COLUMNS, "latency_s", name)
        self._table: dict[_Key, dict[int, tuple[float, ...]]] = {}
        rows = latencies.assign(cores=latencies["cores"].fillna(-1)).sort_values("stage", kind="stable")
        for (v, d, c, p, o, b), group in rows.groupby(["variant", "device", "cores", "inter_op", "intra_op", "batch"]):
            stages = tuple(float(x) for x in group["latency_s"])
            if list(group["stage"]) != list(range(int(p))):
                raise ProfileError(f"{name}: {v} on {d} batch {b}: stages must be 0..{int(p) - 1}, got {list(group['stage'])}")
            self._table.setdefault((str(v), str(d), int(c), int(p), int(o)), {})[int(b)] = stages
        self._capacity: dict[tuple[str, Shape, int], float] = {}
        if capacities is not None:
            _check(capacities, CAPACITY_COLUMNS, "capacity_rps", name)
            for row in capacities.itertuples():
                shape = Shape(int(row.cores), int(row.inter_op), int(row.intra_op), str(row.device))
                self._capacity[str(row.variant), shape, int(row.batch)] = float(row.capacity_rps)
        self.latency_s = lru_cache(maxsize=None)(self._latency_s)

    @classmethod
    def read(cls, path: str | Path, capacities: str | Path | None = None) -> Profile:
        """Reads a profile, and a capacity table, from CSV."""
        return cls(_read(Path(path)), _read(Path(capacities)) if capacities else None, str(path))

    def _latency_s(self, variant: str, shape: Shape, batch: int) -> tuple[float, ...]:
        """Latency of one batch in each stage, seconds.

        Raises:
            ProfileError: nothing measured for this variant and shape, or only smaller batches.
        """
        parallel = (shape.inter_op, shape.intra_op)
        cores = shape.cores if shape.device == CPU else 0
        table = self._table.get((variant, shape.device, cores, *parallel)) or self._table.get((variant, shape.device, -1, *parallel))
        if table is None:
            raise ProfileError(f"{self.name}: no row for variant '{variant}' on shape {shape}; add one to the profile")
        if batch in table:
            return table[batch]
        sizes = sorted(table)
        if not sizes[0] <= batch <= sizes[-1]:
            raise ProfileError(f"{self.name}: '{variant}' on {shape} is measured for batches {sizes[0]} to {sizes[-1]}, not {batch}")
        return tuple(float(np.interp(batch, sizes, [table[b][s] for b in sizes])) for s in range(shape.inter_op))

    def measured_capacity_rps(self, variant: str, shape: Shape, batch: int) -> float | None:
        """Load that one replica was measured to carry within the SLO, or None."""
        return self._capacity.get((variant, shape, batch))

    def __getstate__(self) -> dict[str, object]:
        return {k: v for k, v in self.__dict__.items() if k != "latency_s"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self.latency_s = lru_cache(maxsize=None)(self._latency_s)


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, comment="#", skipinitialspace=True)
    except FileNotFoundError:
        raise ProfileError(f"{path}: no such file") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: not a CSV table: {error}") from None


def _check(frame: pd.DataFrame, columns: list[str], value: str, name: str) -> None:
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        raise ProfileError(f"{name}: missing column(s) {', '.join(missing)}; expected {', '.join(columns)}")
    for column in columns[2:]:
        numbers = pd.to_numeric(frame[column], errors="coerce")
        empty_ok = frame[column].isna() if column == "cores" and value == "latency_s" else False
        floor = 0 if column in ("cores", "stage") else (1 if column != value else np.nextafter(0, 1))
        bad = ~(np.isfinite(numbers) & (numbers >= floor)) & ~empty_ok
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise ProfileError(f"{name}: data row {row + 1}: {column} = {frame[column].iloc[row]!r} is not a number >= {floor:g}")

"""Profiles: measured tables of latency by (variant, shape, batch, stage), read from CSV.

Columns of a profile: ``variant, device, cores, inter_op, intra_op, batch, stage, latency_s``. An empty ``cores`` stands
for any number of cores (each core then serves one batch at a time at that latency). Between measured batch sizes latency
is interpolated linearly. A capacity table (optional) has ``variant, device, cores, inter_op, intra_op, batch, capacity_rps``.
Further columns are ignored, and so is what follows a ``#``.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from envs.contract import CPU, Shape
from envs.problem import Problem
from envs.profile_table import ANY_CORES, CAPACITY_COLUMNS, LATENCY_COLUMNS, ProfileError, checked, read_table

__all__ = ["CAPACITY_COLUMNS", "LATENCY_COLUMNS", "Profile", "ProfileError"]

_Key = tuple[str, str, int, int, int]


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
        self._table: dict[_Key, dict[int, tuple[float, ...]]] = {}
        self._capacity: dict[tuple[str, Shape, int], float] = {}
        rows = checked(latencies, LATENCY_COLUMNS, name).sort_values("stage", kind="stable")
        for variant, device, cores, inter_op, intra_op, batch, _, latency_s in _rows(rows):
            batches = self._table.setdefault((variant, device, cores, inter_op, intra_op), {})
            batches[batch] = (*batches.get(batch, ()), latency_s)
        if capacities is not None:
            for variant, device, cores, inter_op, intra_op, batch, rps in _rows(checked(capacities, CAPACITY_COLUMNS, name)):
                self._capacity[variant, Shape(cores, inter_op, intra_op, device), batch] = rps
        self.latency_s = lru_cache(maxsize=None)(self._latency_s)

    @classmethod
    def read(cls, path: str | Path, capacities: str | Path | None = None) -> Profile:
        """Reads a profile, and a capacity table, from CSV; an error tells of both files."""
        problems: list[Problem] = []
        tables = []
        for file, columns in ((path, LATENCY_COLUMNS), (capacities, CAPACITY_COLUMNS)):
            try:
                tables += [read_table(file, columns)] if file else []
            except ProfileError as error:
                problems += error.problems
        if problems:
            raise ProfileError(problems=problems)
        return cls(tables[0], tables[1] if capacities else None, str(path))

    def _latency_s(self, variant: str, shape: Shape, batch: int) -> tuple[float, ...]:
        """Latency of one batch in each stage, seconds.

        Raises:
            ProfileError: nothing measured for this variant and shape, or only smaller batches.
        """
        parallel = (shape.inter_op, shape.intra_op)
        cores = shape.cores if shape.device == CPU else 0
        table = self._table.get((variant, shape.device, cores, *parallel)) or self._table.get(
            (variant, shape.device, ANY_CORES, *parallel)
        )
        if table is None:
            raise ProfileError(f"{self.name}: no row for variant '{variant}' on shape {shape}; add one to the profile")
        if batch in table:
            return table[batch]
        sizes = sorted(table)
        if not sizes[0] <= batch <= sizes[-1]:
            raise ProfileError(
                f"{self.name}: '{variant}' on {shape} is measured for batches {sizes[0]} to {sizes[-1]}, not {batch}"
            )
        return tuple(float(np.interp(batch, sizes, [table[b][s] for b in sizes])) for s in range(shape.inter_op))

    def measured_capacity_rps(self, variant: str, shape: Shape, batch: int) -> float | None:
        """Load that one replica was measured to carry within the SLO, or None."""
        return self._capacity.get((variant, shape, batch))

    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame | None]:
        """Latencies and, where there are any, capacities, as they were given; both are ready for `Profile` again."""
        latencies = [(*key, batch, stage, latency_s) for key, batches in self._table.items()
                     for batch, stages in batches.items() for stage, latency_s in enumerate(stages)]
        capacities = [(variant, shape.device, shape.cores, shape.inter_op, shape.intra_op, batch, rps)
                      for (variant, shape, batch), rps in self._capacity.items()]  # fmt: skip
        frames = pd.DataFrame(latencies, columns=LATENCY_COLUMNS), pd.DataFrame(capacities, columns=CAPACITY_COLUMNS)
        for frame in frames:
            frame["cores"] = [None if cores == ANY_CORES else cores for cores in frame["cores"]]
        return frames[0].astype({"cores": "Int64"}), frames[1].astype({"cores": "Int64"}) if capacities else None

    def scaled(self, factor: float) -> Profile:
        """The same models, slower by a factor: latencies times it, measured capacities divided by it."""
        other = Profile.__new__(Profile)
        other.__setstate__({
            "name": self.name,
            "_table": {key: {batch: tuple(factor * s for s in stages) for batch, stages in batches.items()}
                       for key, batches in self._table.items()},
            "_capacity": {key: rps / factor for key, rps in self._capacity.items()}})  # fmt: skip
        return other

    def later(self, more_s: float) -> Profile:
        """The same models, the first stage of each batch longer by `more_s` seconds; measured capacities stay."""
        other = Profile.__new__(Profile)
        other.__setstate__({**self.__getstate__(), "_table": {
            key: {batch: (stages[0] + more_s, *stages[1:]) for batch, stages in batches.items()}
            for key, batches in self._table.items()}})  # fmt: skip
        return other

    def __getstate__(self) -> dict[str, object]:
        return {k: v for k, v in self.__dict__.items() if k != "latency_s"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self.latency_s = lru_cache(maxsize=None)(self._latency_s)


def _rows(table: pd.DataFrame) -> zip:
    """The rows of a checked table as tuples of str, int and float."""
    return zip(*(table[column].tolist() for column in table.columns))

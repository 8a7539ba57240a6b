"""A system's numbers by role on a grid of times, whatever the system calls them: what an adapter's choices come to.

Whoever reads a Prometheus hands in how the samples of a metric are had: from its past (`reports.replay.from_prometheus`) or
from its last moments (`runtime.sources.adapted`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from runtime.sources.adapter import Counter, Gauge, Timing
from runtime.sources.counters import increases, levels, present
from runtime.sources.history import Samples

Reader = Callable[[str, Mapping[str, str]], Samples]


class Roles:
    """Reads roles.

    Args:
        names: metrics that are there.
        samples: of a metric, of those series whose labels match, on a grid of `steps` + 1 times.
        steps: of the grid.
    """

    def __init__(self, names: Collection[str], samples: Reader, steps: int) -> None:
        self._names, self._samples, self._steps = names, samples, steps

    def counted(self, choices: Sequence[Counter]) -> np.ndarray | None:
        """(T,) what the first choice's counters counted in each step, of those whose labels are there at all."""
        for choice in choices:
            if not choice.found_in(self._names):
                continue
            there = [metric for metric in choice.metrics if metric in self._names]
            table = np.concatenate([self._samples(metric, choice.where).values for metric in there])
            if len(table):
                counted = increases(table)
                return np.where(np.isnan(counted), 0.0, counted) if choice.where else counted
            rows = [row for metric in there for row in self._samples(metric, {}).labels] if choice.where else []
            if any(label in row for row in rows for label in choice.where):
                return np.zeros(self._steps)  # the label is there, this value of it never was
        return None

    def timed(self, timing: Timing) -> tuple[np.ndarray, np.ndarray]:
        """(T,) seconds, and of how many answers, in each step."""
        total, number = (increases(self._samples(name, {}).values) for name in timing.sums)
        return total * timing.unit_s, number

    def gauged(self, choices: Sequence[Gauge]) -> np.ndarray | None:
        """(T,) the first choice's level in each step."""
        for choice in choices:
            if not choice.found_in(self._names):
                continue
            found = self._samples(choice.name, choice.where)
            if choice.gauge and len(found.values):
                return levels(found.values)
            label = next((b for b in choice.by if all(b in row for row in found.labels)), None)
            if choice.count and label and len(found.values):
                return levels(_replicas(found, label))
        return None


def _replicas(found: Samples, label: str) -> np.ndarray:
    """(replicas, T + 1): 1 where a replica is there, nan where it is not."""
    names = [row[label] for row in found.labels]
    return np.array([present(found.values[[name == one for name in names]]) for one in sorted(set(names))])

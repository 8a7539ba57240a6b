"""A recording: what a service was offered, what it held and how it did, on steps of equal length. What is not known is nan.

Sources make it (`from_csv`, `from_journal`, `from_prometheus`); nothing after them asks where it came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from envs.contract import Deployment
from traces.gaps import fill_gaps


class RecordError(ValueError):
    """A recording cannot be had or cannot be used; the text says why, in one line, and the way out."""


@dataclass(frozen=True)
class Latencies:
    """Latencies of answers, as a histogram on steps of its own (coarser than those of the load, or the same).

    Attributes:
        step_s: length of a step.
        edges_s: (B,) upper edges of the buckets; what is above the last one is in one more bucket.
        counts: (T, B + 1) answers in each bucket.
    """

    step_s: float
    edges_s: np.ndarray
    counts: np.ndarray

    def above(self, slo_s: float) -> tuple[float, float]:
        """Between how many and how many answers were later than the SLO: it may lie inside a bucket."""
        total = self.counts.sum(0)
        beyond = np.append(self.edges_s, np.inf)
        before = np.insert(self.edges_s, 0, 0.0)
        return float(total[before >= slo_s * (1 - 1e-9)].sum()), float(total[beyond > slo_s * (1 + 1e-9)].sum())


@dataclass(frozen=True, eq=False)
class Recording:
    """What was recorded on T steps.

    Attributes:
        source: in words.
        began_s: Unix time of the first step's start; nan: the source tells no dates.
        step_s: length of a step.
        requests: (T,) requests that arrived; nan: nothing was recorded.
        replicas: (T,) replicas held; nan: not known.
        answers: (T,) answers whose latency is summed in `latency_sum_s`.
        latency_sum_s: (T,) seconds.
        compute_sum_s: (T,) the same for the time that servers worked on them, without waiting; nan: not told.
        violations: (T,) requests settled badly, by whoever recorded them; nan: not told.
        failed: (T,) of the requests, those that were answered with an error or not at all; nan: not told.
        held: (T,) units (cores, devices) held; nan: not told.
        cost: (T,) price x units held over budget; nan: not told.
        accuracy: (T,) sum of accuracies of answers in time; nan: not told.
        latencies: the histogram, where there is one.
        arrival_s: exact times of all requests, seconds from the first step's start, where they were recorded.
        deployments: (step, what was in force from then on), where whole deployments were recorded.
        tokens: True for an engine with continuous batching: a request's time hangs on the others in the batch.
        scrape_s: time between two looks at the counters; 0: every request was recorded.
        notes: what a reader must know of how it was read.
    """

    source: str
    began_s: float
    step_s: float
    requests: np.ndarray
    replicas: np.ndarray
    answers: np.ndarray
    latency_sum_s: np.ndarray
    compute_sum_s: np.ndarray
    violations: np.ndarray
    failed: np.ndarray
    held: np.ndarray
    cost: np.ndarray
    accuracy: np.ndarray
    latencies: Latencies | None = None
    arrival_s: np.ndarray | None = None
    deployments: tuple[tuple[int, Deployment], ...] = ()
    tokens: bool = False
    scrape_s: float = 0.0
    notes: tuple[str, ...] = field(default=())

    @property
    def steps(self) -> int:
        """T."""
        return len(self.requests)

    @property
    def span_s(self) -> float:
        """How long it lasts."""
        return self.steps * self.step_s

    @property
    def known(self) -> np.ndarray:
        """(T,) True where the load was recorded."""
        return np.asarray(np.isfinite(self.requests))

    @property
    def total(self) -> float:
        """Requests recorded."""
        return float(np.nansum(self.requests))

    @property
    def filled(self) -> np.ndarray:
        """(T,) requests, gaps filled by a straight line between their two sides (`traces.gaps`)."""
        frame = pd.DataFrame({"t_s": np.arange(self.steps) * self.step_s, "requests": np.nan_to_num(self.requests)})
        filled: np.ndarray = fill_gaps(frame, tuple((a, b - a) for a, b in self.gaps_s))["requests"].to_numpy()
        return filled

    @property
    def gaps_s(self) -> list[tuple[float, float]]:
        """(start, end) of each stretch that was not recorded, seconds from the first step's start."""
        edges = np.flatnonzero(np.diff((~self.known).astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
        return [(float(a), float(b)) for a, b in edges * self.step_s]

    @property
    def mean_rps(self) -> float:
        """Mean load where it was recorded."""
        return float(np.nanmean(self.requests)) / self.step_s

    @property
    def told(self) -> str:
        """What it is, in a line."""
        gaps = sum(b - a for a, b in self.gaps_s)
        missing = f", {duration(gaps)} of it missing" if gaps else ""
        return (f"{self.source}: {self.when}{duration(self.span_s)}{missing}, {self.total:,.0f} requests, "
                f"mean {self.mean_rps:.4g} req/s, busiest step {np.nanmax(self.requests) / self.step_s:.4g}")

    @property
    def when(self) -> str:
        """'2026-11-01 00:00 UTC, ', or nothing where there are no dates."""
        if not np.isfinite(self.began_s):
            return ""
        return f"from {datetime.fromtimestamp(self.began_s, UTC):%Y-%m-%d %H:%M} UTC, "

    def cut(self, begin_s: float, end_s: float) -> Recording:
        """The part from one time to another (seconds from its start), whole steps.

        Raises:
            RecordError: nothing of it lies between them.
        """
        first, last = max(0, round(begin_s / self.step_s)), min(self.steps, round(end_s / self.step_s))
        if first >= last:
            raise RecordError(f"{self.source} lasts {duration(self.span_s)}; nothing of it lies between --from and --to")
        if (first, last) == (0, self.steps):
            return self
        inside = {name: getattr(self, name)[first:last] for name in PER_STEP}
        before = [d for i, d in self.deployments if i <= first][-1:]
        later = [(i - first, d) for i, d in self.deployments if first < i < last]
        times = self.arrival_s
        return replace(
            self, **inside, began_s=self.began_s + first * self.step_s,
            latencies=_cut(self.latencies, first * self.step_s, last * self.step_s),
            arrival_s=None if times is None else _between(times, first * self.step_s, last * self.step_s),
            deployments=tuple([(0, d) for d in before] + later))  # fmt: skip


PER_STEP = ("requests", "replicas", "answers", "latency_sum_s", "compute_sum_s", "violations", "failed", "held", "cost",
            "accuracy")


def recording(source: str, began_s: float, step_s: float, requests: Sequence[float] | np.ndarray,
              **more: Any) -> Recording:
    """A recording whose parts that are not given are not known.

    Raises:
        RecordError: nothing was recorded.
    """
    counts = np.asarray(requests, dtype=np.float64)
    if not np.isfinite(counts).any() or not np.nansum(counts) > 0:
        raise RecordError(f"{source}: no requests were recorded there")
    unknown = {name: np.full(len(counts), np.nan) for name in PER_STEP if name != "requests"}
    given: dict[str, Any] = {n: np.asarray(value, np.float64) if n in PER_STEP else value for n, value in more.items()}
    return Recording(source, began_s, step_s, counts, **{**unknown, **given})


def duration(seconds: float) -> str:
    """'6 d 4 h', '2.5 h', '40 min', '12 s'."""
    if seconds >= 172_800:
        days, hours = divmod(round(seconds / 3600), 24)
        return f"{days} d" + (f" {hours} h" if hours else "")
    if seconds >= 7200:
        return f"{seconds / 3600:.3g} h"
    return f"{seconds / 60:.3g} min" if seconds >= 120 else f"{seconds:.3g} s"


def _between(times: np.ndarray, begin_s: float, end_s: float) -> np.ndarray:
    return np.asarray(times[(times >= begin_s) & (times < end_s)] - begin_s)


def _cut(latencies: Latencies | None, begin_s: float, end_s: float) -> Latencies | None:
    if latencies is None:
        return None
    first, last = round(begin_s / latencies.step_s), max(round(end_s / latencies.step_s), 1)
    return replace(latencies, counts=latencies.counts[first:last])

"""A recording from a Prometheus that scraped a service, whatever the service calls its numbers (`runtime.sources.adapter`)."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from reports.replay.recording import Latencies, RecordError, Recording, duration, recording
from runtime.sources.adapter import Adapter, Counter, Timing, adapters, first, fitting, named
from runtime.sources.histogram import up_to_edges
from runtime.sources.history import Grid, History
from runtime.sources.page import SourceError
from runtime.sources.roles import Roles

MOST_SAMPLES = 4_000_000  # of the load; beyond, steps are made longer
BUCKET_SAMPLES = 1_000_000  # of the histogram
BUCKET_STEP_S = 300.0
FEWEST_STEPS = 10


def read_prometheus(url: str, begin_s: float, end_s: float, select: Mapping[str, str], system: str | None) -> Recording:
    """Reads what there is of one service.

    Args:
        url: of the Prometheus.
        begin_s: Unix time.
        end_s: Unix time.
        select: labels of the service's series.
        system: name of an adapter; None: the one that fits.

    Raises:
        RecordError: it does not answer, nothing fits, or several services do.
    """
    history = History(url, math.floor(begin_s), end_s, select)
    with contextlib.closing(history):
        try:
            return _Reading(history, url, select, system).recording()
        except SourceError as error:
            raise RecordError(str(error)) from error


class _Reading:
    """One service's numbers in one Prometheus."""

    def __init__(self, history: History, url: str, select: Mapping[str, str], system: str | None) -> None:
        self._history, self._url = history, url
        self._names = history.names()
        self._adapter = _chosen(self._names, system, url)
        offered = first(self._adapter.offered, self._names)
        if offered is None:
            raise RecordError(f"{url}: no series of {self._adapter.title} in that time; it counts requests in "
                              f"{', '.join(m for c in self._adapter.offered for m in c.metrics)}")  # fmt: skip
        self._offered: Counter = offered
        self._metric = next(metric for metric in offered.metrics if metric in self._names)
        self._series = [row for m in offered.metrics if m in self._names for row in history.series(m, offered.where)]
        _one_service(self._adapter, self._series, select)
        self._grid = self._chosen_grid()

    def recording(self) -> Recording:
        """All that can be read of it."""
        adapter, grid = self._adapter, self._grid
        many = max(1, len(self._series))
        roles = Roles(self._names, lambda metric, where: self._history.samples(metric, where, grid, many), grid.steps)
        failed, violations, accuracy = (roles.counted(r) for r in (adapter.failed, adapter.violations, adapter.accuracy))
        requests = roles.counted(adapter.offered)
        if requests is None:
            raise RecordError(f"{self._url}: {self._metric} has no samples in that time")
        timing = first(adapter.latency, self._names)
        more: dict[str, np.ndarray | None] = {
            "failed": failed, "violations": violations, "accuracy": accuracy,
            "replicas": roles.gauged(adapter.replicas), "held": roles.gauged(adapter.held)}  # fmt: skip
        if timing is not None:
            more["latency_sum_s"], more["answers"] = roles.timed(timing)
        compute = first(adapter.compute, self._names)
        if compute is not None:
            more["compute_sum_s"], _ = roles.timed(compute)
        latencies = self._histogram(timing) if timing and timing.histogram else None
        notes = self._notes(timing, latencies is not None or violations is not None)
        return recording(
            f"{adapter.title} in {self._url}", grid.begin_s, grid.step_s, requests,
            **{name: values for name, values in more.items() if values is not None},
            latencies=latencies, tokens=adapter.engine == "tokens", scrape_s=self._scrape_s, notes=tuple(notes))  # fmt: skip

    def _chosen_grid(self) -> Grid:
        history = self._history
        scrape_s = history.scrape_s(self._metric)
        if scrape_s is None:
            raise RecordError(f"{self._url}: {self._metric} has hardly a sample in that time; is --from within its retention?")
        self._scrape_s = scrape_s = max(round(scrape_s, 1), 0.1)
        span_s = history.end_s - history.begin_s
        longer = max(1, math.ceil(len(self._series) * span_s / scrape_s / MOST_SAMPLES))
        steps = int(span_s / (scrape_s * longer))
        if steps < FEWEST_STEPS:
            raise RecordError(f"{self._url}: {duration(span_s)} with a sample each {scrape_s:g} s are too few to replay")
        return Grid(history.begin_s, scrape_s * longer, steps)

    def _histogram(self, timing: Timing) -> Latencies | None:
        """Answers by latency, on longer steps."""
        name = f"{timing.histogram}_bucket"
        series = self._history.series(name, {})
        if not series:
            return None
        span_s, step_s = self._grid.steps * self._grid.step_s, self._grid.step_s
        longer = max(1, round(min(BUCKET_STEP_S, span_s / 200) / step_s),
                     math.ceil(len(series) * span_s / step_s / BUCKET_SAMPLES))  # fmt: skip
        steps = self._grid.steps // longer
        if steps < 1:
            return None
        grid = Grid(self._grid.begin_s, step_s * longer, steps)
        found = up_to_edges(self._history.samples(name, {}, grid, len(series)))
        if found is None:
            return None
        edges, up_to = found
        in_bucket = np.maximum(np.diff(np.nan_to_num(up_to), axis=0, prepend=0.0), 0.0)
        return Latencies(grid.step_s, edges[:-1] * timing.unit_s, in_bucket.T)

    def _notes(self, timing: Timing | None, told: bool) -> Iterator[str]:
        if self._offered.at == "answer":
            yield (f"{self._metric} counts requests when they are answered: a queue that built up looks like a load that came "
                   "later, and what was never answered is not in it.")  # fmt: skip
        if timing is None and not told:
            yield f"No latencies of {self._adapter.title} are there: recorded violations cannot be told."
        elif not told:
            yield f"{self._adapter.title} exports mean latencies only: recorded violations cannot be told."
        if self._grid.step_s > 1.5 * self._scrape_s:
            yield (f"{len(self._series)} series over {duration(self._grid.steps * self._grid.step_s)} are read each "
                   f"{self._grid.step_s:g} s, not at each scrape ({self._scrape_s:g} s): --select fewer, or a shorter time.")


def _chosen(names: frozenset[str], system: str | None, url: str) -> Adapter:
    """The adapter that was named, or the only one that fits."""
    if system is not None:
        try:
            return named(system)
        except ValueError as error:
            raise RecordError(str(error)) from error
    fit = fitting(names)
    if not fit:
        raise RecordError(f"{url}: no metrics of a known system in that time ({len(names)} others); known: "
                          f"{', '.join(adapters())}")  # fmt: skip
    if len(fit) > 1:
        raise RecordError(f"{url} has metrics of {', '.join(a.name for a in fit)}; say which with --system")
    return fit[0]


def _one_service(adapter: Adapter, series: Sequence[Mapping[str, str]], select: Mapping[str, str]) -> None:
    """Refuses several services: their loads are not one."""
    if not series:
        chosen = ",".join(f"{k}={v}" for k, v in select.items())
        raise RecordError(f"no series of {adapter.title} has --select {chosen}")
    for label in adapter.services:
        values = sorted({row.get(label, "") for row in series})
        if len(values) > 1:
            shown = ", ".join(values[:8]) + (", ..." if len(values) > 8 else "")
            raise RecordError(f"{adapter.title} has several of label {label}: {shown}; choose one with --select {label}=VALUE")

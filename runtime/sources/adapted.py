"""The source over somebody else's service: what its system exports, by an adapter, as an observation of a scenario.

One query returns the raw samples of the last two windows, with their own times; from there on nothing is extrapolated, as in
`runtime.sources.counters`. Such a system tells less than Tidal's own gateway. What it does not tell is missing, never zero:

- Replicas are those of the one kind that is in force; those that are wanted and not yet seen are pending. Where several kinds
  are in force nobody knows which replica is of which: all their rows are missing.
- How busy they are: requests running, of what the replicas can work on at the same time (servers x batch). A system without
  such a gauge tells it by Little's law: the seconds that servers, or else answers, took for each second. The queue without a
  gauge: what was in the system beyond all places.
- Latencies are those of answers, and a violation is an answer beyond the SLO, linear within its bucket, or an error.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import requests

from envs.contract import (
    ApplicationObservation,
    Deployment,
    DeviceObservation,
    KindObservation,
    Observation,
    ReplicaKind,
    ServiceObservation,
)
from envs.observation import missing_observation, stale_observation
from envs.scenario import Scenario
from runtime.deadline import DeadlineMissed, DeadlineThread
from runtime.sources.adapter import Adapter, Timing, first
from runtime.sources.histogram import Buckets, up_to_edges
from runtime.sources.history import Samples
from runtime.sources.page import SourceError
from runtime.sources.prometheus import TIMEOUT_S, escaped, refuse_partial_results
from runtime.sources.roles import Roles

QUANTILES = (0.5, 0.95, 0.99)
JITTER = 0.1  # of a scrape interval
Row = Mapping[str, Any]


class AdaptedSource:
    """Observes a service of one variant or more through a Prometheus that scrapes its system. See `runtime.sources.source`.

    Args:
        scenario: with one service.
        adapter: of the system.
        url: of the Prometheus.
        select: labels of the service's series; those that a series does not have do not count against it.
        interval_s: between decisions.

    Raises:
        ValueError: the scenario has several services.
    """

    def __init__(self, scenario: Scenario, adapter: Adapter, url: str, select: Mapping[str, str], interval_s: float) -> None:
        if len(scenario.services) != 1:
            raise ValueError(f"{scenario.name} has {len(scenario.services)} services; {adapter.title} tells one service's "
                             "numbers: write a scenario for each, and run an autoscaler for each")  # fmt: skip
        self._scenario, self._adapter, self._url = scenario, adapter, url.rstrip("/")
        self._window_s = interval_s * scenario.scrape.window_intervals
        self._query = f"{_selector(adapter, select)}[{max(1, math.ceil(2 * self._window_s))}s]"
        self._session = requests.Session()
        self._session.hooks["response"].append(refuse_partial_results)
        self._thread = DeadlineThread(f"query {url}")
        self._last: Observation | None = None
        self.trouble = ""

    def close(self) -> None:
        """Ends the thread."""
        self._session.close()
        self._thread.close()

    def read(self, t_s: float, deployment: Deployment) -> Observation:
        """See `runtime.sources.source.Source`."""
        try:
            seen = self._seen(t_s, deployment)
        except SourceError as error:
            self.trouble = str(error)
            if self._last is None:
                return missing_observation(self._scenario, self._scenario.kinds, deployment, t_s)
            return stale_observation(self._last, deployment, t_s)
        self.trouble = ""
        self._last = seen
        return seen

    def _seen(self, t_s: float, deployment: Deployment) -> Observation:
        """What Prometheus tells now; raises SourceError where it does not, or not what it should."""
        try:
            return self._observation(_Recent(self._rows(t_s), self._adapter, self._window_s), t_s, deployment)
        except (requests.RequestException, DeadlineMissed) as error:
            raise SourceError(f"{self._url}: {error}") from error
        except SourceError:
            raise
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            raise SourceError(f"{self._url}: not an answer of Prometheus ({type(error).__name__}: {error})") from error

    def _rows(self, t_s: float) -> list[Row]:
        """The series, each with its (time, value) pairs."""
        def ask() -> list[Row]:
            answer = self._session.get(f"{self._url}/api/v1/query", params={"query": self._query, "time": repr(t_s)},
                                       timeout=TIMEOUT_S)  # fmt: skip
            answer.raise_for_status()
            found: list[Row] = answer.json()["data"]["result"]
            return found

        return self._thread.call(ask, TIMEOUT_S)

    def _observation(self, seen: _Recent, t_s: float, deployment: Deployment) -> Observation:
        scenario, adapter = self._scenario, self._adapter
        (service,) = scenario.services
        (application,) = scenario.applications
        offered = seen.per_s(seen.roles.counted(adapter.offered))
        timing = first(adapter.latency, seen.names)
        buckets = seen.buckets(timing)
        kinds, places = self._kinds(seen.level(adapter.replicas), deployment)
        running, waiting, stayed = seen.mean(adapter.running), seen.level(adapter.waiting), seen.seconds(timing)
        busy = _at_most(_known(running, seen.seconds(first(adapter.compute, seen.names)), stayed) / places, 1.0) \
            if places > 0 else math.nan
        kinds = {kind: replace(row, busy_ratio=busy) if row.ready > 0 else row for kind, row in kinds.items()}
        queue = _known(waiting, abs(_at_most(places - _known(running, stayed), 0.0)))
        missing = missing_observation(scenario, tuple(kinds), deployment, t_s)
        return replace(
            missing, interval_s=seen.span_s, age_s=t_s - seen.newest_s, kinds=kinds,
            applications={application: self._application(offered, seen, timing, buckets, deployment)},
            services={service: ServiceObservation(offered, queue)}, devices=self._devices(kinds))  # fmt: skip

    def _application(self, offered: float, seen: _Recent, timing: Timing | None, buckets: Buckets | None,
                     deployment: Deployment) -> ApplicationObservation:
        adapter, slo_s = self._adapter, next(iter(self._scenario.applications.values())).slo_s
        failed = seen.per_s(seen.roles.counted(adapter.failed))
        answered = buckets.total / seen.span_s if buckets else math.nan
        counter = first(adapter.offered, seen.names)
        settled = offered if counter is not None and counter.at == "answer" else _sum(answered, failed)
        late = buckets.beyond(slo_s) / seen.span_s if buckets else math.nan
        late_ratio, failed_ratio = (_at_most(x / settled, 1.0) if settled > 0 else math.nan for x in (late, failed))
        bad = math.nan if math.isnan(late_ratio) else _at_most(_sum(late_ratio, failed_ratio), 1.0)
        variants = {variant for kind in deployment.replicas for variant in kind.variants}
        accuracy = self._scenario.variants[variants.pop()].accuracy * (1 - bad) if len(variants) == 1 else math.nan
        quantiles = [buckets.quantile(q) if buckets else math.nan for q in QUANTILES]
        return ApplicationObservation(offered, bad, late_ratio, math.nan, math.nan, failed_ratio, accuracy, *quantiles)

    def _kinds(self, counted: float, deployment: Deployment) -> tuple[dict[ReplicaKind, KindObservation], float]:
        """The rows of all kinds, not yet how busy they were; and how many requests the ready ones work on at the same time."""
        kinds = tuple(dict.fromkeys([*self._scenario.kinds, *deployment.replicas]))
        if len(deployment.replicas) != 1 or math.isnan(counted):
            known = dict.fromkeys(deployment.replicas, KindObservation(*(math.nan,) * 5))
            return {kind: known.get(kind, KindObservation(0.0, 0.0, 0.0, 0.0, math.nan)) for kind in kinds}, math.nan
        ((ours, wanted),) = deployment.replicas.items()
        ready = float(round(counted))
        rows = dict.fromkeys(kinds, KindObservation(0.0, 0.0, 0.0, 0.0, math.nan))
        pending, draining = max(0.0, wanted - ready), max(0.0, ready - wanted)
        rows[ours] = KindObservation(ready - draining, pending, draining, math.nan, math.nan)
        return rows, (ready - draining) * ours.shape.servers * ours.batch

    def _devices(self, kinds: Mapping[ReplicaKind, KindObservation]) -> dict[str, DeviceObservation]:
        found = {}
        for name, device in self._scenario.devices.items():
            rows = [(kind.shape.units, row) for kind, row in kinds.items() if kind.shape.device == name]
            held = sum(units * (row.ready + row.pending + row.draining) for units, row in rows)
            used = sum(units * row.ready * row.busy_ratio for units, row in rows if row.ready != 0)
            found[name] = DeviceObservation(held, used, max(0.0, device.budget - held) if held == held else math.nan,
                                            math.nan, math.nan)  # fmt: skip
        return found


class _Recent:
    """The samples of one window on a grid of the scrape interval.

    Raises:
        SourceError: requests are not counted there, or there are fewer than two samples.
    """

    def __init__(self, rows: Sequence[Row], adapter: Adapter, window_s: float) -> None:
        self._by_name: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            self._by_name[row["metric"]["__name__"]].append(row)
        self.names = frozenset(self._by_name)
        offered = first(adapter.offered, self.names)
        if offered is None:
            raise SourceError(f"{adapter.title}: nothing counts requests; `tidal doctor --system {adapter.name}` tells more")
        times = [np.array([float(t) for t, _ in row["values"]]) for m in offered.metrics for row in self._by_name.get(m, ())]
        if not all(np.isfinite(t).all() for t in times):
            raise SourceError(f"{adapter.title}: the times of {offered.metrics[0]} are no times")
        between = np.concatenate([np.diff(t) for t in times])
        if not between.size:
            raise SourceError(f"{adapter.title}: one sample only; scrape at least twice in {window_s:g} s")
        self._scrape_s = max(float(np.median(between)), 0.01)
        self.newest_s = max(float(t[-1]) for t in times)
        steps = max(1, round(window_s / self._scrape_s))
        self._grid_s = self.newest_s + self._scrape_s * np.arange(-steps, 1)
        self.roles = Roles(self.names, self._samples, steps)

    @property
    def span_s(self) -> float:
        """What the window covers."""
        return float(self._grid_s[-1] - self._grid_s[0])

    def per_s(self, increments: np.ndarray | None) -> float:
        """A rate over the steps that are known; nan where none is."""
        if increments is None or np.isnan(increments).all():
            return math.nan
        return float(np.nanmean(increments)) / self._scrape_s

    def seconds(self, timing: Timing | None) -> float:
        """What requests took, in each second: how many there were at the same time; nan where it is not told."""
        return self.per_s(self.roles.timed(timing)[0]) if timing else math.nan

    def level(self, choices: Sequence[Any]) -> float:
        """A gauge now: in the last step; nan where it is not told."""
        found = self.roles.gauged(choices)
        return math.nan if found is None else float(found[-1])

    def mean(self, choices: Sequence[Any]) -> float:
        """A gauge over the window; nan where it is not told."""
        found = self.roles.gauged(choices)
        return math.nan if found is None or np.isnan(found).all() else float(np.nanmean(found))

    def buckets(self, timing: Timing | None) -> Buckets | None:
        """The histogram of the window, where there is a whole one."""
        if timing is None or not timing.histogram or f"{timing.histogram}_bucket" not in self.names:
            return None
        found = up_to_edges(self._samples(f"{timing.histogram}_bucket", {}))
        return None if found is None else Buckets(found[0] * timing.unit_s, np.nansum(found[1], axis=1))

    def _samples(self, metric: str, where: Mapping[str, str]) -> Samples:
        """See `runtime.sources.roles.Reader`. A sample is of the grid's next time; instead of a late one the last holds."""
        rows = [row for row in self._by_name.get(metric, ())
                if all(re.fullmatch(pattern, row["metric"].get(label, "")) for label, pattern in where.items())]  # fmt: skip
        table = np.full((len(rows), len(self._grid_s)), np.nan)
        for values, row in zip(table, rows):
            for t, value in row["values"]:
                at = math.ceil((float(t) - self._grid_s[0]) / self._scrape_s - JITTER)
                if 0 <= at < len(values) and math.isfinite(float(value)):
                    values[at] = float(value)
        late = np.isnan(table[:, 1:]) & np.isfinite(table[:, :-1])
        table[:, 1:][late] = table[:, :-1][late]
        return Samples(tuple(row["metric"] for row in rows), table)


def _selector(adapter: Adapter, select: Mapping[str, str]) -> str:
    """All series of the adapter's names that have these labels, or not at all."""
    names = "|".join(re.escape(name) for name in sorted(adapter.names))
    chosen = [f'{label}=~"{escaped(f"(?:{re.escape(value)})?")}"' for label, value in select.items()]
    return "{" + ",".join([f'__name__=~"{escaped(names)}"', *chosen]) + "}"


def _at_most(x: float, most: float) -> float:
    """The smaller one; nan, which `min` may lose, stays."""
    return x if math.isnan(x) else min(x, most)


def _known(*numbers: float) -> float:
    """The first one that is told; nan where none is."""
    return next((x for x in numbers if not math.isnan(x)), math.nan)


def _sum(*numbers: float) -> float:
    """Of those that are known; nan where none is."""
    known = [x for x in numbers if not math.isnan(x)]
    return sum(known) if known else math.nan

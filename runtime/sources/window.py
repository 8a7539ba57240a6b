"""From pages to observations: which pages an interval lies between, and what they say about it.

A page is a sample of the simulator's kind (`envs.scrape.Sample`), with nan for what is missing; what two samples say
together is the simulator's own arithmetic (`envs.scrape.between`, `envs.observation.observe`), so that a policy cannot tell
a live observation from a simulated one. Increases are of raw counters between two pages, never extrapolated.

    restart    another process, a counter that fell, a target more or less: the window begins anew, and this interval is
               missing. How much was counted in between is unknown, and a part of the load must not pass for all of it.
    gap        a page lacks what the page before had: what it lacks is missing, and the window goes on from before. A gap
               that lasts is how things are: the second page in a row is kept.
    no news    the numbers were taken no later than those before: the last observation, getting stale.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from envs.contract import Deployment, DeviceObservation, Observation, ReplicaKind
from envs.observation import kind_constants, missing_observation, observe, stale_observation
from envs.scenario import Scenario
from envs.scrape import Sample, between
from runtime import metrics as m
from runtime.exposition import kind_names
from runtime.sources.page import Key, Page, Pages

_GAUGES = {series.name for series in m.CONTRACT if series.type == "gauge"}
_NEVER_SUMMED = (m.COLD_START.name, m.EXPOSED_AT.name)


class Readings:
    """The pages of all targets at one time, as one: sums over targets, missing where one that should tell is silent.

    Attributes:
        t_s: time of the target that is furthest behind.
    """

    def __init__(self, pages: Mapping[str, Page], silent: Iterable[Page] = ()) -> None:
        self.pages = pages
        self.t_s = min(page.exposed_s or 0.0 for page in pages.values())
        self.values: dict[Key, float] = {}
        for page in pages.values():
            for key, value in page.values.items():
                most = key[0] in _NEVER_SUMMED
                self.values[key] = max(value, self.values.get(key, value)) if most else value + self.values.get(key, 0.0)
        for page in silent:
            for key in page.values:
                self.values.pop(key, None)

    def follow(self, known: Mapping[str, Page]) -> bool:
        """True where each target's page follows the last one known of it."""
        return all(page.follows(known[target]) for target, page in self.pages.items())

    def lacks(self, earlier: Readings) -> bool:
        """True where a number that was there has gone; those of single replicas come and go."""
        return any(key not in self.values and key[0] != m.PENDING_SINCE.name for key in earlier.values)


class Window:
    """The last readings, over as many intervals as the scenario's rates look back."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._slo_s = np.array([a.slo_s for a in scenario.applications.values()])
        self._kinds = tuple(scenario.kinds)
        self._known: dict[str, Page] = {}  # by target, its last page
        self._readings: deque[Readings] = deque(maxlen=scenario.scrape.window_intervals + 1)
        self._gap = False
        self._last: Observation | None = None

    @property
    def empty(self) -> bool:
        """True before the first page."""
        return not self._readings

    def stale(self, t_s: float, deployment: Deployment) -> Observation:
        """The observation where nothing could be read: the last one, older."""
        if self._last is None:
            return missing_observation(self._scenario, self._with(deployment), deployment, t_s)
        return stale_observation(self._last, deployment, t_s)

    def take(self, pages: Pages, t_s: float, deployment: Deployment) -> Observation:
        """The observation at t_s that these pages complete. A page that never was of the contract is none of ours."""
        kinds = self._with(deployment)
        pages = {t: p for t, p in pages.items() if p is None or p.exposed_s is not None or t in self._known}
        told = {target: page for target, page in pages.items() if page is not None and page.exposed_s is not None}
        silent = [self._known.get(target) for target in pages if target not in told]
        if not told or None in silent:
            self._last = missing_observation(self._scenario, kinds, deployment, t_s)
            return self._last
        readings = Readings(told, [page for page in silent if page is not None])
        goes_on = set(pages) == set(self._known) and readings.follow(self._known)
        self._known = {target: told.get(target) or self._known[target] for target in pages}
        if not goes_on:
            self._readings.clear()
            self._readings.append(readings)
            self._last = missing_observation(self._scenario, kinds, deployment, t_s)
            return self._last
        newest = self._readings[-1]
        if readings.t_s <= newest.t_s:
            return self.stale(t_s, deployment)
        gap = readings.lacks(newest) and not self._gap
        oldest = self._readings[max(0, len(self._readings) - self._scenario.scrape.window_intervals)]
        if not gap:
            self._readings.append(readings)
        self._gap = gap
        self._last = self._observation(readings, oldest, kinds, t_s, deployment)
        return self._last

    def _with(self, deployment: Deployment) -> tuple[ReplicaKind, ...]:
        """All candidates, and every other kind that was deployed since the start."""
        self._kinds = tuple(dict.fromkeys([*self._kinds, *deployment.replicas]))
        return self._kinds

    def _observation(self, new: Readings, old: Readings, kinds: tuple[ReplicaKind, ...], t_s: float,
                     deployment: Deployment) -> Observation:
        scenario, names = self._scenario, kind_names(kinds)
        gone = {k for n, k in names.items() if k not in scenario.kinds and k not in deployment.replicas
                and (m.REPLICAS.name, n, "ready") not in new.values}
        kinds = tuple(kind for kind in kinds if kind not in gone)
        constants = kind_constants(scenario, kinds)
        since: dict[str, list[float]] = {}
        for key, start_s in new.values.items():
            if key[0] == m.PENDING_SINCE.name:
                since.setdefault(str(key[1]), []).append(start_s)
        cold_s = [new.values.get((m.COLD_START.name, str(kind)), constants.load_s[k]) for k, kind in enumerate(kinds)]
        new_sample, old_sample = self._sample(new, kinds), self._sample(old, kinds, began=new)
        observation = observe(
            scenario, constants, between(new_sample, old_sample, self._slo_s),
            t_s=t_s, sampled_s=min(new.t_s, t_s), window_s=new.t_s - old.t_s, deployment=deployment,
            pending_s={k: tuple(t_s - s for s in sorted(since.get(str(kind), ()))) for k, kind in enumerate(kinds)},
            load_seen_s=np.array(cold_s))
        devices = _with_gaps(observation)
        if new.values.get((m.EMULATED.name,)) == 0:
            devices = {name: _measured(name, row, new, old, observation.interval_s) for name, row in devices.items()}
        return replace(observation, devices=devices)

    def _sample(self, readings: Readings, kinds: tuple[ReplicaKind, ...], began: Readings | None = None) -> Sample:
        """The readings in the simulator's arrays. Sums that are no whole numbers are kept in whole billionths, as there.

        With `began`, the counters of a kind that is no candidate and is in `began` only began at 0 in between.
        """
        values, scenario = readings.values, self._scenario
        get = values.get

        def column(series: m.Series, names: Iterable[str], *more: str) -> list[float]:
            return [get((series.name, name, *more), math.nan) for name in names]

        def billionths(series: m.Series, names: Iterable[str]) -> np.ndarray:
            return np.rint(np.array(column(series, names)) * 1e9)

        applications = tuple(scenario.applications)
        fates = [column(m.SETTLED, applications, fate) for fate in m.FATES]
        count = np.array([column(m.OFFERED, applications), *fates, billionths(m.ACCURACY, applications)]).T
        buckets = [[get((m.BUCKET, name, edge), math.nan) for edge in (*m.latency_edges_s(a.slo_s), math.inf)]
                   for name, a in scenario.applications.items()]
        labels = [str(kind) for kind in kinds]
        work = np.array([billionths(series, labels) for series in (m.HELD, m.READY_SERVERS, m.BUSY_SERVERS)]).T
        if began is not None:
            late = [k for k, kind in enumerate(kinds) if kind not in scenario.kinds
                    and (m.HELD.name, labels[k]) not in values and (m.HELD.name, labels[k]) in began.values]
            work[late] = 0.0
        pending, ready, draining = (np.array(column(m.REPLICAS, labels, state)) for state in m.STATES[:3])
        return Sample(
            np.float64(readings.t_s), count, np.diff(np.array(buckets), prepend=0.0),
            np.array(column(m.SERVICE_OFFERED, scenario.services)), np.array(column(m.SERVICE_QUEUE, scenario.services)),
            work, ready, pending, draining, np.array(column(m.KIND_QUEUE, labels)))


def _measured(name: str, row: DeviceObservation, new: Readings, old: Readings, interval_s: float) -> DeviceObservation:
    """With what was measured of a device type in place of what the profile says."""
    def told(series: m.Series, readings: Readings = new) -> float:
        return readings.values.get((series.name, name), math.nan)

    used = (told(m.DEVICE_USED) - told(m.DEVICE_USED, old)) / interval_s
    held, budget = told(m.DEVICE_MEMORY), told(m.DEVICE_MEMORY_BUDGET)
    free = math.nan if math.isnan(held + budget) else max(0.0, budget - held)
    return replace(row, used=used, memory_held_bytes=held, memory_free_bytes=free)


def _with_gaps(observation: Observation) -> dict[str, DeviceObservation]:
    """The device rows; all numbers of a device are missing where the replicas of one of its kinds are."""
    gaps = {kind.shape.device for kind, row in observation.kinds.items()
            if math.isnan(row.ready + row.pending + row.draining)}
    nothing = DeviceObservation(*(math.nan,) * 5)
    return {name: nothing if name in gaps else row for name, row in observation.devices.items()}

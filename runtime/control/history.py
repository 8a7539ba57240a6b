"""The last hour in numbers, a row each second (or few, where a row is long): what the live page draws."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from functools import cache

import numpy as np

from envs import state as st
from envs.contract import ReplicaKind
from envs.scrape import Sample, quantiles
from runtime.serving.live_cluster import LiveCluster

KEPT_S = 3600.0
NUMBERS_A_SECOND = 100  # a row of more is taken that more rarely
LATENCY_S = 10.0
DIGITS = 4

OF_APPLICATION = ("offered", "settled", "violated", "accuracy", "p50_s", "p99_s", "waiting")
OF_VARIANT = ("capacity_rps", "ready_units")
OF_ALL = ("pending_units", "leaving_units", "cost_ratio")
SECONDS = ("seconds", "")

Column = tuple[str, str]
"""A measure, and of what: the name of an application or a variant, or nothing."""


class History:
    """A ring of rows. Requests are counts over `SECONDS` before; latencies are of the last `LATENCY_S`; the rest is as it is.

    Args:
        cluster: its replicas are counted. Capacity is by the scenario's profile; a kind counts for its first variant.
        sample: gives the gateway's counters.

    Attributes:
        columns: of a row.
        step_s: between rows.
        rows_kept: the size of the ring.
        newest: number of the last row; rows are counted from 1.
    """

    def __init__(self, cluster: LiveCluster, sample: Callable[[], Sample]) -> None:
        scenario = cluster.scenario
        self._cluster, self._sample = cluster, sample
        self.columns: list[Column] = [SECONDS]
        self.columns += [(measure, name) for measure in OF_APPLICATION for name in scenario.applications]
        self.columns += [(measure, name) for measure in OF_VARIANT for name in scenario.variants]
        self.columns += [(measure, "") for measure in OF_ALL]
        self.step_s = float(math.ceil(len(self.columns) / NUMBERS_A_SECOND))
        self.rows_kept = int(KEPT_S / self.step_s)
        self.newest = 0
        self._t_s = np.zeros(self.rows_kept)
        self._rows = np.full((self.rows_kept, len(self.columns)), np.nan, np.float32)
        self._samples: deque[Sample] = deque(maxlen=1 + math.ceil(LATENCY_S / self.step_s))
        self._service_row = {name: row for row, name in enumerate(scenario.services)}
        self._variant_row = {name: row for row, name in enumerate(scenario.variants)}
        self._slo_s = np.array([a.slo_s for a in scenario.applications.values()])
        self._whole_cost = scenario.whole_price
        self._capacity_rps = cache(lambda kind: scenario.capacity_rps(kind, kind.variants[0]))

    def take(self) -> None:
        """Adds the row of now; the first time there is nothing yet that it could be held against."""
        now = self._sample()
        self._samples.append(now)
        if len(self._samples) == 1 or now.t_s <= self._samples[-2].t_s:
            return
        row = np.concatenate([[now.t_s - self._samples[-2].t_s], *self._requests(now), *self._replicas()])
        self._rows[self.newest % self.rows_kept] = _rounded(row)
        self._t_s[self.newest % self.rows_kept] = now.t_s
        self.newest += 1

    def after(self, number: int, most: int) -> tuple[int, np.ndarray, np.ndarray]:
        """The rows after one, the oldest first, `most` of them: the number of the last, times (N,) and rows (N, columns)."""
        first = max(number, self.newest - self.rows_kept)
        last = min(first + most, self.newest)
        at = np.arange(first, last) % self.rows_kept
        return last, self._t_s[at], self._rows[at]

    def _requests(self, now: Sample) -> list[np.ndarray]:
        """By measure, for each application."""
        before, earlier = self._samples[-2], self._samples[0]
        counts = (now.app_count - before.app_count).astype(float)
        settled = counts[:, st.GOOD : st.FAILED + 1].sum(1)
        latency_s = quantiles(now.histogram, (0.5, 0.99), earlier.histogram) * (self._slo_s / st.BINS_PER_SLO)[:, None]
        services = (a.services for a in self._cluster.scenario.applications.values())
        waiting = [sum(now.service_waiting[self._service_row[name]] for name in names) for names in services]
        return [counts[:, st.OFFERED], settled, settled - counts[:, st.GOOD], counts[:, st.ACCURACY_PPB] * 1e-9,
                latency_s[:, 0], latency_s[:, 1], np.array(waiting, float)]

    def _replicas(self) -> list[np.ndarray]:
        """By measure: for each variant what is ready, and of all together what starts, what leaves, and what it costs."""
        devices, census = self._cluster.scenario.devices, self._cluster.census
        capacity, units = np.zeros((2, len(self._variant_row)))
        for kind, n in census.count("ready").items():
            row = self._variant_row[kind.variants[0]]
            capacity[row] += n * self._capacity_rps(kind)
            units[row] += n * kind.shape.units
        others = {state: census.count(state) for state in ("pending", "draining", "failed")}

        def held(kind: ReplicaKind, n: int) -> int:
            return n * kind.shape.units

        pending = sum(held(kind, n) for kind, n in others["pending"].items())
        leaving = sum(held(kind, n) for state in ("draining", "failed") for kind, n in others[state].items())
        counts = (census.count("ready"), *others.values())
        cost = sum(held(kind, n) * devices[kind.shape.device].price for count in counts for kind, n in count.items())
        return [capacity, units, np.array([pending, leaving, cost / self._whole_cost])]


def _rounded(row: np.ndarray) -> np.ndarray:
    """With `DIGITS` significant digits: there is no more in them, and they are sent as text."""
    with np.errstate(divide="ignore", invalid="ignore"):
        power = 10.0 ** (DIGITS - 1 - np.floor(np.log10(np.abs(row))))
        return np.where(row == 0, 0.0, np.round(row * power) / power)

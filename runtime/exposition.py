"""A cluster's counters and gauges as the metric contract's families, ready for `prometheus_client`.

The counters are those of `envs.scrape.Sample`, so that a gateway may count in the same arrays as the simulator.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from prometheus_client import Metric
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.samples import Sample as Told
from prometheus_client.utils import floatToGoString

from envs import state as st
from envs.contract import CPU, ReplicaKind
from envs.observation import KindConstants, kind_constants
from envs.scenario import Scenario
from envs.scrape import Sample
from runtime import metrics as m

_BILLIONTH = 1e-9


class Used(NamedTuple):
    """What replicas use of one device type, measured; nan where it cannot be.

    Attributes:
        unit_s: core-seconds or device-seconds computed, a counter.
        memory_bytes: held now.
        memory_budget_bytes: that there is.
    """

    unit_s: float
    memory_bytes: float
    memory_budget_bytes: float


def expose(scenario: Scenario, kinds: Sequence[ReplicaKind], sample: Sample, *, started_s: float,
           pending_since_s: Mapping[ReplicaKind, Sequence[float]], cold_start_s: Mapping[ReplicaKind, float],
           latency_sum_s: np.ndarray | None = None, failed: Mapping[ReplicaKind, int] | None = None,
           used: Mapping[str, Used] | None = None) -> Iterator[Metric]:
    """The families of one page.

    Args:
        scenario: the problem.
        kinds: of the rows of the sample; all candidates of the scenario are among them.
        sample: counters since `started_s`, and gauges, at `sample.t_s` (Unix time, as `started_s`).
        started_s: when counting began.
        pending_since_s: by kind, when each of its pending replicas was started.
        cold_start_s: time from start to ready last measured of each kind; a kind of which none was measured is left out.
        latency_sum_s: (A,) sum of all latencies of answers; without it the histograms have no `_sum`.
        failed: by kind, replicas that were lost and are not yet gone; none where it is not given (simulated ones go at once).
        used: by device type, what was measured; None: replicas are emulated, and use what their profile says.
    """
    yield _single(m.EXPOSED_AT, float(sample.t_s))
    yield _single(m.STARTED_AT, started_s)
    yield from _applications(scenario, sample, latency_sum_s)
    tenants = [(name, service.tenant) for name, service in scenario.services.items()]
    yield _column(m.SERVICE_OFFERED, tenants, sample.service_offered)
    yield _column(m.SERVICE_QUEUE, tenants, sample.service_waiting)
    names = kind_names(kinds)
    rows = [(name, "+".join(kind.variants), kind.shape.device) for name, kind in names.items()]
    replicas = m.REPLICAS.family()
    lost = np.array([(failed or {}).get(kind, 0) for kind in kinds])
    for state, count in zip(m.STATES, (sample.pending, sample.ready, sample.draining, lost)):
        for (name, *info), n in zip(rows, count):
            replicas.add_metric([name, state, *info], float(n))
    yield replicas
    yield _column(m.KIND_QUEUE, rows, sample.kind_waiting)
    for series, column in ((m.HELD, st.HELD), (m.READY_SERVERS, st.READY_SERVERS), (m.BUSY_SERVERS, st.BUSY)):
        yield _column(series, rows, sample.kind_ns[:, column] * _BILLIONTH)
    cold, since = m.COLD_START.family(), m.PENDING_SINCE.family()
    for (name, *info), kind in zip(rows, kinds):
        if kind in cold_start_s:
            cold.add_metric([name, *info], cold_start_s[kind])
        for i, start_s in enumerate(pending_since_s.get(kind, ())):
            since.add_metric([name, str(i), *info], start_s)
    yield cold
    yield since
    yield _single(m.EMULATED, float(used is None))
    yield from _devices(scenario, kind_constants(scenario, kinds), sample, used or {})


def kind_names(kinds: Sequence[ReplicaKind]) -> dict[str, ReplicaKind]:
    """Kinds by their label.

    Raises:
        ValueError: two kinds have the same label.
    """
    names: dict[str, ReplicaKind] = {}
    for kind in kinds:
        if names.setdefault(str(kind), kind) != kind:
            raise ValueError(f"two replica kinds are called '{kind}': their waits differ by too little to be told apart")
    return names


def _applications(scenario: Scenario, sample: Sample, latency_sum_s: np.ndarray | None) -> Iterator[Metric]:
    count = sample.app_count
    names = [(name,) for name in scenario.applications]
    yield _column(m.OFFERED, names, count[:, st.OFFERED])
    settled = m.SETTLED.family()
    for a, name in enumerate(scenario.applications):
        for i, fate in enumerate(m.FATES):
            settled.add_metric([name, fate], float(count[a, st.GOOD + i]))
    yield settled
    yield _column(m.ACCURACY, names, count[:, st.ACCURACY_PPB] * _BILLIONTH)
    latency = _histogram()
    latency.samples = _Latencies(scenario, sample.histogram, latency_sum_s)  # type: ignore[assignment]
    yield latency


def _histogram() -> HistogramMetricFamily:
    return HistogramMetricFamily(m.LATENCY.name, m.LATENCY.help, labels=m.LATENCY.labels)


class _Latencies:
    """The samples of the latency histograms, made as they are gone through: each application has hundreds."""

    def __init__(self, scenario: Scenario, histogram: np.ndarray, sum_s: np.ndarray | None) -> None:
        self._slo_s = {name: application.slo_s for name, application in scenario.applications.items()}
        self._histogram, self._sum_s = histogram, sum_s

    def __iter__(self) -> Iterator[Told]:
        for a, (name, slo_s) in enumerate(self._slo_s.items()):
            edges = [*map(floatToGoString, m.latency_edges_s(slo_s)), "+Inf"]
            buckets = list(zip(edges, np.cumsum(self._histogram[a]).astype(float).tolist()))
            family = _histogram()
            family.add_metric([name], buckets, None if self._sum_s is None else float(self._sum_s[a]))
            yield from family.samples


def _devices(scenario: Scenario, constants: KindConstants, sample: Sample, used: Mapping[str, Used]) -> Iterator[Metric]:
    replicas = sample.ready + sample.pending + sample.draining
    held_s, busy_s = (sample.kind_ns[:, column] * _BILLIONTH for column in (st.HELD, st.BUSY))
    servers = np.array([kind.shape.servers for kind in constants.kinds])
    families = {series: series.family() for series in (m.DEVICE_BUDGET, m.DEVICE_HELD, m.DEVICE_USED, m.DEVICE_MEMORY,
                                                       m.DEVICE_MEMORY_BUDGET, m.COST)}
    for name, device in scenario.devices.items():
        units = constants.units * constants.on_device[name]
        there = constants.on_device[name]
        places = max(1, len(device.nodes)) if name == CPU else device.budget
        values = {m.DEVICE_BUDGET: device.budget, m.DEVICE_HELD: replicas @ units, m.DEVICE_USED: busy_s @ (units / servers),
                  m.DEVICE_MEMORY: replicas[there] @ constants.memory_bytes[there],
                  m.DEVICE_MEMORY_BUDGET: device.memory_bytes * places, m.COST: device.price * (held_s @ units)}
        if name in used:
            values |= zip((m.DEVICE_USED, m.DEVICE_MEMORY, m.DEVICE_MEMORY_BUDGET), used[name])
        for series, value in values.items():
            if not math.isnan(value):
                families[series].add_metric([name], float(value))
    yield from families.values()


def _single(series: m.Series, value: float) -> Metric:
    return _column(series, [()], [value])


def _column(series: m.Series, labels: Sequence[Sequence[str]], values: Sequence[float] | np.ndarray) -> Metric:
    family = series.family()
    for row, value in zip(labels, values):
        family.add_metric(list(row), float(value))
    return family

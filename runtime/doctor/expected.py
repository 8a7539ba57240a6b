"""What a cluster of a scenario should export: the keys of the metric contract's samples, series by series."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import product

from envs.scenario import Scenario
from runtime import metrics as m
from runtime.exposition import kind_names
from runtime.sources.page import Key

ONLY_SOMETIMES = (m.COLD_START, m.PENDING_SINCE)
"""Series that a healthy cluster may not have now: nothing was loaded yet, nothing is pending."""

NEEDED = tuple(s for s in m.CONTRACT if s in (m.EXPOSED_AT, m.STARTED_AT)
               or any(s.name in text for text in m.COMPUTED_FROM.values()))  # fmt: skip
"""Series that observations are computed from; the others are for people."""

REPLICA_STATES = m.STATES[:3]
"""Of which an observation tells."""


def expected(scenario: Scenario) -> dict[m.Series, frozenset[Key]]:
    """The keys of each series; a histogram's are those of its buckets."""
    applications, services, kinds = scenario.applications, scenario.services, kind_names(tuple(scenario.kinds))
    devices, limited = scenario.devices, [n for n, d in scenario.devices.items() if math.isfinite(d.memory_bytes)]
    edges = {name: (*m.latency_edges_s(a.slo_s), math.inf) for name, a in applications.items()}
    rows: dict[m.Series, Iterable[tuple[str | float, ...]]] = {
        m.EXPOSED_AT: [()], m.STARTED_AT: [()], m.VERSION: [()], m.EMULATED: [()],
        m.OFFERED: _alone(applications), m.ACCURACY: _alone(applications),
        m.SETTLED: product(applications, m.FATES),
        m.LATENCY: [(name, edge) for name in applications for edge in edges[name]],
        m.SERVICE_OFFERED: _alone(services), m.SERVICE_QUEUE: _alone(services),
        m.ANSWERS: [(name, variant) for name, service in services.items() for variant in service.variants],
        m.REPLICAS: product(kinds, REPLICA_STATES),
        **dict.fromkeys((m.KIND_QUEUE, m.HELD, m.READY_SERVERS, m.BUSY_SERVERS), _alone(kinds)),
        **dict.fromkeys((m.DEVICE_BUDGET, m.DEVICE_HELD, m.DEVICE_USED, m.DEVICE_MEMORY, m.COST), _alone(devices)),
        m.DEVICE_MEMORY_BUDGET: _alone(limited),
    }  # fmt: skip
    names = {series: m.BUCKET if series is m.LATENCY else series.name for series in rows}
    return {series: frozenset((names[series], *row) for row in rows[series]) for series in rows}


def strangers(keys: Iterable[Key], scenario: Scenario) -> dict[str, set[str]]:
    """By label, the values that the scenario does not know: applications, services, devices, and variants of kinds."""
    known = {"application": set(scenario.applications), "service": set(scenario.services), "device": set(scenario.devices),
             "variant": set(scenario.variants)}  # fmt: skip
    found: dict[str, set[str]] = {}
    labels = m.sample_keys()
    for name, *values in keys:
        for label, value in zip(labels[str(name)], values):
            if label in known and value not in known[label]:
                found.setdefault(label, set()).add(str(value))
    return found


def _alone(names: Iterable[str]) -> list[tuple[str]]:
    return [(name,) for name in names]

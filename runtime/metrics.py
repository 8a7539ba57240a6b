"""The metric contract: every `tidal_...` series that a cluster exports, and what each number of an observation is made of.

Whoever serves requests exports these series; the simulated cluster can export them too (`runtime.exposition`), and the
metric sources (`runtime.sources`) make the contract's `Observation` of them. Units are base units; counters only rise while
their process lives. A candidate kind without replicas is exported as 0, never left out: what is not exported is missing,
and missing is never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from envs import state as st

Type = Literal["counter", "gauge", "histogram"]

FATES = ("answered", "late", "rejected", "dropped", "failed")
"""Values of the label `fate`, in the order of `envs.state`: answered means within the SLO; the others are violations."""

ReplicaState = Literal["pending", "ready", "draining", "failed"]
STATES: tuple[ReplicaState, ...] = ("pending", "ready", "draining", "failed")
"""Values of the label `state`: where replicas are in their life."""


@dataclass(frozen=True)
class Series:
    """One series of the contract.

    Attributes:
        name: with unit, and `_total` for a counter.
        type: as Prometheus types it.
        keys: labels that tell its members apart.
        help: what it counts or measures.
        info: labels that follow from the keys, for queries and dashboards.
    """

    name: str
    type: Type
    keys: tuple[str, ...]
    help: str
    info: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels, the keys first."""
        return self.keys + self.info

    def family(self) -> CounterMetricFamily | GaugeMetricFamily:
        """An empty counter or gauge for a collector to fill with `add_metric(label values, value)`."""
        made = CounterMetricFamily if self.type == "counter" else GaugeMetricFamily
        return made(self.name, self.help, labels=self.labels)


EXPOSED_AT = Series("tidal_exposition_timestamp_seconds", "gauge", (),
                    "Unix time at which the numbers of this page were taken, all at once.")
STARTED_AT = Series("tidal_exposition_start_timestamp_seconds", "gauge", (),
                    "Unix time at which the process began to count; another value means that all counters began again at 0.")

OFFERED = Series("tidal_requests_offered_total", "counter", ("application",),
                 "Requests that arrived for an application, served or not.")
SETTLED = Series("tidal_requests_settled_total", "counter", ("application", "fate"),
                 "Requests whose fate is settled: answered (within the SLO), late, rejected, dropped or failed.")
ACCURACY = Series("tidal_answer_accuracy_total", "counter", ("application",),
                  "Sum of the accuracy in [0, 1] of the variants that answered within the SLO.")
LATENCY = Series("tidal_request_latency_seconds", "histogram", ("application",),
                 "Latency of answers, late ones too; buckets of 1/64 of the application's SLO, up to 8 SLOs.")

SERVICE_OFFERED = Series("tidal_service_requests_offered_total", "counter", ("service",),
                         "Requests that arrived at a service, served or not.", ("tenant",))
SERVICE_QUEUE = Series("tidal_service_queue_requests", "gauge", ("service",), "Requests waiting for a service.", ("tenant",))
ANSWERS = Series("tidal_service_answers_total", "counter", ("service", "variant"),
                 "Answers of a service, late ones too, by the variant that gave them.", ("tenant",))

_KIND = ("variant", "device")
REPLICAS = Series("tidal_kind_replicas", "gauge", ("kind", "state"),
                  "Replicas of a kind by state: pending, ready, draining or failed.", _KIND)
KIND_QUEUE = Series("tidal_kind_queue_requests", "gauge", ("kind",), "Requests waiting for replicas of a kind.", _KIND)
HELD = Series("tidal_kind_held_seconds_total", "counter", ("kind",),
              "Replica-seconds that replicas of a kind held their resources, from start to end.", _KIND)
READY_SERVERS = Series("tidal_kind_ready_server_seconds_total", "counter", ("kind",),
                       "Server-seconds that ready replicas of a kind offered.", _KIND)
BUSY_SERVERS = Series("tidal_kind_busy_server_seconds_total", "counter", ("kind",),
                      "Server-seconds that replicas of a kind computed.", _KIND)
COLD_START = Series("tidal_kind_cold_start_seconds", "gauge", ("kind",),
                    "Time from start to ready of the replica of a kind that became ready last; absent until one did.", _KIND)
PENDING_SINCE = Series("tidal_replica_pending_start_timestamp_seconds", "gauge", ("kind", "replica"),
                       "Unix time at which a replica that is still pending was started.", _KIND)

DEVICE_BUDGET = Series("tidal_device_budget_units", "gauge", ("device",), "Cores or devices that may be held.")
DEVICE_HELD = Series("tidal_device_held_units", "gauge", ("device",), "Cores or devices that replicas hold.")
DEVICE_USED = Series("tidal_device_used_unit_seconds_total", "counter", ("device",),
                     "Core-seconds or device-seconds that replicas computed; absent where it cannot be measured.")
DEVICE_MEMORY = Series("tidal_device_memory_held_bytes", "gauge", ("device",),
                       "Memory that replicas hold; absent where it cannot be measured.")
DEVICE_MEMORY_BUDGET = Series("tidal_device_memory_budget_bytes", "gauge", ("device",),
                              "Memory that there is; absent where it cannot be measured.")
EMULATED = Series("tidal_replicas_emulated", "gauge", (),
                  "1: replicas compute nothing, and what they use is by the profile; 0: it is measured.")
COST = Series("tidal_device_cost_total", "counter", ("device",),
              "Price x core-seconds or device-seconds held; the cost of a time is its increase over price x budget x time.")
VERSION = Series("tidal_deployment_version", "gauge", (), "Number of the deployment that is wanted; each change adds one.")

CONTRACT: tuple[Series, ...] = (
    EXPOSED_AT, STARTED_AT, OFFERED, SETTLED, ACCURACY, LATENCY, SERVICE_OFFERED, SERVICE_QUEUE, ANSWERS, REPLICAS,
    KIND_QUEUE, HELD, READY_SERVERS, BUSY_SERVERS, COLD_START, PENDING_SINCE, DEVICE_BUDGET, DEVICE_HELD, DEVICE_USED,
    DEVICE_MEMORY, DEVICE_MEMORY_BUDGET, EMULATED, COST, VERSION)

BUCKET = f"{LATENCY.name}_bucket"

COMPUTED_FROM: Mapping[str, str] = {
    "t_s": "time of the decision, not a series",
    "interval_s": "difference of tidal_exposition_timestamp_seconds over the window",
    "age_s": "t_s - tidal_exposition_timestamp_seconds, of the target that is furthest behind",
    "deployment": "GET /v1/deployment of the control API, not a series",
    "applications.offered_rps": "increase of tidal_requests_offered_total / interval_s",
    "applications.violation_ratio": "1 - increase of tidal_requests_settled_total{fate=answered} / of all fates",
    "applications.late_ratio": "increase of tidal_requests_settled_total{fate=late} / of all fates",
    "applications.rejected_ratio": "increase of tidal_requests_settled_total{fate=rejected} / of all fates",
    "applications.dropped_ratio": "increase of tidal_requests_settled_total{fate=dropped} / of all fates",
    "applications.failed_ratio": "increase of tidal_requests_settled_total{fate=failed} / of all fates",
    "applications.accuracy": "increase of tidal_answer_accuracy_total / of tidal_requests_settled_total, all fates",
    "applications.p50_s": "median of the increases of tidal_request_latency_seconds_bucket, linear in a bucket",
    "applications.p95_s": "0.95 quantile of the same",
    "applications.p99_s": "0.99 quantile of the same",
    "services.offered_rps": "increase of tidal_service_requests_offered_total / interval_s",
    "services.queue": "tidal_service_queue_requests",
    "kinds.ready": "tidal_kind_replicas{state=ready}",
    "kinds.pending": "tidal_kind_replicas{state=pending}",
    "kinds.draining": "tidal_kind_replicas{state=draining}",
    "kinds.queue": "tidal_kind_queue_requests",
    "kinds.busy_ratio": "increase of tidal_kind_busy_server_seconds_total / of tidal_kind_ready_server_seconds_total",
    "kinds.pending_s": "t_s - tidal_replica_pending_start_timestamp_seconds, oldest first",
    "devices.held": "sum of tidal_kind_replicas x units of the kind, over pending, ready, draining",
    "devices.used": "increase of tidal_device_used_unit_seconds_total / interval_s, or where tidal_replicas_emulated is not "
                    "0, sum of ready x busy_ratio x units of the kind",
    "devices.free": "budget of the scenario - held, at least 0",
    "devices.memory_held_bytes": "tidal_device_memory_held_bytes, or where tidal_replicas_emulated is not 0, sum of "
                                 "tidal_kind_replicas x memory of the kind, over pending, ready, draining",
    "devices.memory_free_bytes": "tidal_device_memory_budget_bytes - memory held, at least 0",
    "load_s": "tidal_kind_cold_start_seconds of the kind that hosts the variant alone; the scenario's own until measured",
}
"""For each number of an `Observation`, by path, what it is computed from."""


def latency_edges_s(slo_s: float) -> tuple[float, ...]:
    """Upper edges (s) of the latency buckets below +Inf, for an application's SLO."""
    return tuple(float(k) for k in np.arange(1, st.HISTOGRAM_BINS) * (slo_s / st.BINS_PER_SLO))


def sample_keys() -> dict[str, tuple[str, ...]]:
    """Labels that tell the samples of each sample name apart (a histogram's buckets by `le` too)."""
    keys = {series.name: series.keys for series in CONTRACT if series.type != "histogram"}
    return keys | {BUCKET: (*LATENCY.keys, "le")}

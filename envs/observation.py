"""From what was scraped to the contract's `Observation`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from envs.contract import (
    CPU,
    ApplicationObservation,
    Deployment,
    DeviceObservation,
    KindObservation,
    Observation,
    ReplicaKind,
    ServiceObservation,
)
from envs.scenario import Scenario
from envs.scrape import Scrape

_NAN = math.nan


def observe(scenario: Scenario, kinds: Sequence[ReplicaKind], scrape: Scrape, *, t_s: float, sampled_s: float, window_s: float,
            deployment: Deployment, pending_s: Mapping[int, tuple[float, ...]], load_seen_s: np.ndarray) -> Observation:
    """The observation at t_s that a scrape of one cluster gives.

    Args:
        sampled_s: time of the newest sample.
        window_s: time that the rates and ratios are over.
        pending_s: by index of kind, seconds since each pending replica was started.
        load_seen_s: (K,) last measured cold start of each kind.
    """
    applications = {}
    for a, name in enumerate(scenario.applications):
        good, late, rejected, dropped, failed = (float(x) for x in scrape.fate_ratio[a])
        p50, p95, p99 = (float(x) for x in scrape.quantiles_s[a])
        applications[name] = ApplicationObservation(float(scrape.offered_rps[a]), 1 - good, late, rejected, dropped, failed,
                                                    float(scrape.accuracy[a]), p50, p95, p99)
    return Observation(
        t_s=t_s,
        interval_s=window_s,
        age_s=t_s - sampled_s,
        deployment=deployment,
        applications=applications,
        services={name: ServiceObservation(float(scrape.service_rps[z]), float(scrape.service_waiting[z]))
                  for z, name in enumerate(scenario.services)},
        kinds={kind: KindObservation(float(scrape.ready[k]), float(scrape.pending[k]), float(scrape.draining[k]),
                                     float(scrape.kind_waiting[k]), float(scrape.busy_ratio[k]), pending_s.get(k, ()))
               for k, kind in enumerate(kinds)},
        devices=_devices(scenario, kinds, scrape),
        load_s={v: _cold_start(scenario, kinds, load_seen_s, v) for v in scenario.variants},
    )


def _devices(scenario: Scenario, kinds: Sequence[ReplicaKind], scrape: Scrape) -> dict[str, DeviceObservation]:
    rows = {}
    for name, device in scenario.devices.items():
        held = used = memory = 0.0
        for k, kind in enumerate(kinds):
            if kind.shape.device != name:
                continue
            replicas = float(scrape.ready[k] + scrape.pending[k] + scrape.draining[k])
            held += replicas * kind.shape.units
            if scrape.ready[k] > 0 and not math.isnan(scrape.busy_ratio[k]):
                used += float(scrape.ready[k] * scrape.busy_ratio[k]) * kind.shape.units
            memory += replicas * scenario.memory_bytes(kind) * (1 if name == CPU else kind.shape.units)
        total = device.memory_bytes * (max(1, len(device.nodes)) if name == CPU else device.budget)
        rows[name] = DeviceObservation(held, used, max(0.0, device.budget - held), memory, max(0.0, total - memory))
    return rows


def _cold_start(scenario: Scenario, kinds: Sequence[ReplicaKind], load_seen_s: np.ndarray, variant: str) -> float:
    """The last measured load of a kind that hosts only this variant, relative to its mean, in seconds of the variant."""
    for k, kind in enumerate(kinds):
        if kind.variants == (variant,) and load_seen_s[k] != scenario.load_s(kind):
            return float(load_seen_s[k])
    return scenario.variants[variant].load_s


def missing_observation(scenario: Scenario, kinds: Sequence[ReplicaKind], deployment: Deployment, t_s: float) -> Observation:
    """An observation with every number missing: before the first sample, or when all series have vanished."""
    nan_application = ApplicationObservation(*(_NAN,) * len(dataclasses.fields(ApplicationObservation)))
    return Observation(
        t_s=t_s, interval_s=scenario.interval_s, age_s=_NAN, deployment=deployment,
        applications=dict.fromkeys(scenario.applications, nan_application),
        services=dict.fromkeys(scenario.services, ServiceObservation(_NAN, _NAN)),
        kinds=dict.fromkeys(kinds, KindObservation(_NAN, _NAN, _NAN, _NAN, _NAN)),
        devices=dict.fromkeys(scenario.devices, DeviceObservation(_NAN, _NAN, _NAN, _NAN, _NAN)),
        load_s={name: variant.load_s for name, variant in scenario.variants.items()},
    )


def stale_observation(last: Observation, deployment: Deployment, t_s: float) -> Observation:
    """The last answer again: same numbers, grown age."""
    return dataclasses.replace(last, t_s=t_s, deployment=deployment, age_s=last.age_s + t_s - last.t_s)

"""From what was scraped to the contract's `Observation`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

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
from envs.state import PENDING

_NAN = math.nan


def observe(
    scenario: Scenario,
    constants: KindConstants,
    scrape: Scrape,
    *,
    t_s: float,
    sampled_s: float,
    window_s: float,
    deployment: Deployment,
    pending_s: Mapping[int, tuple[float, ...]],
    load_seen_s: np.ndarray,
) -> Observation:
    """The observation at t_s that a scrape of one cluster gives.

    Args:
        scenario: the problem.
        t_s: time of the decision.
        deployment: the one last applied.
        scrape: what was scraped of this cluster.
        constants: of the kinds that the scrape has.
        sampled_s: time of the newest sample.
        window_s: time that the rates and ratios are over.
        pending_s: by index of kind, seconds since each pending replica was started.
        load_seen_s: (K,) last measured cold start of each kind.
    """
    applications = {}
    for a, name in enumerate(scenario.applications):
        good, late, rejected, dropped, failed = (float(x) for x in scrape.fate_ratio[a])
        p50, p95, p99 = (float(x) for x in scrape.quantiles_s[a])
        applications[name] = ApplicationObservation(
            float(scrape.offered_rps[a]), 1 - good, late, rejected, dropped, failed, float(scrape.accuracy[a]), p50, p95, p99
        )
    columns = (scrape.ready, scrape.pending, scrape.draining, scrape.kind_waiting, scrape.busy_ratio)
    rows = zip(*(column.tolist() for column in columns))
    return Observation(
        t_s=t_s,
        interval_s=window_s,
        age_s=t_s - sampled_s,
        deployment=deployment,
        applications=applications,
        services={
            name: ServiceObservation(float(scrape.service_rps[z]), float(scrape.service_waiting[z]))
            for z, name in enumerate(scenario.services)
        },
        kinds={
            kind: KindObservation(ready, pending, draining, queue, busy_ratio, pending_s.get(k, ()))
            for k, (kind, (ready, pending, draining, queue, busy_ratio)) in enumerate(zip(constants.kinds, rows))
        },
        devices=_devices(scenario, constants, scrape),
        load_s=_cold_starts(scenario, constants, load_seen_s),
    )


class KindConstants(NamedTuple):
    """What never changes of the kinds of a scenario."""

    kinds: tuple[ReplicaKind, ...]
    on_device: dict[str, np.ndarray]  # (K,) whether a kind is on the device type
    units: np.ndarray  # (K,) cores or devices of a replica
    memory_bytes: np.ndarray  # (K,) that a replica holds in all
    load_s: np.ndarray  # (K,) mean load time
    alone: dict[str, np.ndarray]  # indices of the kinds that host this variant only


def kind_constants(scenario: Scenario, kinds: Sequence[ReplicaKind]) -> KindConstants:
    """Looks the constants of these kinds up."""
    units = np.array([kind.shape.units for kind in kinds], float)
    on_cpu = np.array([kind.shape.device == CPU for kind in kinds])
    return KindConstants(
        tuple(kinds),
        {name: np.array([kind.shape.device == name for kind in kinds]) for name in scenario.devices},
        units,
        np.array([scenario.memory_bytes(kind) for kind in kinds]) * np.where(on_cpu, 1, units),
        np.array([scenario.load_s(kind) for kind in kinds]),
        {v: np.flatnonzero([kind.variants == (v,) for kind in kinds]) for v in scenario.variants},
    )


def _devices(scenario: Scenario, constants: KindConstants, scrape: Scrape) -> dict[str, DeviceObservation]:
    replicas = scrape.ready + scrape.pending + scrape.draining
    used = scrape.ready * np.nan_to_num(scrape.busy_ratio) * constants.units
    rows = {}
    for name, device in scenario.devices.items():
        here = constants.on_device[name]
        held = float(replicas[here] @ constants.units[here])
        memory = float(replicas[here] @ constants.memory_bytes[here])
        total = device.memory_bytes * (max(1, len(device.nodes)) if name == CPU else device.budget)
        left, memory_left = np.maximum(0.0, (device.budget - held, total - memory)).tolist()  # missing where replicas are
        rows[name] = DeviceObservation(held, float(used[here].sum()), left, memory, memory_left)
    return rows


def _cold_starts(scenario: Scenario, constants: KindConstants, load_seen_s: np.ndarray) -> dict[str, float]:
    """The last measured load of a kind that hosts only this variant; the scenario's own where none was measured."""
    measured = load_seen_s != constants.load_s
    found = {}
    for name, variant in scenario.variants.items():
        alone = constants.alone[name]
        seen = alone[measured[alone]]
        found[name] = float(load_seen_s[seen[0]]) if len(seen) else variant.load_s
    return found


def pending_ages(status: np.ndarray, kind: np.ndarray, born: np.ndarray, t_s: float) -> dict[int, tuple[float, ...]]:
    """Seconds since each pending replica was started, oldest first, by index of kind; arguments by slot, of one cluster."""
    ages: dict[int, tuple[float, ...]] = {}
    pending = np.flatnonzero(status == PENDING)
    for slot in pending[np.argsort(born[pending], kind="stable")]:
        k = int(kind[slot])
        ages[k] = (*ages.get(k, ()), float(t_s - born[slot]))
    return ages


def missing_observation(scenario: Scenario, kinds: Sequence[ReplicaKind], deployment: Deployment, t_s: float) -> Observation:
    """An observation with every number missing: before the first sample, or when all series have vanished."""
    nan_application = ApplicationObservation(*(_NAN,) * len(dataclasses.fields(ApplicationObservation)))
    return Observation(
        t_s=t_s,
        interval_s=scenario.interval_s,
        age_s=_NAN,
        deployment=deployment,
        applications=dict.fromkeys(scenario.applications, nan_application),
        services=dict.fromkeys(scenario.services, ServiceObservation(_NAN, _NAN)),
        kinds=dict.fromkeys(kinds, KindObservation(_NAN, _NAN, _NAN, _NAN, _NAN)),
        devices=dict.fromkeys(scenario.devices, DeviceObservation(_NAN, _NAN, _NAN, _NAN, _NAN)),
        load_s={name: variant.load_s for name, variant in scenario.variants.items()},
    )


def stale_observation(last: Observation, deployment: Deployment, t_s: float) -> Observation:
    """The last answer again: same numbers, grown age."""
    return dataclasses.replace(last, t_s=t_s, deployment=deployment, age_s=last.age_s + t_s - last.t_s)

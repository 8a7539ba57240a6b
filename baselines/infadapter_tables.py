"""The tables of InfAdapter's program, made from a scenario, and the deployment that a plan stands for.

A row for each candidate that hosts the service, a column for each of its levels; `baselines.infadapter_ilp` solves them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from baselines.infadapter_ilp import Choices, Plan
from envs.contract import CPU, Deployment, ReplicaKind, Route, Shape
from envs.scenario import Candidate, Scenario

REGRESSED_CORES = (1, 2, 4, 8, 16)  # the sizes that the artefact profiles for its regression

Capacity = Callable[[Scenario, ReplicaKind, str], float]
Host = tuple[Candidate, str]  # a candidate, and the variant of the service that it is planned with


def measured_capacity_rps(scenario: Scenario, kind: ReplicaKind, variant: str) -> float:
    """Load that one replica carries within the SLO, as the scenario says."""
    return scenario.capacity_rps(kind, variant)


def regressed_capacity_rps(scenario: Scenario, kind: ReplicaKind, variant: str) -> float:
    """The artefact's capacity before its safety factor: slope * n + t, a least-squares line over `REGRESSED_CORES`.

    t = int(min(intercept, 0.99)), truncated towards 0, so that the line never starts above 0.

    Raises:
        ValueError: the kind is not on cpu, or the profile does not have the capacity at one of these sizes.
    """
    rows = [scenario.profile.measured_capacity_rps(variant, Shape(cores=n), kind.batch) for n in REGRESSED_CORES]
    if kind.shape.device != CPU or None in rows:
        raise ValueError(f"no regression for {kind}: the profile needs the measured capacity of '{variant}' on "
                         f"{', '.join(map(str, REGRESSED_CORES))} cores")
    slope, intercept = np.polyfit(REGRESSED_CORES, np.array(rows, dtype=float), 1)
    return float(slope * kind.shape.cores + int(min(intercept, 0.99)))


CAPACITIES: dict[str, tuple[Capacity, Callable[[float], float]]] = {
    "measured": (measured_capacity_rps, float),
    "regressed": (regressed_capacity_rps, math.floor),  # the artefact rounds down to whole req/s
}


def hosts_of(scenario: Scenario, service: str) -> list[Host]:
    """Candidates that host a service, each with the first of the service's variants that it hosts."""
    variants = scenario.services[service].variants
    return [(c, next(v for v in variants if v in c.variants)) for c in scenario.candidates if set(variants) & set(c.variants)]


def replicas_at(candidate: Candidate, level: int) -> dict[ReplicaKind, int]:
    """The replicas of a candidate at a level."""
    if not level:
        return {}
    return {candidate.kinds[level - 1]: 1} if candidate.sized else {candidate.kinds[0]: level}


def choices_of(scenario: Scenario, hosts: Sequence[Host],
             capacity_rps: Callable[[ReplicaKind, str], float]) -> Choices:
    """The program's tables: a row for each candidate, a column for each level."""
    devices = list(scenario.devices)
    columns = max(candidate.levels for candidate, _ in hosts)
    units, capacity = np.full((len(hosts), columns), -1), np.zeros((len(hosts), columns))
    for m, (candidate, variant) in enumerate(hosts):
        for level in range(candidate.levels):
            replicas = replicas_at(candidate, level)
            units[m, level] = sum(k.shape.units * n for k, n in replicas.items())
            capacity[m, level] = sum(max(0.0, capacity_rps(k, variant)) * n for k, n in replicas.items())
    budgets = np.array([device.budget for device in scenario.devices.values()])
    price = np.array([scenario.devices[c.device].price for c, _ in hosts])
    whole = scenario.whole_price
    load_s = np.array([scenario.load_s(c.kinds[0]) for c, _ in hosts])
    weights = scenario.weights
    return Choices(
        accuracy=np.array([scenario.variants[v].accuracy for _, v in hosts]),
        load_ratio=load_s / (max(map(scenario.load_s, scenario.kinds)) or 1.0),
        units=units, capacity_rps=capacity, cost=np.maximum(units, 0) * price[:, None] / whole,
        device=np.array([devices.index(c.device) for c, _ in hosts]), budget=budgets,
        w_accuracy=weights.accuracy, w_cost=weights.cost, w_change=weights.change)


def levels_in(hosts: Sequence[Host], deployment: Deployment) -> list[int]:
    """The level of each candidate in a deployment; -1 where it has none of the levels (as with two sizes at once)."""
    levels = []
    for candidate, _ in hosts:
        held = {k: n for k, n in deployment.replicas.items() if k in candidate.kinds}
        known = [n for n in range(candidate.levels) if replicas_at(candidate, n) == held]
        levels.append(known[0] if known else -1)
    return levels


def deployment_of(scenario: Scenario, service: str, hosts: Sequence[Host], plan: Plan) -> Deployment:
    """A plan's replicas, and its quotas as shares."""
    replicas: dict[ReplicaKind, int] = {}
    shares: dict[Route, float] = {}
    carried_rps = sum(plan.quotas_rps)
    for (candidate, variant), level, quota in zip(hosts, plan.levels, plan.quotas_rps):
        for kind, n in replicas_at(candidate, level).items():
            replicas[kind] = replicas.get(kind, 0) + n
            if quota > 0:
                shares[kind, variant] = shares.get((kind, variant), 0.0) + quota / carried_rps
    return replace(scenario.initial_deployment, replicas=replicas, routes={service: shares} if shares else {})

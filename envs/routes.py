"""Routes that agents' deployments get: the most accurate replicas first, each kind up to its capacity.

An agent's action says which replicas are wanted, not how requests are shared among them. Each service's load as last
observed, times `ROUTE_MARGIN`, is given to the wanted kinds that host it, the most accurate first, each up to its
capacity. Where that is more than all of them carry, or the load is missing, shares are in proportion to capacity. A
candidate that several services use counts for each in proportion to their loads. The cluster brings the shares into
force once all these kinds are ready.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from envs.contract import Deployment
from envs.scenario import Candidate, Scenario

ROUTE_MARGIN = 1.4  # for bursts inside an interval; the same as `baselines.two_time_scales`


class Hosting(NamedTuple):
    """A scenario's tables for `share_out`."""

    capacity_rps: np.ndarray  # (Z, C, L) of a candidate at a level for a service, 0 where it does not host it
    order: np.ndarray  # (Z, C) candidates by falling accuracy


def hosting_of(scenario: Scenario) -> Hosting:
    """The tables of a scenario."""
    candidates, services = scenario.candidates, list(scenario.services.values())
    capacity = np.zeros((len(services), len(candidates), max(c.levels for c in candidates)))
    accuracy = np.zeros((len(services), len(candidates)))
    for z, service in enumerate(services):
        for c, candidate in enumerate(candidates):
            variant = next((v for v in service.variants if v in candidate.variants), None)
            if variant is None:
                continue
            accuracy[z, c] = scenario.variants[variant].accuracy
            for level in range(1, candidate.levels):
                kind, count = (candidate.kinds[level - 1], 1) if candidate.sized else (candidate.kinds[0], level)
                capacity[z, c, level] = count * scenario.capacity_rps(kind, variant)
    return Hosting(capacity, np.argsort(-accuracy, axis=1, kind="stable"))


@njit(cache=True)
def share_out(hosting: Hosting, levels: np.ndarray, service_rps: np.ndarray) -> np.ndarray:
    """Shares (N, Z, C) of each service's requests for each candidate.

    Args:
        hosting: tables of the scenario.
        levels: (N, C) wanted.
        service_rps: (N, Z) offered load as last observed; nan where it is missing.
    """
    n_services, n_candidates, _ = hosting.capacity_rps.shape
    shares = np.zeros((len(levels), n_services, n_candidates))
    capacity = np.zeros(n_candidates)
    for e in range(len(levels)):
        for z in range(n_services):
            total = 0.0
            for c in range(n_candidates):
                capacity[c] = hosting.capacity_rps[z, c, levels[e, c]] * _part(hosting, service_rps[e], z, c)
                total += capacity[c]
            if total <= 0.0:
                continue
            rest = ROUTE_MARGIN * service_rps[e, z]
            if not 0.0 < rest < total:
                rest = total
            given = 0.0
            for c in hosting.order[z]:
                shares[e, z, c] = min(capacity[c], max(rest, 0.0))
                rest -= shares[e, z, c]
                given += shares[e, z, c]
            for c in range(n_candidates):
                shares[e, z, c] /= given
    return shares


@njit(cache=True)
def _part(hosting: Hosting, service_rps: np.ndarray, z: int, c: int) -> float:
    """A service's part of a candidate that several services use; all of it where a load is missing or nothing arrives."""
    total = 0.0
    for other in range(len(service_rps)):
        if hosting.capacity_rps[other, c, 1] > 0.0:
            total += service_rps[other]
    part = service_rps[z] / total if total > 0.0 else 1.0
    return part if part > 0.0 else 1.0


def deployment_of(scenario: Scenario, levels: np.ndarray, shares: np.ndarray) -> Deployment:
    """The contract's deployment of levels (C,) and shares (Z, C); a service with all shares 0 has no routes."""
    routes: dict[str, dict] = {}
    for service, row in zip(scenario.services, shares):
        for candidate, level, share in zip(scenario.candidates, levels, row):
            if level and share > 0:
                route = _route(scenario, service, candidate, int(level))
                routes.setdefault(service, {})[route] = float(share)
    return scenario.deployment(levels, routes)


def shares_of(scenario: Scenario, deployment: Deployment) -> np.ndarray:
    """The shares (Z, C) that a deployment's routes say; all 0 for a service without or with unsayable ones."""
    levels = scenario.levels(deployment)
    shares = np.zeros((len(scenario.services), len(scenario.candidates)))
    for z, service in enumerate(scenario.services):
        said = dict(deployment.routes.get(service, {}))
        for c, (candidate, level) in enumerate(zip(scenario.candidates, levels)):
            if level and set(candidate.variants) & set(scenario.services[service].variants):
                shares[z, c] = said.pop(_route(scenario, service, candidate, level), 0.0)
        if any(share > 0 for share in said.values()):
            shares[z] = 0.0
    return shares


def _route(scenario: Scenario, service: str, candidate: Candidate, level: int) -> tuple:
    """The kind of a candidate at a level, and the variant that it gives to a service."""
    variant = next(v for v in scenario.services[service].variants if v in candidate.variants)
    return candidate.kinds[level - 1 if candidate.sized else 0], variant

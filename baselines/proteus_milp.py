"""Proteus' mixed-integer program: which variants on how many devices, and which share of each service's load on each.

Source: Ahmad et al., "Proteus: A High-Throughput Inference-Serving System with Accuracy Scaling", ASPLOS 2024. Devices of one
type are alike, so that the paper's binaries (variant j on device i) add up to a count for each replica kind:

    maximise    sum of quota * accuracy / demand                             mean accuracy of all requests
    subject to  quotas of a service sum to ratio * demand,   quotas / throughput <= replicas,   units within the budgets

Among plans of nearly equal accuracy the cheaper one is taken: the whole budget counts as `TIE`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from baselines.accuracy_scaling import TIE

ROUNDING = 1e-6  # of the load that is carried at most


@dataclass(frozen=True, eq=False)
class Problem:
    """What the program chooses from: O replica kinds, S services, D device types, C candidates.

    Attributes:
        throughput_rps: (S, O) of one replica; 0 where it does not serve the service.
        accuracy: (S, O).
        units: (O, D) of one replica.
        cost: (O,) of one replica, the whole budget being 1.
        candidate: (O,) which candidate each kind is of.
        most: (C,) replicas of each candidate.
        budget: (D,).
    """

    throughput_rps: np.ndarray
    accuracy: np.ndarray
    units: np.ndarray
    cost: np.ndarray
    candidate: np.ndarray
    most: np.ndarray
    budget: np.ndarray


@dataclass(frozen=True, eq=False)
class Plan:
    """A solution: replicas (O,), quotas_rps (S, O), the ratio of the demand that is carried; False where not proven best."""

    replicas: np.ndarray
    quotas_rps: np.ndarray
    ratio: float
    proven: bool


def solve(problem: Problem, demand_rps: np.ndarray, ratio: float, time_limit_s: float) -> Plan | None:
    """The plan of the greatest mean accuracy that carries `ratio` times the demand; None where none was found.

    Args:
        problem: what to choose from.
        demand_rps: (S,) > 0.
        ratio: > 0.
        time_limit_s: of the solver.
    """
    return _solve(problem, demand_rps, time_limit_s, ratio)


def most_carried(problem: Problem, demand_rps: np.ndarray, most: float, time_limit_s: float) -> Plan | None:
    """The plan that carries the greatest ratio of the demand, the same for all services, `most` at most."""
    return _solve(problem, demand_rps, time_limit_s, None, most)


def _solve(p: Problem, demand_rps: np.ndarray, time_limit_s: float, ratio: float | None, most: float = 0.0) -> Plan | None:
    """Columns: replicas of each kind, a quota (as a share of all demand) of each route, the ratio."""
    services, kinds = p.throughput_rps.shape
    total_rps = demand_rps.sum()
    z, o = np.nonzero(p.throughput_rps)
    routes = len(z)
    columns = kinds + routes + 1
    quota = slice(kinds, kinds + routes)
    value = np.zeros(columns)
    if ratio is None:
        value[-1] = 1.0
    else:
        value[quota] = p.accuracy[z, o]
        value[:kinds] = -TIE * p.cost
    shared, used, counted, held = (np.zeros((n, columns)) for n in (services, kinds, len(p.most), len(p.budget)))
    shared[z, kinds + np.arange(routes)] = 1.0
    shared[:, -1] = -demand_rps / total_rps
    used[o, kinds + np.arange(routes)] = total_rps / p.throughput_rps[z, o]
    used[:, :kinds] = -np.eye(kinds)
    counted[p.candidate, np.arange(kinds)] = 1.0
    held[:, :kinds] = p.units.T
    upper = np.concatenate([p.most[p.candidate], np.full(routes, np.inf), [most if ratio is None else ratio]])
    lower = np.concatenate([np.zeros(kinds + routes), [0.0 if ratio is None else ratio]])
    result = milp(
        -value, integrality=np.concatenate([np.ones(kinds), np.zeros(routes + 1)]), bounds=Bounds(lower, upper),
        constraints=[LinearConstraint(shared, 0, 0), LinearConstraint(used, -np.inf, 0),
                     LinearConstraint(counted, -np.inf, p.most), LinearConstraint(held, -np.inf, p.budget)],
        options={"time_limit": time_limit_s, "mip_rel_gap": 0})
    if result.x is None:
        return None
    quotas_rps = np.zeros((services, kinds))
    quotas_rps[z, o] = np.maximum(0.0, result.x[quota]) * total_rps
    return Plan(np.round(result.x[:kinds]).astype(int), quotas_rps, float(result.x[-1]), result.status == 0)

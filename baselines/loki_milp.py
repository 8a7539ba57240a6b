"""Loki's accuracy scaling: how much of a pipeline's load takes which path of variants, on a cluster of fixed size.

Source: Ahmad et al., "Loki: A System for Serving ML Inference Pipelines with Hardware and Accuracy Scaling", HPDC 2024
(arXiv 2407.03583). A path is one variant of each stage:

    maximise    sum over paths of share * accuracy of the path
    subject to  load of a variant, over all paths through it, <= replicas * throughput;   one kind (size, batch) for a variant
                sum over stages of the slowest kind's latency <= half of the SLO;   units within the budgets

Routes here are each stage's own, so that a request may take any path of the variants in use: all of them keep the latency.
Among plans of nearly equal accuracy the cheaper one is taken: the whole budget counts as `TIE`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from baselines.accuracy_scaling import TIE


@dataclass(frozen=True, eq=False)
class Problem:
    """What the program chooses from: O options (a replica kind of a stage, with its variant), D device types, C candidates.

    Attributes:
        stage, variant: (O,) of an option; variants are numbered over all stages.
        accuracy, throughput_rps, latency_s, cost: (O,) of one replica; the cost of the whole budget is 1.
        units: (O, D) of one replica.
        candidate: (O,) which candidate each kind is of.
        most: (C,) replicas of each candidate.
        budget: (D,).
        limit_s: of the latencies of all stages.
    """

    stage: np.ndarray
    variant: np.ndarray
    accuracy: np.ndarray
    throughput_rps: np.ndarray
    latency_s: np.ndarray
    cost: np.ndarray
    units: np.ndarray
    candidate: np.ndarray
    most: np.ndarray
    budget: np.ndarray
    limit_s: float

    def paths(self) -> np.ndarray:
        """All paths, (P, stages) of variants."""
        stages = [np.unique(self.variant[self.stage == s]) for s in range(int(self.stage.max()) + 1)]
        return np.array(list(itertools.product(*stages)))


@dataclass(frozen=True, eq=False)
class Plan:
    """A solution: replicas (O,), the load of each variant as a share of all (V,), the share carried; False if not proven."""

    replicas: np.ndarray
    shares: np.ndarray
    carried: float
    proven: bool


def scale_accuracy(problem: Problem, load_rps: float, time_limit_s: float, carried: float | None = 1.0) -> Plan | None:
    """The plan of the greatest accuracy that carries a share of the load; None where none was found.

    Args:
        problem: what to choose from.
        load_rps: > 0.
        time_limit_s: of the solver.
        carried: share of the load; None: the greatest that can be carried, 1 at most, whatever the accuracy.
    """
    p, paths = problem, problem.paths()
    options, stages, variants = len(p.stage), paths.shape[1], int(p.variant.max()) + 1
    n, used, share, slowest = (slice(0, options), slice(options, 2 * options), slice(2 * options, 2 * options + len(paths)),
                               slice(2 * options + len(paths), 2 * options + len(paths) + stages))
    columns = slowest.stop
    accuracy = np.zeros(variants)
    accuracy[p.variant] = p.accuracy
    value = np.zeros(columns)
    value[share] = 1.0 if carried is None else accuracy[paths].prod(1)
    value[n] = 0.0 if carried is None else -TIE * p.cost
    through = np.zeros((variants, columns))  # load of a variant, less what its replicas carry
    for k, path in enumerate(paths):
        through[path, share.start + k] = 1.0
    through[p.variant, np.arange(options)] = -p.throughput_rps / load_rps
    one, counted, held = (np.zeros((rows, columns)) for rows in (variants, len(p.most), len(p.budget)))
    one[p.variant, options + np.arange(options)] = 1.0
    counted[p.candidate, np.arange(options)] = 1.0
    held[:, n] = p.units.T
    runs, waits = np.zeros((options, columns)), np.zeros((options, columns))
    runs[:, n], runs[:, used] = np.eye(options), -np.diag(p.most[p.candidate])
    waits[:, used], waits[np.arange(options), slowest.start + p.stage] = np.diag(p.latency_s), -1.0
    whole, late = np.zeros((1, columns)), np.zeros((1, columns))
    whole[0, share], late[0, slowest] = 1.0, 1.0
    upper = np.concatenate([p.most[p.candidate], np.ones(options), np.ones(len(paths)), np.full(stages, np.inf)])
    result = milp(
        -value, integrality=np.concatenate([np.ones(2 * options), np.zeros(columns - 2 * options)]), bounds=Bounds(0, upper),
        constraints=[LinearConstraint(a, -np.inf, b) for a, b in
                     ((through, 0), (one, 1), (counted, p.most), (held, p.budget), (runs, 0), (waits, 0), (late, p.limit_s))]
        + [LinearConstraint(whole, carried or 0.0, carried or 1.0)],
        options={"time_limit": time_limit_s, "mip_rel_gap": 0})
    if result.x is None:
        return None
    shares = np.zeros(variants)
    for path, part in zip(paths, result.x[share]):
        shares[path] += max(0.0, part)
    return Plan(np.round(result.x[n]).astype(int), shares, float(result.x[share].sum()), result.status == 0)

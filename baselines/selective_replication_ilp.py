"""Selective Replication as an integer program: the copies that let the whole load grow most.

    tolerance_m = copies_m * throughput_m / rate_m
    maximise    min_m tolerance_m + 1e-4 * sum_m tolerance_m,   weights within the memory of each device

Source: AlpaServe's published program (`sr-ilp`, there with CBC). Throughput is 1 / latency on one device.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from baselines.placement import Group, Placement, PlacementProblem, normal
from baselines.selective_replication import single_devices
from envs.contract import Shape

SUM_WEIGHT = 1e-4


def tolerances(problem: PlacementProblem, rate_rps: np.ndarray, copies: np.ndarray, shape: Shape) -> np.ndarray:
    """(M,) factor by which each model's load can grow, on so many copies (M,) of it."""
    latency_s = problem.stage_s[:, problem.shapes.index(shape), 0]
    return copies / (latency_s * np.maximum(rate_rps, np.finfo(float).tiny))


def replicate_by_ilp(problem: PlacementProblem, rate_rps: np.ndarray, time_limit_s: float = 30.0) -> Placement:
    """The best placement that HiGHS finds within the limit.

    Args:
        problem: the models; activations count as if the largest were on every device.
        rate_rps: (M,) load of each model, > 0.
        time_limit_s: of the solver.

    Raises:
        ValueError: a rate is not positive.
        TimeoutError: no placement was found within the limit.
    """
    if not np.all(rate_rps > 0):
        raise ValueError("a model without load tolerates any: leave it out, or give it a rate above 0")
    shapes = single_devices(problem)
    models, devices = len(problem.models), len(shapes)
    weights = problem.weight_bytes[:, problem.shapes.index(shapes[0])]
    runs = np.isfinite(weights)
    per_copy = np.where(runs, tolerances(problem, rate_rps, np.ones(models), shapes[0]), 0.0)
    memory = (problem.memory_bytes - problem.activation_bytes.max()) / problem.memory_bytes
    share = np.where(runs, weights, 0.0) / problem.memory_bytes
    # Columns: a binary for each (model, device), model by model, and the least tolerance.
    least = sparse.hstack([sparse.kron(sparse.diags_array(per_copy), np.ones((1, devices))), -np.ones((models, 1))])
    held = sparse.hstack([sparse.kron(share[None], sparse.eye_array(devices)), sparse.csr_array((devices, 1))])
    gain = np.append(np.repeat(SUM_WEIGHT * per_copy, devices), 1.0)
    result = milp(
        -gain, integrality=np.append(np.ones(models * devices), 0),
        bounds=Bounds(0, np.append(np.repeat(runs.astype(float), devices), np.inf)),
        constraints=[LinearConstraint(least, 0, np.inf), LinearConstraint(held, -np.inf, memory)],
        options={"time_limit": time_limit_s, "mip_rel_gap": 1e-6},
    )
    if result.x is None:
        raise TimeoutError(f"no placement of {models} models on {devices} devices within {time_limit_s:g} s; allow more")
    hosted = result.x[:-1].reshape(models, devices) > 0.5
    return normal([Group(shape, tuple(int(m) for m in np.flatnonzero(hosted[:, d]))) for d, shape in enumerate(shapes)])

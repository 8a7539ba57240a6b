"""InfAdapter's integer program, solved exactly: how much of each variant, and which share of the load each gets.

Source: Salmani et al., "Reconciling High Accuracy, Cost-Efficiency, and Low Latency of Inference Serving Systems",
EuroMLSys 2023 (arXiv 2304.10892), in the normalised form of its artefact:

    maximise    w_accuracy * sum_m q_m acc_m / load - w_cost * sum_m cost_m - w_change * max_m changed_m load_ratio_m
    subject to  sum_m q_m = load,  0 <= q_m <= capacity_m(level_m),  units within the budget of each device type

A variant is *changed* where it is on and its level differs from the one before: switching off costs nothing, a resize is
a full load. The latency bound is inside the capacities: the load that is carried within the SLO.

`solve` is exact for any table of capacities (`baselines.infadapter_search`); `baselines.infadapter_milp` hands the same
program to a mixed-integer solver, to check it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from baselines.infadapter_search import ROUNDING, Program, search

MOST_NODES = 2_000_000  # of the search tree, about 100 ms
Numbers = Sequence[float] | np.ndarray


@dataclass(frozen=True, eq=False)
class Choices:
    """What the program chooses from: V variants, each with up to L levels, level 0 being none.

    Attributes:
        accuracy: shape (V,), in [0, 1].
        load_ratio: shape (V,), load time over the longest load time in the scenario.
        units: shape (V, L), cores or devices at each level; -1 where a variant has no such level.
        capacity_rps: shape (V, L), load carried within the SLO at each level; level 0: 0.
        cost: shape (V, L), price x units over the price of the whole budget.
        device: shape (V,), index of its device type.
        budget: shape (D,), units of each device type.
        w_accuracy, w_cost, w_change: weights of the objective.
    """

    accuracy: np.ndarray
    load_ratio: np.ndarray
    units: np.ndarray
    capacity_rps: np.ndarray
    cost: np.ndarray
    device: np.ndarray
    budget: np.ndarray
    w_accuracy: float = 1.0
    w_cost: float = 0.05
    w_change: float = 0.001


@dataclass(frozen=True)
class Plan:
    """A solution.

    Attributes:
        levels: of each variant.
        quotas_rps: load that each variant gets; less than the load in all where it cannot be carried.
        objective: nan where the load cannot be carried.
        feasible: True where the budget can carry the load.
        proven: False where a time limit ended the search before the best was proven.
    """

    levels: tuple[int, ...]
    quotas_rps: tuple[float, ...]
    objective: float
    feasible: bool = True
    proven: bool = True


def quotas(load_rps: float, accuracy: Numbers, capacity_rps: Numbers) -> list[float]:
    """Load of each variant, the most accurate first, each up to its capacity: what the linear program in q would choose.

    Args:
        load_rps: load to be shared out.
        accuracy: of each variant; equal ones are served in order.
        capacity_rps: of each variant.

    Returns:
        Quotas (req/s), in the order given; their sum falls short of the load where the capacities do.
    """
    rest, shares = load_rps, [0.0] * len(accuracy)
    for m in sorted(range(len(accuracy)), key=lambda m: -accuracy[m]):
        shares[m] = min(capacity_rps[m], max(rest, 0.0))
        rest -= shares[m]
    return shares


def objective(choices: Choices, load_rps: float, previous: Numbers, levels: Numbers) -> float:
    """The objective of given levels (`previous` as in `solve`); nan where they cannot carry the load."""
    rows, chosen = np.arange(len(levels)), np.asarray(levels, dtype=np.int64)
    capacity = choices.capacity_rps[rows, chosen]
    if capacity.sum() < load_rps * (1 - ROUNDING):
        return float("nan")
    accuracy = sum(q * a for q, a in zip(quotas(load_rps, choices.accuracy, capacity), choices.accuracy)) / load_rps
    changed = [r for r, level, before in zip(choices.load_ratio, levels, previous) if level and level != before]
    cost = choices.cost[rows, chosen].sum()
    return float(choices.w_accuracy * accuracy - choices.w_cost * cost - choices.w_change * max(changed, default=0.0))


def solve(choices: Choices, load_rps: float, previous: Numbers, most_nodes: int = MOST_NODES) -> Plan:
    """The best plan for a load; the most capacity, with `feasible` False, where no plan carries it.

    Args:
        choices: what to choose from.
        load_rps: forecast load, > 0.
        previous: level of each variant before the change; -1 for one that is not among its levels.
        most_nodes: of the search tree, beyond which the best plan found is taken unproven.

    The same question has the same answer. Among equal objectives (within 1e-12) a plan of one or two variants comes first.

    Raises:
        ValueError: the load is not above 0.
    """
    if not load_rps > 0:
        raise ValueError(f"a load of {load_rps} req/s: the objective divides by it, give one above 0")
    order = np.argsort(-choices.accuracy, kind="stable")
    bounds = np.unique([0.0, *choices.load_ratio])
    capacity_rps = np.ascontiguousarray(choices.capacity_rps[order], dtype=np.float64)
    found, best, proven = search(
        Program(
            choices.w_accuracy * choices.accuracy[order] / load_rps,
            np.asarray(choices.load_ratio, dtype=np.float64)[order],
            np.asarray(choices.units, dtype=np.int64)[order],
            capacity_rps,
            choices.w_cost * choices.cost[order],
            np.asarray(choices.device, dtype=np.int64)[order],
            np.asarray(choices.budget, dtype=np.int64),
            float(load_rps),
            float(choices.w_change),
            np.asarray(previous, dtype=np.int64)[order],
            np.argsort(capacity_rps, axis=1, kind="stable"),
            bounds[::-1] if choices.w_change > 0 else bounds[-1:],
        ),
        most_nodes,
    )
    if not found:
        return plan_of(choices, load_rps, previous, most_capacity(choices), feasible=False, proven=proven)
    levels = np.empty(len(order), dtype=np.int64)
    levels[order] = best
    return plan_of(choices, load_rps, previous, levels, proven=proven)


def plan_of(choices: Choices, load_rps: float, previous: Numbers, levels: np.ndarray, feasible: bool = True,
            proven: bool = True) -> Plan:
    """The plan of given levels: their quotas and objective."""
    capacity = choices.capacity_rps[np.arange(len(levels)), levels]
    shares = quotas(load_rps, choices.accuracy, capacity)
    return Plan(tuple(int(n) for n in levels), tuple(float(q) for q in shares),
                objective(choices, load_rps, previous, levels), feasible, proven)


def most_capacity(choices: Choices) -> np.ndarray:
    """Levels for a load beyond all capacity: the level that carries most on the whole budget, then the same for what is left.

    With InfAdapter's variants this is its fall-back, the smallest variant on all cores.
    """
    levels, left = np.zeros(len(choices.accuracy), dtype=np.int64), choices.budget.copy()
    while True:
        room = (choices.units > 0) & (choices.units <= left[choices.device][:, None]) & (levels == 0)[:, None]
        gain = np.where(room, choices.capacity_rps, 0.0)
        m, level = np.unravel_index(np.argmax(gain), gain.shape)
        if gain[m, level] <= 0:
            return levels
        levels[m] = level
        left[choices.device[m]] -= choices.units[m, level]

"""InfAdapter's integer program, solved exactly: how much of each variant, and which share of the load each gets.

Source: Salmani et al., "Reconciling High Accuracy, Cost-Efficiency, and Low Latency of Inference Serving Systems",
EuroMLSys 2023 (arXiv 2304.10892), in the normalised form of its artefact:

    maximise    w_accuracy * sum_m q_m acc_m / load - w_cost * sum_m cost_m - w_change * max_m changed_m load_ratio_m
    subject to  sum_m q_m = load,  0 <= q_m <= capacity_m(level_m),  units within the budget of each device type

A variant is *changed* where it is on and its level differs from the one before: switching off costs nothing, a resize is
a full load. The latency bound is inside the capacities: the load that is carried within the SLO.

`solve` searches depth first with bounds (compiled), `solve_milp` hands the multiple-choice form to HiGHS; both are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

MOST_NODES = 500_000  # of the search tree, about 30 ms; beyond it `solve` asks HiGHS
EPSILON = 1e-12  # an objective has to be better by this much
ROUNDING = 1e-9  # of the load, that capacities may fall short

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


def solve(choices: Choices, load_rps: float, previous: Numbers) -> Plan:
    """The best plan for a load; the most capacity, with `feasible` False, where no plan carries it.

    Args:
        choices: what to choose from.
        load_rps: forecast load, > 0.
        previous: level of each variant before the change; -1 for one that is not among its levels.

    Among equal objectives (within 1e-12) the first in lexicographic order of levels wins, the most accurate variant
    first. Beyond `MOST_NODES` nodes `solve_milp` goes on, and the better of the two answers counts.

    Raises:
        ValueError: the load is not above 0.
    """
    if not load_rps > 0:
        raise ValueError(f"a load of {load_rps} req/s: the objective divides by it, give one above 0")
    order = np.argsort(-choices.accuracy, kind="stable")
    found, best, proven = _search(
        choices.accuracy[order], choices.load_ratio[order], choices.units[order], choices.capacity_rps[order],
        choices.cost[order], choices.device[order], choices.budget, choices.w_accuracy, choices.w_cost, choices.w_change,
        float(load_rps), np.asarray(previous, dtype=np.int64)[order], MOST_NODES)
    levels = np.empty(len(order), dtype=np.int64)
    levels[order] = best
    if not proven:
        other = solve_milp(choices, load_rps, previous)
        plan = plan_of(choices, load_rps, previous, levels, proven=False)
        return plan if found and not (other.feasible and other.objective >= plan.objective) else other
    if not found:
        return plan_of(choices, load_rps, previous, most_capacity(choices), feasible=False)
    return plan_of(choices, load_rps, previous, levels)


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


@njit(cache=True)
def _search(accuracy, load_ratio, units, capacity_rps, cost, device, budget, w_accuracy, w_cost, w_change, load_rps, previous,
            most_nodes):
    """Depth-first search over variants, the most accurate first; returns (found, levels, proven).

    At each node the rest of the load is bounded by the best objective per request that a variant still to come could give,
    and by the greatest capacity per unit on the budget that is left.
    """
    variants, levels = units.shape
    # Over the variants from m on: most objective per req/s, and most capacity per unit of each device type.
    value_per_rps = np.full(variants + 1, -np.inf)
    rps_per_unit = np.zeros((variants + 1, budget.size))
    for m in range(variants - 1, -1, -1):
        value_per_rps[m] = value_per_rps[m + 1]
        rps_per_unit[m] = rps_per_unit[m + 1]
        for n in range(1, levels):
            if units[m, n] > 0 and capacity_rps[m, n] > 0:
                carried = min(capacity_rps[m, n], load_rps)
                value_per_rps[m] = max(value_per_rps[m], w_accuracy * accuracy[m] / load_rps - w_cost * cost[m, n] / carried)
                dense = capacity_rps[m, n] / units[m, n]
                rps_per_unit[m, device[m]] = max(rps_per_unit[m, device[m]], dense)

    rest = np.empty(variants + 1)
    value = np.zeros(variants + 1)  # accuracy and cost so far
    longest = np.zeros(variants + 1)  # load ratio of the changed so far
    left = np.empty((variants + 1, budget.size), dtype=np.int64)
    choice = np.zeros(variants, dtype=np.int64)  # next level to try
    taken = np.zeros(variants, dtype=np.int64)
    best = np.zeros(variants, dtype=np.int64)
    best_value = -np.inf
    rest[0], left[0] = load_rps, budget
    m, nodes = 0, 0
    while m >= 0:
        n = choice[m] if m < variants else levels
        if n >= levels:
            if m < variants:
                taken[m] = 0
            m -= 1
            continue
        choice[m] = n + 1
        if n and (units[m, n] <= 0 or units[m, n] > left[m, device[m]] or capacity_rps[m, n] <= 0):
            continue
        nodes += 1
        if nodes > most_nodes:
            return best_value > -np.inf, best, False
        taken[m] = n
        carried = min(capacity_rps[m, n], rest[m]) if n else 0.0
        rest[m + 1] = rest[m] - carried
        value[m + 1] = value[m] + w_accuracy * accuracy[m] * carried / load_rps - w_cost * cost[m, n]
        longest[m + 1] = max(longest[m], load_ratio[m]) if n and n != previous[m] else longest[m]
        left[m + 1] = left[m]
        left[m + 1, device[m]] -= max(units[m, n], 0)
        now = value[m + 1] - w_change * longest[m + 1]
        if rest[m + 1] <= ROUNDING * load_rps:
            if now > best_value + EPSILON:
                best_value = now
                best[:] = 0
                best[:m + 1] = taken[:m + 1]
            continue
        reach = 0.0
        for d in range(budget.size):
            reach += left[m + 1, d] * rps_per_unit[m + 1, d]
        if reach * (1 + ROUNDING) < rest[m + 1] or now + rest[m + 1] * value_per_rps[m + 1] <= best_value + EPSILON:
            continue
        m += 1
        if m < variants:
            choice[m] = 0
    return best_value > -np.inf, best, True


def solve_milp(choices: Choices, load_rps: float, previous: Numbers, time_limit_s: float = 1.0) -> Plan:
    """The same program in multiple-choice form (a binary for each variant and level), solved by HiGHS within a time limit.

    Where the limit leaves no solution at all, the plan is that of a load that cannot be carried, with `proven` False.
    """
    m_of, n_of = np.nonzero((choices.units > 0) & (choices.capacity_rps > 0))
    on, variants, devices = m_of.size, len(choices.accuracy), choices.budget.size
    rows = np.arange(on)
    # Columns: a binary for each (variant, level), the share of the load of each variant, and the greatest load ratio.
    pick = sparse.csr_array((np.ones(on), (m_of, rows)), shape=(variants, on))
    capacity = sparse.csr_array((choices.capacity_rps[m_of, n_of] / load_rps, (m_of, rows)), shape=(variants, on))
    held = sparse.csr_array((choices.units[m_of, n_of].astype(float), (choices.device[m_of], rows)), shape=(devices, on))
    changed = n_of != np.asarray(previous)[m_of]
    loading = sparse.csr_array((choices.load_ratio[m_of] * changed, (m_of, rows)), shape=(variants, on))
    shares, top = sparse.eye_array(variants, format="csr"), sparse.csr_array(np.ones((variants, 1)))
    constraints = [
        LinearConstraint(sparse.hstack([pick, sparse.csr_array((variants, variants + 1))]), -np.inf, 1),
        LinearConstraint(sparse.hstack([-capacity, shares, sparse.csr_array((variants, 1))]), -np.inf, 0),
        LinearConstraint(sparse.hstack([held, sparse.csr_array((devices, variants + 1))]), -np.inf, choices.budget),
        LinearConstraint(sparse.hstack([loading, sparse.csr_array((variants, variants)), -top]), -np.inf, 0),
        LinearConstraint(np.concatenate([np.zeros(on), np.ones(variants), [0.0]]), 1, 1),
    ]
    gain = np.concatenate([-choices.w_cost * choices.cost[m_of, n_of], choices.w_accuracy * choices.accuracy,
                           [-choices.w_change]])
    result = milp(-gain, integrality=np.concatenate([np.ones(on), np.zeros(variants + 1)]), bounds=Bounds(0, 1),
                  constraints=constraints, options={"time_limit": time_limit_s, "mip_rel_gap": 0})
    proven = result.status in (0, 2)  # optimal, or proven infeasible
    if result.x is None:
        return plan_of(choices, load_rps, previous, most_capacity(choices), feasible=False, proven=proven)
    levels = np.zeros(variants, dtype=np.int64)
    chosen = result.x[:on] > 0.5
    levels[m_of[chosen]] = n_of[chosen]
    return plan_of(choices, load_rps, previous, levels, proven=proven)

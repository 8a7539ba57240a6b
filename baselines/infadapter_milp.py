"""InfAdapter's program for HiGHS, a mixed-integer solver: it checks `baselines.infadapter_ilp.solve`, and is its peer.

`solve_milp` takes any table of capacities; `solve_compact` only lines, and a budget of hundreds of units for it.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from baselines.infadapter_ilp import Choices, Numbers, Plan, most_capacity, plan_of


def solve_milp(choices: Choices, load_rps: float, previous: Numbers, time_limit_s: float = 1.0) -> Plan:
    """The program in multiple-choice form: a binary for each variant and level. Exact for any table of capacities.

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


def solve_compact(
    choices: Choices, slope: np.ndarray, intercept: np.ndarray, load_rps: float, previous: Numbers,
    time_limit_s: float = 30.0, gap: float = 1e-4,
) -> Plan:
    """The program in compact form: whole numbers of units, and capacity = slope x units + intercept where a variant is on.

    For one device type, levels that are numbers of units (1 not allowed), and cost in proportion to units. It knows the line
    only: on a table of rounded capacities its levels may fall short of the load.

    Args:
        choices: the rest of the program.
        slope: shape (V,), req/s per unit.
        intercept: shape (V,), req/s.
        load_rps: as in `solve`.
        previous: as in `solve`.
        time_limit_s: of HiGHS; without a solution by then the plan is that of a load that cannot be carried, unproven.
        gap: relative, at which HiGHS stops.
    """
    v, most = len(choices.accuracy), float(choices.budget[0])
    one, none, before = sparse.eye_array(v), sparse.csr_array((v, v)), sparse.diags_array(np.asarray(previous, dtype=float))
    top = sparse.csr_array((v, 1))
    # Columns: units n, on y, changed z, quota q of each variant, and the greatest load ratio.
    rows = [
        (sparse.hstack([-sparse.diags_array(slope), -sparse.diags_array(intercept), none, one, top]), -np.inf, 0.0),
        (sparse.hstack([none, -load_rps * one, none, one, top]), -np.inf, 0.0),  # no quota where it is off
        (sparse.hstack([one, -most * one, none, none, top]), -np.inf, 0.0),  # no units where it is off
        (sparse.hstack([one, -2 * one, none, none, top]), 0.0, np.inf),  # two or more where it is on
        (sparse.hstack([one, -before, -most * one, none, top]), -np.inf, 0.0),  # unchanged: as many as before
        (sparse.hstack([one, -before, most * one, none, top]), 0.0, np.inf),
        (sparse.hstack([none, none, -sparse.diags_array(choices.load_ratio), none, np.ones((v, 1))]), 0.0, np.inf),
        (np.concatenate([np.ones(v), np.zeros(3 * v + 1)])[None], -np.inf, most),  # budget
        (np.concatenate([np.zeros(3 * v), np.ones(v), [0.0]])[None], load_rps, load_rps),  # all of the load
    ]
    per_unit = choices.cost[0, -1] / choices.units[0, -1]
    gain = choices.w_accuracy * choices.accuracy / load_rps
    loss = np.concatenate([np.full(v, choices.w_cost * per_unit), np.zeros(2 * v), -gain, [choices.w_change]])
    result = milp(
        loss,
        integrality=np.concatenate([np.ones(3 * v), np.zeros(v + 1)]),
        bounds=Bounds(0, np.concatenate([np.full(v, most), np.ones(2 * v), np.full(v, load_rps), [1.0]])),
        constraints=[LinearConstraint(matrix, low, high) for matrix, low, high in rows],
        options={"time_limit": time_limit_s, "mip_rel_gap": gap},
    )
    proven = result.status in (0, 2)
    if result.x is None:
        return plan_of(choices, load_rps, previous, most_capacity(choices), feasible=False, proven=proven)
    return plan_of(choices, load_rps, previous, np.round(result.x[:v]).astype(np.int64), proven=proven)

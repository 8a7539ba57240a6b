"""IPA's program for HiGHS, a mixed-integer solver: it checks `baselines.ipa_knapsack.solve`, and is its peer.

A binary for each option. For the sum of scores only: a product is not linear.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from baselines.ipa_knapsack import Options, Plan, objective


def solve_milp(options: Options, time_limit_s: float = 1.0) -> Plan | None:
    """The best plan; None where there is none, or the limit left none.

    Raises:
        ValueError: the scores are to be multiplied.
    """
    if options.product:
        raise ValueError("a product of scores is not linear; solve_milp is for sums")
    n = len(options.stage)
    one = sparse.csr_array((np.ones(n), (options.stage, np.arange(n))), shape=(options.stages, n))
    result = milp(
        options.penalty - options.weight * options.score,
        integrality=np.ones(n),
        bounds=Bounds(0, 1),
        constraints=[LinearConstraint(one, 1, 1), LinearConstraint(options.latency_s[None], -np.inf, options.slo_s),
                     LinearConstraint(options.units.T, -np.inf, options.budget)],
        options={"time_limit": time_limit_s, "mip_rel_gap": 0},
    )
    if result.x is None:
        return None
    chosen = tuple(int(o) for o in np.flatnonzero(result.x > 0.5))
    return Plan(chosen, objective(options, chosen), result.status == 0)

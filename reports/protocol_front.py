"""Violations at equal cost and accuracy: what the planners of a cell would have, taking turns as suits them best.

A Pareto front of what turns of planners reach: shares of the time for which each of them runs, so that together they cost
no more than a policy and their answers are no less accurate, with the fewest violations. The shares are found on the very
windows reported, in the planners' favour.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linprog

SLACK = 1e-9  # on cost and accuracy: a policy that is a planner itself is as cheap and as accurate


def turns(planners: Sequence[Sequence[float]], policy: Sequence[float]) -> np.ndarray | None:
    """(N,) shares of the time of N planners that violate least at a policy's cost and accuracy; None: no shares reach them.

    Args:
        planners: violations, accuracy (of answers in time, over all requests) and cost of each, means over windows.
        policy: the same of the policy.
    """
    violations, accuracy, cost = np.array(planners, dtype=np.float64).reshape(-1, 3).T
    if not len(cost):
        return None
    of_answers = policy[1] / (1 - policy[0]) if policy[0] < 1 else 0.0
    found = linprog(violations, A_ub=[cost, -(accuracy + of_answers * violations)],
                    b_ub=[policy[2] + SLACK, -of_answers + SLACK], A_eq=[np.ones(len(cost))], b_eq=[1.0], bounds=(0, 1))
    return np.asarray(found.x) if found.success else None

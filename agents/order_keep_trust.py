"""Where the network is trusted: on loads, cold starts and prices like those that it has learnt; elsewhere a planner decides.

What each rule would have earned lately on the counted load was tried as a second sign, and dropped: over the last hour the
bolder rule leads until the burst comes, and on overload the response is too rough to tell (docs/agents/order-keep-network.md).
"""

from __future__ import annotations

import numpy as np

from agents.order_keep_features import Question

OUTSIDE = 4  # features beyond the range of training, at which a load is strange
W_COST, W_SLO = (0.005, 0.6), (0.2, 12.0)  # prices in training, and a little more
NETWORK, CONSTANTS, PLANNER = 0, 1, 2  # who decides


def strange(features: np.ndarray, low: np.ndarray, high: np.ndarray) -> bool:
    """Whether features (F,) of the load look unlike any in training, whose ranges are (F,) each."""
    return int(((features < low) | (features > high)).sum()) >= OUTSIDE


def outside(question: Question, load_s: tuple[float, float]) -> bool:
    """Whether the cold start or the prices lie outside the range of training."""
    ranges = ((question.load_s, load_s), (question.w_cost, W_COST), (question.w_slo, W_SLO))
    return any(not low <= value <= high for value, (low, high) in ranges)

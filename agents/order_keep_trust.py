"""Where the network is trusted: on loads, cold starts and prices like those that it has learnt, and where it was ahead when
it and the planner were played (`agents.order_keep_confirmation`); elsewhere the planner decides.

What each rule would have earned lately on the counted load was tried as a further sign, and dropped: over the last hour the
bolder rule leads until the burst comes, and on overload the response is too rough to tell (docs/agents/order-keep-network.md).
"""

from __future__ import annotations

import numpy as np

from agents.order_keep_constants import nearest
from agents.order_keep_export import Exported
from agents.order_keep_features import Question

OUTSIDE = 4  # features beyond the range of training, at which a load is strange
W_COST, W_SLO = (0.005, 0.6), (0.2, 12.0)  # prices in training, and a little more


def doubt(network: Exported, features: np.ndarray, question: Question) -> str:
    """Why the network is not trusted with features (F,) of the load and a question; empty: it is."""
    if outside(question, network.load_s):
        return "cold start or prices outside the range of training"
    if strange(features, network.low, network.high):
        return "load outside the range of training"
    known_s = nearest(network.constants, question.load_s)
    return f"at a cold start near {known_s:.3g} s it was ahead" if known_s in network.planned_s else ""


def strange(features: np.ndarray, low: np.ndarray, high: np.ndarray) -> bool:
    """Whether features (F,) of the load look unlike any in training, whose ranges are (F,) each."""
    return int(((features < low) | (features > high)).sum()) >= OUTSIDE


def outside(question: Question, load_s: tuple[float, float]) -> bool:
    """Whether the cold start or the prices lie outside the range of training."""
    ranges = ((question.load_s, load_s), (question.w_cost, W_COST), (question.w_slo, W_SLO))
    return any(not low <= value <= high for value, (low, high) in ranges)

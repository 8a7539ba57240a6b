"""When the network is trusted: while it has not earned less than constants lately, on loads like those it has learnt.

Both rules are imagined on the counted load, interval by interval (`agents.order_keep_rules.Course`), so that each has a
score at every decision, whichever decides. The constants decide while they have earned more over the last `WINDOW`
intervals, and where the load or the question lies outside the range of training.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from agents.order_keep_features import Question
from agents.order_keep_response import Response
from agents.order_keep_rules import Course, Levels

WINDOW = 60  # intervals
LEAST = 15  # intervals before scores count
MARGIN = 0.002  # reward by which the constants must lead
OUTSIDE = 4  # features beyond the range of training, at which an observation is strange
NETWORK, CONSTANTS = 0, 1


class Trust:
    """Scores of network and constants on one cluster.

    Args:
        course: of two clusters, network and constants.
        response: of the menu.
        low, high: (F,) range of each feature in training.
    """

    def __init__(self, course: Course, response: Response, low: np.ndarray, high: np.ndarray) -> None:
        self._course, self._response, self._low, self._high = course, response, low, high
        self._leads: deque[float] = deque(maxlen=WINDOW)
        self._last: Levels | None = None
        self._before_rps = 0.0

    def watch(self, rps: float, levels: tuple[Levels, Levels]) -> None:
        """Takes the load of the interval that has ended, and what both rules say now."""
        if self._last is not None:
            before, now = np.full(2, self._before_rps), np.full(2, rps)
            value = self._response.earned(before, now, 1.0, self._course.question.w_slo)
            network, constants = self._course.step(self._last, value)
            self._leads.append(float(network - constants))
        self._last = Levels(*(np.stack(parts) for parts in zip(*levels)))
        self._before_rps = rps

    @property
    def lead(self) -> float:
        """Mean reward by which the network led lately; 0 before it counts."""
        return float(np.mean(self._leads)) if len(self._leads) >= LEAST else 0.0

    def why_not(self, features: np.ndarray) -> str:
        """Why the constants decide, or nothing."""
        outside = int(((features < self._low) | (features > self._high)).sum())
        if outside >= OUTSIDE:
            return f"{outside} features outside the range of training"
        return f"constants led by {-self.lead:.3g} lately" if self.lead < -MARGIN else ""


def outside_question(question: Question, load_s: tuple[float, float]) -> bool:
    """Whether cold start or prices lie outside the range of training."""
    return not (load_s[0] <= question.load_s <= load_s[1] and 0.005 <= question.w_cost <= 0.6 and 0.2 <= question.w_slo <= 12)

"""A limit on violations in place of a price: the price that keeps to it, found by a PID controller while learning.

Source: Stooke, Achiam and Abbeel, "Responsive Safety in Reinforcement Learning by PID Lagrangian Methods", ICML 2020
(arXiv 2007.03964). Plain Lagrange is the integral part alone, which oscillates.
"""

from __future__ import annotations

from dataclasses import dataclass

SMOOTHING = 0.9  # of the violations that the proportional and derivative parts see


@dataclass
class PIDLagrangian:
    """The price of a violation, at least 0.

    Attributes:
        limit: share of requests that may be violations.
        price: now; what it is at first.
        proportional, integral, derivative: gains, price per share of requests; the derivative acts on rises alone.
    """

    limit: float
    price: float
    proportional: float = 20.0
    integral: float = 2.0
    derivative: float = 20.0

    def __post_init__(self) -> None:
        if not 0 < self.limit < 1:
            raise ValueError(f"limit {self.limit}: give a share of violations above 0 and below 1")
        self._summed, self._smooth = self.price, self.limit

    def update(self, violations: float) -> float:
        """The price after a share of violations was seen."""
        before, self._smooth = self._smooth, SMOOTHING * self._smooth + (1 - SMOOTHING) * violations
        self._summed = max(0.0, self._summed + self.integral * (violations - self.limit))
        rise = max(0.0, self._smooth - before)
        self.price = max(0.0, self._summed + self.proportional * (self._smooth - self.limit) + self.derivative * rise)
        return self.price

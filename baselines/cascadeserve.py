"""CascadeServe as a policy: a plan of gears made beforehand, and at every decision the gear for the load.

Source: Kossmann et al., 2024 (arXiv 2406.14424). The plan is made in `baselines.cascadeserve_plan`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from baselines.cascadeserve_plan import Gear, cascades_of, deployment_of, gear_for, pareto
from envs.contract import Decision, Observation, Policy
from envs.envelope import project
from envs.scenario import Scenario

LEAST_LOAD_RPS = 1e-3
NARROWEST = 1.001  # of a range, at the greatest load that is carried


class CascadeServe(Policy):
    """Looks the gear up: up at once when the load rises, down once the first queue has drained for some decisions.

    Ranges of load grow by a constant factor, up to the greatest load that the budget carries; beyond it the last gear is
    taken, and the reason says so. Gears of the same kinds differ in thresholds and counts: the thresholds move at once, and
    replicas as they load, so that a gear needs no second time scale.

    For scenarios of one application, a cascade.

    Args:
        least_accuracy: cheapest gears of at least this accuracy; 0: gears of the best objective.
        ranges: of load, down to 1 % of the greatest.
        capacity_ratio: factor on throughputs.
        margin: factor on the load that was observed.
        hold: decisions in a row with a lower load and a drained queue before it goes down.

    Raises:
        ValueError: on reset, a scenario of another kind, or one that no cascade can serve.
    """

    def __init__(self, least_accuracy: float = 0.0, ranges: int = 24, capacity_ratio: float = 0.8, margin: float = 1.1,
                 hold: int = 3) -> None:
        self.least_accuracy, self.ranges, self.capacity_ratio = least_accuracy, ranges, capacity_ratio
        self.margin, self.hold = margin, hold
        self.memory_intervals = hold + 1

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """Settings to calibrate: ranges, the factors, and the hold."""
        return {"ranges": [8, 16, 24, 40], "capacity_ratio": [0.6, 0.7, 0.8, 0.9], "margin": [1.0, 1.1, 1.2, 1.3, 1.5],
                "hold": [0, 1, 3, 6, 12]}

    def reset(self, scenario: Scenario) -> None:
        """Makes the plan."""
        self._application, application = next(iter(scenario.applications.items()))
        if len(scenario.applications) != 1 or not application.cascade:
            raise ValueError(f"CascadeServe plans one application that is a cascade; scenario '{scenario.name}' has "
                             f"{', '.join(scenario.applications)}")
        self._scenario, self._first = scenario, application.services[0]
        self.gears = self._plan()
        self.deployments = [project(deployment_of(scenario, self._application, gear), scenario)[0] for gear in self.gears]
        self._at: int | None = None
        self._lower = self._overloads = 0

    def _plan(self) -> list[Gear]:
        cascades = pareto(cascades_of(self._scenario, self._application))

        def gear(load_rps: float) -> Gear | None:
            return gear_for(self._scenario, self._application, cascades, load_rps, self.capacity_ratio, self.least_accuracy)

        low, high = LEAST_LOAD_RPS, 1.0
        while gear(high) is not None:
            low, high = high, 2 * high
        while high > NARROWEST * low and gear(low) is not None:
            middle = math.sqrt(low * high)
            low, high = (middle, high) if gear(middle) is not None else (low, middle)
        found = [gear(load_rps) for load_rps in np.geomspace(low / 100, low, self.ranges)]
        gears = [g for g in found if g is not None]
        if not gears:
            raise ValueError(f"scenario '{self._scenario.name}': no cascade of its candidates keeps the SLO within the budget")
        return gears

    def decide(self, observation: Observation) -> Decision:
        """The gear for the load."""
        seen = observation.services[self._first]
        if math.isnan(seen.offered_rps):
            return Decision(observation.deployment, "no load observed: unchanged")
        load_rps = self.margin * seen.offered_rps
        wanted = next((i for i, gear in enumerate(self.gears) if gear.load_rps >= load_rps), None)
        over = wanted is None
        self._overloads += over
        wanted = len(self.gears) - 1 if wanted is None else wanted
        if self._at is None or wanted >= self._at:
            self._at, self._lower = wanted, 0
        else:
            drained = seen.queue <= max(1.0, seen.offered_rps * observation.interval_s * 0.01)
            self._lower = self._lower + 1 if drained else 0
            if self._lower > self.hold:
                self._at, self._lower = wanted, 0
        gear = self.gears[self._at]
        reason = f"load {load_rps:.3g} req/s: gear {self._at + 1} of {len(self.gears)}, up to {gear.load_rps:.3g}"
        reason = f"load {load_rps:.3g} req/s is more than the budget carries: the last gear" if over else reason
        details = {"forecast_rps": load_rps, "gear": float(self._at), "planned_accuracy": gear.cascade.accuracy,
                   "overloads": float(self._overloads)}
        return Decision(self.deployments[self._at], reason, details)

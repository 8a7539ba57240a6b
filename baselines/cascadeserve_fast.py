"""CascadeServe on two time scales: replicas as the gear says, thresholds at every decision from what is ready now.

A gear's thresholds act at once, its replicas load first: until then the next place would be short of them. Here each place
passes on no more than the ready replicas of the next one carry, at the measured point of its certainty curve that makes the
answers most accurate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from baselines.cascadeserve import LEAST_LOAD_RPS, CascadeServe
from baselines.two_time_scales import FAST_MARGIN
from envs.contract import Decision, Observation
from envs.scenario import CertaintyRow, Scenario


class FastCascadeServe(CascadeServe):
    """CascadeServe's gears with thresholds for the present load and the capacity that is ready.

    Where the load or the ready replicas are missing, and where no variant of a place has a certainty, the gear's thresholds
    stay.

    Args:
        fast_margin: factor on the present load, for bursts and for what comes before the next decision.
        settings: CascadeServe's.

    Raises:
        ValueError: a margin that is not above 0; as CascadeServe.
    """

    def __init__(self, fast_margin: float = FAST_MARGIN, **settings: Any) -> None:
        if not fast_margin > 0:
            raise ValueError(f"fast_margin {fast_margin}: give a factor above 0, such as 1.4")
        super().__init__(**settings)
        self.fast_margin = fast_margin

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """Settings to calibrate: CascadeServe's, and the fast margin."""
        return {**CascadeServe.space(scenario), "fast_margin": [1.0, 1.1, 1.2, 1.4, 1.6, 2.0]}

    def decide(self, observation: Observation) -> Decision:
        """The gear's decision with fresh thresholds."""
        slow = super().decide(observation)
        first = observation.services[self._first]
        needed_rps = self.fast_margin * first.offered_rps + first.queue / observation.interval_s
        if math.isnan(needed_rps):
            return slow
        thresholds = {**slow.deployment.thresholds, **self._thresholds(max(needed_rps, LEAST_LOAD_RPS), observation)}
        if thresholds == dict(slow.deployment.thresholds):
            return slow
        deployment = replace(slow.deployment, thresholds=thresholds)
        return replace(slow, deployment=deployment, reason=f"{slow.reason}; thresholds for what is ready")

    def _thresholds(self, needed_rps: float, observation: Observation) -> dict[tuple[str, int], float]:
        """By stage; the load falls from stage to stage by what leaves."""
        services = self._scenario.applications[self._application].services
        places = [self._ready(service, observation) for service in services]
        gear = {place.variant for place in self.gears[self._at or 0].cascade.places}
        found: dict[tuple[str, int], float] = {}
        for i, (here, after) in enumerate(pairwise(places)):
            answers = max(here, key=lambda v: (v in gear, here[v]), default=None)
            curve = self._scenario.variants[answers].certainty if answers else ()
            if not curve:
                break
            most = min(1.0, sum(after.values()) / needed_rps)
            row = self._best(curve, most, after)
            found[self._application, i] = row.threshold
            needed_rps = max(needed_rps * (1 - row.leave_ratio), LEAST_LOAD_RPS)
        return found

    def _best(self, curve: Sequence[CertaintyRow], most: float, after: Mapping[str, float]) -> CertaintyRow:
        """The measured point of the greatest accuracy that passes on at most `most`; where none does, that which passes least.

        Args:
            curve: certainty of the variant, by rising threshold.
            most: share that the next place carries.
            after: capacity of each variant there.
        """
        carried = sum(after.values())
        second = sum(self._scenario.variants[v].accuracy * rps for v, rps in after.items()) / carried if carried else 0.0
        fitting = [row for row in curve if 1 - row.leave_ratio <= most] or [max(curve, key=lambda row: row.leave_ratio)]
        return max(fitting, key=lambda row: row.leave_ratio * row.accuracy + (1 - row.leave_ratio) * second)

    def _ready(self, service: str, observation: Observation) -> dict[str, float]:
        """What the ready replicas of each variant of a service carry, req/s."""
        carried: dict[str, float] = {}
        for kind, seen in observation.kinds.items():
            variant = next((v for v in self._scenario.services[service].variants if v in kind.variants), None)
            if variant is not None and seen.ready > 0:
                carried[variant] = carried.get(variant, 0.0) + seen.ready * self._scenario.capacity_rps(kind, variant)
        return carried

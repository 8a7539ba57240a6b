"""The order/keep band with no shares of its own: a burst overflows at once.

Shares are as old as the last observation, and what a burst brings may be late before the next one. Without shares each request
goes where the fewest wait for a server, and on ties to the kind that the scenario lists first: with the most accurate listed
first, that serves what it can, and what would wait goes to the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from baselines.band import BandPlanner
from envs.contract import Decision, Observation
from envs.scenario import Scenario


class OverflowBand(BandPlanner):
    """The band's replicas; the dispatch rule shares out the load."""

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """As the band's, with more headroom."""
        return {**super().space(scenario), "order_margin": [1.2, 1.6, 2.0, 3.0, 4.0], "keep_margin": [1.5, 2.0, 3.0, 4.0, 6.0]}

    def decide(self, observation: Observation) -> Decision:
        """The band's decision without routes."""
        decision = super().decide(observation)
        return replace(decision, deployment=replace(decision.deployment, routes={}))

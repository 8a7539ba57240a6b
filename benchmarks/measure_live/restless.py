"""A policy that changes the deployment at every decision: each of them is then acted on."""

from __future__ import annotations

from envs.contract import Decision, Deployment, Observation, Policy
from envs.scenario import Scenario


class Restless(Policy):
    """Two replicas of the first candidate and three, in turns."""

    memory_intervals = 1

    def reset(self, scenario: Scenario) -> None:
        """See `Policy`."""
        self._kind = scenario.candidates[0].kinds[0]

    def decide(self, observation: Observation) -> Decision:
        """See `Policy`."""
        count = observation.deployment.replicas.get(self._kind, 0)
        return Decision(Deployment({self._kind: 3 if count == 2 else 2}), "never still")

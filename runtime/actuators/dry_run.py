"""The actuator that only remembers: to see what the autoscaler would do where nothing is to be changed."""

from __future__ import annotations

from envs.contract import Deployment
from runtime.account import UNSAID, Account, Grounds
from runtime.actuators.actuator import InForce, Outcome


class DryRun:
    """Holds a deployment in memory and changes nothing else.

    Args:
        deployment: in force at first.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._in_force = InForce(deployment, "1")

    def current(self) -> InForce:
        """See `Actuator`."""
        return self._in_force

    def apply(self, deployment: Deployment, version: str, decision_id: str, grounds: Grounds = UNSAID) -> Outcome:
        """See `Actuator`."""
        if decision_id == self._in_force.decision_id:
            return Outcome("applied", self._in_force.version)
        if version != self._in_force.version:
            return Outcome("conflict", self._in_force.version, f"version {self._in_force.version} is in force")
        self._in_force = InForce(deployment, str(int(version) + 1), decision_id)
        return Outcome("applied", self._in_force.version)

    def tell(self, account: Account) -> None:
        """See `Actuator`: nobody is there to be told."""

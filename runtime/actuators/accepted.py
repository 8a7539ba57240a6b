"""What is in force where nobody can be asked for it: the last deployment that was accepted."""

from __future__ import annotations

from pathlib import Path

from envs.contract import Decision, Deployment
from envs.scenario import Scenario
from runtime.account import UNSAID, Account, Grounds
from runtime.actuators.actuator import InForce, Outcome
from runtime.autoscaler.decision import problem_with
from runtime.autoscaler.journal import newest_first
from runtime.deployment_json import DeploymentError, from_json


class LastAccepted:
    """Holds a deployment in memory.

    Args:
        deployment: in force at first.
        decision_id: that it came from; "": from none.
    """

    def __init__(self, deployment: Deployment, decision_id: str = "") -> None:
        self._in_force = InForce(deployment, "1", decision_id)

    def current(self) -> InForce:
        """See `Actuator`."""
        return self._in_force

    def apply(self, deployment: Deployment, version: str, decision_id: str, grounds: Grounds = UNSAID) -> Outcome:
        """See `Actuator`."""
        held = self._in_force
        if decision_id == held.decision_id:
            return Outcome("applied", held.version)
        if version != held.version:
            return Outcome("conflict", held.version, f"version {held.version} is in force")
        found = self._carry_out(deployment, decision_id, grounds)
        if found.status != "applied":
            return found
        self._in_force = InForce(deployment, str(int(version) + 1), decision_id)
        return Outcome("applied", self._in_force.version)

    def tell(self, account: Account) -> None:
        """See `Actuator`: nobody is there to be told."""

    def _carry_out(self, deployment: Deployment, decision_id: str, grounds: Grounds) -> Outcome:
        """Does what is to be done with a decision; never raises."""
        return Outcome("applied")


def last_applied(folder: Path, scenario: Scenario) -> tuple[Deployment, str] | None:
    """The last deployment that was applied, and its decision, by the journal in a folder; None: it knows of none."""
    applied = set()
    for record in newest_first(folder):
        if record.get("type") == "outcome" and record.get("status") == "applied":
            applied.add(record.get("decision_id"))
        elif record.get("type") == "intent" and record.get("decision_id") in applied:
            if record.get("scenario") != scenario.name:
                return None
            try:
                deployment = from_json(record["deployment"])
            except (KeyError, DeploymentError):
                return None
            return None if problem_with(Decision(deployment, ""), scenario) else (deployment, record["decision_id"])
    return None

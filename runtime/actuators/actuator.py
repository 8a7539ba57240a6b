"""What the autoscaler acts with: the `Actuator`, and the words for what became of an action."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from envs.contract import Deployment
from runtime.account import UNSAID, Account, Grounds

Status = Literal["applied", "conflict", "refused", "unknown", "abandoned"]


class ActuatorError(Exception):
    """What is in force cannot be read; the text says from where and why."""


@dataclass(frozen=True)
class InForce:
    """The deployment that is wanted now.

    Attributes:
        deployment: the desired one, last accepted.
        version: changes with every accepted change, whoever makes it.
        decision_id: of the decision that it came from; "" where it came from somebody else.
    """

    deployment: Deployment
    version: str
    decision_id: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of an action.

    Attributes:
        status: applied: it is in force, now or already since the same decision came before; conflict: somebody else
            changed the deployment since the version given, nothing was done; refused: it is not acceptable, nothing was
            done; unknown: there was no answer, it may be in force or not; abandoned: it was left open by a process that
            died, is not in force, and its interval is over (said by the process, never by an actuator).
        version: the version in force afterwards, "" where unknown.
        detail: for people: why not.
    """

    status: Status
    version: str = ""
    detail: str = ""


class Actuator(Protocol):
    """Makes deployments desired ones. Calls return within a time limit of their own."""

    def current(self) -> InForce:
        """What is in force.

        Raises:
            ActuatorError: it cannot be read now.
        """

    def apply(self, deployment: Deployment, version: str, decision_id: str, grounds: Grounds = UNSAID) -> Outcome:
        """Makes a deployment the desired one, if `version` is still the one in force; says on what grounds.

        Idempotent: the same decision twice changes nothing the second time. Never raises.
        """

    def tell(self, account: Account) -> None:
        """Tells what came of a decision, for people to see. It may get lost; never raises."""

"""The actuator over workloads of another system: for each kind one, of which nothing but the number of replicas can be set.

The counts are the version: whoever sets one of them to something else has made another version. What has been changed and
changed back meanwhile is as if nobody had touched it. A count that is set is told from one that somebody else had set before
by asking right before; where the system offers a condition (`runtime.actuators.kubernetes`), nothing comes in between.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol

from envs.contract import Deployment, ReplicaKind
from runtime.account import UNSAID, Account, Grounds
from runtime.actuators.actuator import ActuatorError, InForce, Outcome
from runtime.deadline import DeadlineMissed, DeadlineThread

TIMEOUT_S = 2.0

log = logging.getLogger(__name__)


class Workload(Protocol):
    """Replicas of one kind, under the care of another system. Its calls are made from one thread."""

    place: str
    """Where it is, for people."""

    def replicas(self) -> int:
        """How many are wanted.

        Raises:
            ActuatorError: it cannot be read now.
        """

    def scale(self, replicas: int, expected: int) -> Outcome:
        """Wants another number, where `expected` is the one wanted now. Never raises."""

    def close(self) -> None:
        """Ends its connections."""


class Workloads:
    """Scales workloads; see `runtime.actuators.actuator.Actuator`.

    Args:
        by_kind: the workload of each kind.
        timeout_s: for all that is asked at a time.

    Attributes:
        kinds: those whose number can be set; there are no others, and no routes (`runtime.actuators.replicas_only`).
    """

    def __init__(self, by_kind: Mapping[ReplicaKind, Workload], timeout_s: float = TIMEOUT_S) -> None:
        self._workloads, self._timeout_s = dict(by_kind), timeout_s
        self.kinds = tuple(self._workloads)
        self._ours: tuple[str, Mapping[ReplicaKind, int]] = ("", {})  # the last decision that was applied, and its counts
        self._thread = DeadlineThread("workloads")

    def current(self) -> InForce:
        """See `Actuator`."""
        try:
            return self._in_force(self._thread.call(self._counts, self._timeout_s))
        except DeadlineMissed as error:
            raise ActuatorError(str(error)) from error

    def apply(self, deployment: Deployment, version: str, decision_id: str, grounds: Grounds = UNSAID) -> Outcome:
        """See `Actuator`. Of several workloads those that rise are scaled first; what fails ends it, and is told."""
        if others := [str(kind) for kind in deployment.replicas if kind not in self._workloads]:
            return Outcome("refused", version, f"nothing to scale here is of kind {', '.join(others)}")
        try:
            return self._thread.call(lambda: self._apply(deployment, version, decision_id), self._timeout_s)
        except (ActuatorError, DeadlineMissed) as error:
            return Outcome("unknown", "", str(error))

    def tell(self, account: Account) -> None:
        """See `Actuator`: nobody is there to be told."""

    def close(self) -> None:
        """Ends the thread."""
        self._thread.close()
        for workload in self._workloads.values():
            workload.close()

    def _counts(self) -> dict[ReplicaKind, int]:
        return {kind: workload.replicas() for kind, workload in self._workloads.items()}

    def _in_force(self, counts: Mapping[ReplicaKind, int]) -> InForce:
        decision_id, ours = self._ours
        if decision_id and counts != ours:
            log.warning("somebody else scales: %s, where %s was set", Deployment(counts), Deployment(ours))
            self._ours = ("", {})
        return InForce(Deployment(counts), _version(counts), decision_id if counts == ours else "")

    def _apply(self, deployment: Deployment, version: str, decision_id: str) -> Outcome:
        counts = self._counts()
        if decision_id == self._ours[0] and counts == self._ours[1]:
            return Outcome("applied", _version(counts))
        if version != _version(counts):
            return Outcome("conflict", _version(counts), f"somebody else scales: {Deployment(counts)} is in force")
        wanted = {kind: deployment.replicas.get(kind, 0) for kind in self._workloads}
        for kind in sorted(wanted, key=lambda kind: counts[kind] - wanted[kind]):
            if wanted[kind] != counts[kind]:
                workload = self._workloads[kind]
                found = workload.scale(wanted[kind], counts[kind])
                if found.status != "applied":
                    return Outcome(found.status, "", f"{workload.place}: {found.detail}")
        self._ours = (decision_id, wanted)
        return Outcome("applied", _version(wanted))


def _version(counts: Mapping[ReplicaKind, int]) -> str:
    return ",".join(map(str, counts.values()))

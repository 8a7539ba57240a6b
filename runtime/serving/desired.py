"""What is wanted of a live cluster: versions of its deployment, who may change it now, and whether it is acted on.

Each accepted change makes a new version, a rollback too. Pure bookkeeping: times are passed in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from envs.contract import Deployment
from runtime.account import UNSAID, Grounds

VERSIONS_KEPT = 100


class VersionConflict(Exception):
    """Another version is in force than the change was made for; nothing was changed."""


class DeploymentPinned(Exception):
    """The deployment is pinned; the text says until when."""


class NothingBefore(Exception):
    """There is no version before this one to go back to."""


@dataclass(frozen=True)
class Version:
    """One accepted change.

    Attributes:
        number: counts the changes, from 1.
        deployment: what was wanted from then on.
        decision_id: of the decision that it came from; "" where nobody gave one.
        grounds: who decided, and why.
    """

    number: int
    deployment: Deployment
    decision_id: str = ""
    grounds: Grounds = UNSAID


@dataclass(frozen=True)
class Hold:
    """Something that holds until it expires, and why."""

    until_s: float
    why: str


@dataclass(frozen=True)
class Desired:
    """What is wanted, as it is kept over a restart. Immutable: changes return a new one.

    Attributes:
        versions: the newest `VERSIONS_KEPT`, the oldest first.
        pin: while it holds, the deployment is not changed.
        pause: while it holds, nothing is started or stopped; what fails is fenced, but not replaced.
    """

    versions: tuple[Version, ...]
    pin: Hold | None = None
    pause: Hold | None = None

    @classmethod
    def first(cls, deployment: Deployment) -> Desired:
        """Version 1."""
        return cls((Version(1, deployment),))

    @property
    def current(self) -> Version:
        """The version in force."""
        return self.versions[-1]

    @property
    def before(self) -> Version:
        """The version that a rollback goes back to.

        Raises:
            NothingBefore: there is none.
        """
        if len(self.versions) < 2:
            raise NothingBefore("no version before this one is known")
        return self.versions[-2]

    def changed(self, deployment: Deployment, expected: int, decision_id: str, t_s: float,
                grounds: Grounds = UNSAID) -> Desired:
        """With another deployment, as a new version. A decision that is in force already changes nothing.

        Args:
            deployment: what is wanted.
            expected: number of the version that the change was made for.
            decision_id: executed once only; "" is never the same.
            t_s: now.
            grounds: who decided, and why.

        Raises:
            VersionConflict: another version is in force, or the decision was executed before and is no longer in force.
            DeploymentPinned: the pin holds.
        """
        if self.repeats(decision_id):
            return self
        if decision_id and any(version.decision_id == decision_id for version in self.versions):
            raise VersionConflict(f"decision {decision_id} was executed before; version {self.current.number} is in force now")
        if expected != self.current.number:
            raise VersionConflict(f"version {self.current.number} is in force, not {expected}")
        if self.pinned(t_s):
            assert self.pin is not None
            raise DeploymentPinned(f"pinned for another {self.pin.until_s - t_s:.0f} s: {self.pin.why}; "
                                   "DELETE /v1/pin to change the deployment before")
        new = Version(self.current.number + 1, deployment, decision_id, grounds)
        return replace(self, versions=(*self.versions, new)[-VERSIONS_KEPT:])

    def repeats(self, decision_id: str) -> bool:
        """Whether the decision in force is this one."""
        return bool(decision_id) and decision_id == self.current.decision_id

    def pinned(self, t_s: float) -> bool:
        """Whether the pin holds."""
        return self.pin is not None and t_s < self.pin.until_s

    def paused(self, t_s: float) -> bool:
        """Whether the pause holds."""
        return self.pause is not None and t_s < self.pause.until_s


def hold(t_s: float, for_s: float, why: str) -> Hold:
    """A hold from now on.

    Raises:
        ValueError: it does not end, or is over before it began.
    """
    if not (for_s > 0 and math.isfinite(for_s)):
        raise ValueError(f"for_s {for_s}: give seconds above 0; what never expires is forgotten")
    return Hold(t_s + for_s, why)

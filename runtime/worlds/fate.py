"""What can become of a world: its states, why it broke, and the errors that say so."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """`NEW -> JOINING -> UP -> DRAINING -> CLOSED`, and `BROKEN` from any of the first four."""

    NEW = "new"
    JOINING = "joining"
    UP = "up"
    DRAINING = "draining"
    CLOSED = "closed"
    BROKEN = "broken"


class Reason(StrEnum):
    """Why a world broke."""

    PEER_DIED = "peer_died"  # its process, or the connection to it, is gone
    FROZEN = "frozen"  # its process stopped, or nothing is heard of it
    OP_ERROR = "op_error"  # an operation failed in the backend
    TIMEOUT = "timeout"  # an operation took longer than asked
    LEFT = "left"  # a member took its leave
    INIT_FAILED = "init_failed"  # the world never came up


@dataclass(frozen=True)
class Broken:
    """The end of a world.

    Attributes:
        reason: the first cause seen.
        peer: rank of the member that caused it; None where no member can be named.
        time_s: `time.monotonic()` at which this process noticed.
        text: the same for people.
    """

    reason: Reason
    peer: int | None
    time_s: float
    text: str


class WorldError(Exception):
    """Any error of a world."""


class WorldBroken(WorldError):
    """The world has broken; `broken` says why. What was in flight may or may not have arrived."""

    def __init__(self, world: str, broken: Broken) -> None:
        super().__init__(f"world {world!r} broke ({broken.reason}): {broken.text}")
        self.world, self.broken = world, broken


class InitFailed(WorldBroken):
    """The world did not come up in time, or was refused."""


class WorldClosed(WorldError):
    """The world is not open for this: it was closed here, is being closed, or has not come up yet."""


class NameTaken(WorldError):
    """A world of that name lives in this process already."""


class TensorMismatch(WorldError, ValueError):
    """This tensor must not go on the wire: wrong dtype, size, device or layout. Nothing was sent."""

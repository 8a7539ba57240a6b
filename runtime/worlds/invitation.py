"""What a member must know of a world to come up in it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Member:
    """A member's process: its manager's uid and address."""

    uid: str
    address: str


@dataclass(frozen=True)
class Invitation:
    """A world whose members have all come.

    Attributes:
        uid: of the world.
        epoch: which of its name it is.
        rank: ours.
        backend: on which it runs.
        members: by rank.
        stands: the creating member has its wire.
    """

    uid: str
    epoch: int
    rank: int
    backend: str
    members: list[Member]
    stands: bool = False

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
    """A world whose members have all come: uid, which of its name it is, our rank, backend, and its members by rank."""

    uid: str
    epoch: int
    rank: int
    backend: str
    members: list[Member]

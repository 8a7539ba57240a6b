"""How a member takes leave without losing what is under way.

The leaver finishes its own sends, says how much it has sent, and hears from each other member how much that has sent; when all
of it has come, it closes. The others finish what is due, answer, and then the world is over for them: BROKEN(left). On both
sides messages are received on meanwhile; whoever receives none for `STALL_S` is not waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from .fate import Reason, State, WorldError
from .world import World

POLL_S = 0.002
GRACE_S = 0.1  # for a send to one who may not receive any more
STALL_S = 1.0  # without a message, of which more are on their way


class Send(Protocol):
    """Sends a frame to members of the world; all, or those of the given ranks."""

    def __call__(self, frame: dict[str, Any], ranks: list[int] | None = None) -> None: ...


Later = Callable[[float, Callable[[], None]], None]
"""Calls something after so many seconds."""


def take_leave(world: World, send: Send, drain_s: float) -> None:
    """The leaver's part, in the caller's thread; blocks at most about `drain_s`."""
    if world.state in (State.NEW, State.JOINING):
        world.breaks(Reason.LEFT, world.rank, "we left")
        return
    try:
        world.advance(State.DRAINING)
    except WorldError:
        return
    deadline_s = time.monotonic() + drain_s
    _poll(lambda: not world.sending(), deadline_s)
    others = [rank for rank in range(world.size) if rank != world.rank]
    for rank in others:
        send({"type": "leave", "sent": world.sent_to(rank)}, [rank])
    world.wait_for(lambda: all(rank in world.farewells for rank in others), deadline_s)
    receipts = [Receipts(world, rank, sent) for rank, sent in world.farewells.items()]
    _poll(lambda: world.over or not any(receipt.due() for receipt in receipts), deadline_s)
    world.closed()


def _poll(done: Callable[[], bool], deadline_s: float) -> None:
    while not done() and time.monotonic() < deadline_s:
        time.sleep(POLL_S)


class Receipts:
    """Of what a member has sent us.

    Args:
        world: of which it is.
        rank: the member's.
        sent: how much, as it says.
    """

    def __init__(self, world: World, rank: int, sent: int) -> None:
        self._world, self._rank, self._sent = world, rank, sent
        self._received, self._since_s = -1, 0.0

    def due(self) -> bool:
        """Whether there is more to come, and somebody who receives it."""
        received, now_s = self._world.received_from(self._rank), time.monotonic()
        if received != self._received:
            self._received, self._since_s = received, now_s
        return received < self._sent and now_s < self._since_s + STALL_S


def answer_leave(world: World, rank: int, sent: int, send: Send, later: Later) -> None:
    """The others' part, on the links' thread: `rank` leaves, having sent us `sent`. Does not block."""
    if world.state is State.JOINING:  # all are there, but we have yet to see it
        later(POLL_S, partial(answer_leave, world, rank, sent, send, later))
        return
    world.drains_for(rank)
    _settle(world, rank, Receipts(world, rank, sent), time.monotonic() + GRACE_S, send, later)


def _settle(world: World, rank: int, receipts: Receipts, until_s: float, send: Send, later: Later) -> None:
    if (receipts.due() or (world.sending() and time.monotonic() < until_s)) and not world.over:
        later(POLL_S, partial(_settle, world, rank, receipts, until_s, send, later))
        return
    send({"type": "farewell", "sent": world.sent_to(rank)}, [rank])
    if world.left_by is not None:
        world.breaks(Reason.LEFT, rank, world.left_by.text)

"""A world that comes up: a coroutine on the links' thread, which what the links bring stirs. No thread waits for it.

It is no task of the loop: what stirs it has it go on in the same turn, and a world that comes up is done in as many turns as
frames come for it.
"""

from __future__ import annotations

import asyncio
import binascii
import time
from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from socket import socket
from typing import Any

from .backends.wire import Backend, Wire, aside
from .board import Board
from .invitation import Invitation
from .links import Links
from .operating import VERDICT_S
from .streams import Key, Streams, Way
from .world import World


class _Stirring:
    """What is awaited until the next stir."""

    def __await__(self) -> Generator[None, None, None]:
        yield


_STIRRING = _Stirring()


class Coming:
    """A world that comes up, and the work that brings it up.

    Args:
        world: the one.
        deadline_s: `time.monotonic()` by which it must be up.
    """

    def __init__(self, world: World, deadline_s: float) -> None:
        self.world, self.deadline_s = world, deadline_s
        self._work: Coroutine[Any, Any, None] | None = None
        self._rests = False  # until it is stirred

    @property
    def left_s(self) -> float:
        """Until the deadline."""
        return max(0.0, self.deadline_s - time.monotonic())

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work, up to where it waits for a stir or for a future of the loop. It must not fail. On the links' thread."""
        self._work = work
        self._go_on()

    def stir(self) -> None:
        """What it waits for may be there, or its time over. On the links' thread."""
        if self._rests:
            self._go_on()

    def _go_on(self, _: object = None) -> None:
        assert self._work is not None
        self._rests = False
        try:
            awaited: asyncio.Future[Any] | None = self._work.send(None)
        except (StopIteration, asyncio.CancelledError):  # it is done, or the links are closed
            return
        if awaited is None:
            self._rests = True
        else:
            awaited.add_done_callback(self._go_on)

    async def until(self, ready: Callable[[], bool], missing: Callable[[], str]) -> None:
        """Wait for something that stirs it.

        Raises:
            TimeoutError: it was not ready in time; `missing` says what.
            WorldError: the world is over.
        """
        while not ready():
            self.world.raise_if_over()
            if not self.left_s:
                raise TimeoutError(missing())
            await _STIRRING


async def bring_up(
    coming: Coming,
    invitation: Invitation,
    backends: Mapping[str, Backend],
    links: Links,
    admit: Callable[[World], None],
    welcome: Callable[[Invitation, bool], None],
) -> None:
    """Connect to all members, make the wire, and come up once all are there. Who creates the world welcomes the others with a
    wire in hand, where making it takes no time: they need not be told once more that it stands.

    Raises:
        WorldError, RuntimeError, TimeoutError, OSError: it cannot be; the caller breaks the world.
    """
    world, uid, members, rank = coming.world, invitation.uid, invitation.members, invitation.rank
    if invitation.backend not in backends:
        raise RuntimeError(f"the world is to run on {invitation.backend!r}, which this process does not have")

    def post(key: str, value: bytes, ranks: Iterable[int]) -> None:
        said = binascii.b2a_base64(value, newline=False).decode()
        note = {"type": "note", "world": uid, "rank": rank, "key": key, "value": said}
        for other in ranks:
            links.send(members[other].uid, note)

    def dial(peer: int, way: Way) -> Future[socket]:
        return links.dial(members[peer].address, str(Key(uid, rank, way)))

    board, streams, backend = Board(rank, len(members), post), Streams(dial), backends[invitation.backend]
    world.set_out(invitation, board, streams, partial(links.caught_up, VERDICT_S))
    admit(world)
    connect = partial(backend.connect, board, streams, uid, world.device, coming.deadline_s)
    wire: Wire | None = None

    async def heard(key: str, ranks: Iterable[int]) -> None:
        awaited = set(ranks)

        def missing() -> str:
            return f"no {key!r} from rank {', '.join(map(str, sorted(awaited - board.who_has(key))))}"

        await coming.until(lambda: awaited <= board.who_has(key), missing)

    try:
        if rank == 0:
            try:
                wire = None if backend.blocks else connect()
            finally:
                welcome(invitation, wire is not None)
        elif invitation.stands:
            board.receive(0, "up", b"")
        for other in range(1, rank):
            if await links.connect(members[other].address, coming.left_s) != members[other].uid:
                raise ConnectionError(f"another process than rank {other} listens at {members[other].address}")
        if len(members) > 2:  # nobody writes to a member before all links stand
            if rank:
                board.announce("linked", to=0)
                await heard("go", [0])
            else:
                await heard("linked", board.others)
                board.announce("go")
        if wire is None:
            wire = await links.spawn(_result(aside(connect, "worlds-connect"))) if backend.blocks else connect()
            board.announce("up")
        await heard("up", board.others)
        world.comes_up(wire)
    except BaseException:
        if wire is not None:
            wire.abort()
            wire.close()
        raise


async def _result(future: Future[Wire]) -> Wire:
    return await asyncio.wrap_future(future)

"""A world that comes up: a coroutine on the links' thread, which what the links bring stirs. No thread waits for it."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from socket import socket

from .backends.wire import Backend, Wire, aside
from .board import Board
from .invitation import Invitation
from .links import Links
from .operating import VERDICT_S
from .streams import Key, Streams, Way
from .world import World


class Coming:
    """A world that comes up, and where it waits.

    Args:
        world: the one.
        deadline_s: `time.monotonic()` by which it must be up.
    """

    def __init__(self, world: World, deadline_s: float) -> None:
        self.world, self.deadline_s = world, deadline_s
        self._stirred = asyncio.Event()

    @property
    def left_s(self) -> float:
        """Until the deadline."""
        return max(0.0, self.deadline_s - time.monotonic())

    def stir(self) -> None:
        """What it waits for may be there. On the links' thread."""
        self._stirred.set()

    async def until(self, ready: Callable[[], bool], missing: Callable[[], str]) -> None:
        """Wait for something that stirs it.

        Raises:
            TimeoutError: it was not ready in time; `missing` says what.
            WorldError: the world is over.
        """
        try:
            async with asyncio.timeout(self.left_s):
                while not ready():
                    self.world.raise_if_over()
                    self._stirred.clear()
                    await self._stirred.wait()
        except TimeoutError:
            raise TimeoutError(missing()) from None


async def bring_up(
    coming: Coming,
    invitation: Invitation,
    backends: Mapping[str, Backend],
    links: Links,
    admit: Callable[[World], None],
) -> None:
    """Connect to all members, make the wire, and come up once all are there.

    Raises:
        WorldError, RuntimeError, TimeoutError, OSError: it cannot be; the caller breaks the world.
    """
    world, members, rank = coming.world, invitation.members, invitation.rank
    if invitation.backend not in backends:
        raise RuntimeError(f"the world is to run on {invitation.backend!r}, which this process does not have")

    def post(key: str, value: bytes, ranks: Iterable[int]) -> None:
        note = {"type": "note", "world": world.uid, "rank": rank, "key": key, "value": base64.b64encode(value).decode()}
        for other in ranks:
            links.send(members[other].uid, note)

    def dial(peer: int, way: Way) -> Future[socket]:
        return links.dial(members[peer].address, str(Key(world.uid, rank, way)))

    board, streams = Board(rank, len(members), post), Streams(dial)
    world.set_out(invitation, board, streams, partial(links.caught_up, VERDICT_S))
    admit(world)

    async def heard(key: str, ranks: Iterable[int]) -> None:
        awaited = set(ranks)

        def missing() -> str:
            return f"no {key!r} from rank {', '.join(map(str, sorted(awaited - board.who_has(key))))}"

        await coming.until(lambda: awaited <= board.who_has(key), missing)

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
    wire = await _connect(backends[invitation.backend], board, streams, coming)
    try:
        board.announce("up")
        await heard("up", board.others)
        world.comes_up(wire)
    except BaseException:
        wire.abort()
        wire.close()
        raise


async def _connect(backend: Backend, board: Board, streams: Streams, coming: Coming) -> Wire:
    connect = partial(backend.connect, board, streams, coming.world.uid, coming.world.device, coming.deadline_s)
    return await asyncio.wrap_future(aside(connect, "worlds-connect")) if backend.blocks else connect()

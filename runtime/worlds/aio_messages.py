"""Messages with one member for an event loop, without a thread: what is sent goes out with the loop's turn, and what comes is
handed to a function on it. Both are numpy arrays.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np

from .fate import TensorMismatch
from .frames import COPIED_BYTES, HEAD, NUMPY, Layout, head_of, lay_out, pieces, read_head, read_layout
from .streams import Way
from .world import World

log = logging.getLogger(__name__)
WAY = Way("messages", 0)
SCRATCH_BYTES = 1 << 17  # for what comes, until it is known what it is
_TORCH = {of_numpy: of_torch for of_torch, of_numpy in NUMPY.items()}

Heard = Callable[[list[np.ndarray]], None]


class AsyncMessages:
    """Messages with one member of a world that is up; made by `open`. They end with the world.

    Args:
        world: its streams carry them, under tag 0, and nothing else then may.
        peer: the other member's rank.
        heard: called with each message that comes, on the loop; the arrays may be kept, not written to.
    """

    def __init__(self, world: World, peer: int, heard: Heard) -> None:
        self._world, self._peer, self._loop = world, peer, asyncio.get_running_loop()
        self._heard = heard
        self._last: Layout | None = None
        self._transports: list[asyncio.Transport] = []

    @classmethod
    async def open(cls, world: World, peer: int, heard: Heard) -> AsyncMessages:
        """Once the other member has sent its first message.

        Raises:
            WorldError: the world is over.
        """
        messages = cls(world, peer, heard)
        await messages._open()
        return messages

    async def _open(self) -> None:
        world, peer = self._world, self._peer
        self._sends, self._receives = world.message_lanes(peer)
        streams = world.streams
        assert streams is not None  # it is up
        try:
            ends = await asyncio.to_thread(lambda: [streams.to(peer, WAY).dup(), streams.of(peer, WAY, None).dup()])
        except RuntimeError as error:
            raise world.verdict(self._sends, error, None, 0.0) from error
        out, _ = await self._loop.connect_accepted_socket(lambda: _End(self._lost), ends[0])
        self._out = cast(asyncio.Transport, out)
        into, _ = await self._loop.connect_accepted_socket(lambda: _Incoming(self._come, self._lost), ends[1])
        self._transports = [self._out, cast(asyncio.Transport, into)]
        world.at_end.append(self._over)
        if world.over:
            self._over()

    def send(self, arrays: Sequence[np.ndarray]) -> None:
        """Send a message, after those before it; where the world is over, nothing.

        Raises:
            TensorMismatch: a message cannot hold this.
        """
        if self._out.is_closing():
            return
        try:
            layout = lay_out(tuple([(_TORCH[array.dtype], array.shape) for array in arrays]))
        except KeyError as error:
            raise TensorMismatch(f"a message cannot hold {error}") from None
        parts = [head_of(layout, self._last, self._sends.passed), *pieces(layout, [_bytes(array) for array in arrays])]
        if layout.body_bytes <= COPIED_BYTES:
            self._out.write(b"".join(parts))  # one piece costs the loop less than several
        else:
            self._out.writelines(parts)
        self._last = layout
        self._sends.passed += 1

    def _come(self, arrays: list[np.ndarray]) -> None:
        self._receives.passed += 1
        try:
            self._heard(arrays)
        except Exception:
            log.exception("a message in world %r could not be handled", self._world.name)

    def _lost(self, error: Exception | None) -> None:
        """A stream has ended; the control link says why, if it knows."""
        self._world.fails(self._peer, f"the stream of messages ended: {error or 'hung up'}")

    def _over(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._close)

    def _close(self) -> None:
        for transport in self._transports:
            transport.abort()


def _bytes(array: np.ndarray) -> memoryview | bytes:
    """In row-major order; where they are few, a copy is made sooner than a view."""
    if array.nbytes <= COPIED_BYTES:
        return array.tobytes()
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


class _End(asyncio.Protocol):
    """The end of a stream on which nothing comes."""

    def __init__(self, lost: Callable[[Exception | None], None]) -> None:
        self._lost = lost

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._lost(error)


class _Incoming(asyncio.BufferedProtocol):
    """Cuts what comes into messages."""

    def __init__(self, come: Heard, lost: Callable[[Exception | None], None]) -> None:
        self._heard, self._lost = come, lost
        self._scratch = memoryview(bytearray(SCRATCH_BYTES))
        self._begin = self._end = 0  # of what is in it
        self._large: memoryview | None = None  # a body that is received in its place
        self._filled = 0
        self._layout: Layout | None = None
        self._number = 0

    def get_buffer(self, sizehint: int) -> memoryview:
        """See `asyncio.BufferedProtocol`."""
        if self._large is not None:
            return self._large[self._filled :]
        if self._begin and len(self._scratch) - self._end < len(self._scratch) // 2:
            left = self._end - self._begin
            self._scratch[:left] = bytes(self._scratch[self._begin : self._end])
            self._begin, self._end = 0, left
        return self._scratch[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        """See `asyncio.BufferedProtocol`."""
        if self._large is not None:
            self._filled += nbytes
            if self._filled == len(self._large):
                body, self._large = self._large, None
                self._deliver(body)
            return
        self._end += nbytes
        while self._cut():
            pass
        if self._begin == self._end:
            self._begin = self._end = 0

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.BufferedProtocol`."""
        self._lost(error)

    def _cut(self) -> bool:
        """Takes one message; False where it is not whole yet."""
        body_at = self._begin + HEAD.size
        if self._end < body_at:
            return False
        size = read_head(self._scratch[self._begin : body_at], self._number)
        if size is not None:
            description_at, body_at = body_at, body_at + size
            if self._end < body_at:
                return False
            self._layout = read_layout(bytes(self._scratch[description_at:body_at]))
        if self._layout is None:
            raise RuntimeError("what arrived is like no message before it")
        end = body_at + self._layout.body_bytes
        if self._end >= end:
            self._begin = end
            self._deliver(bytes(self._scratch[body_at:end]))
            return True
        if self._layout.body_bytes > COPIED_BYTES:
            self._large, self._filled = memoryview(bytearray(self._layout.body_bytes)), self._end - body_at
            self._large[: self._filled] = self._scratch[body_at : self._end]
            self._begin = self._end = 0
        return False

    def _deliver(self, body: bytes | memoryview) -> None:
        assert self._layout is not None
        self._number += 1
        self._heard(
            [
                np.ndarray(place.shape, NUMPY[place.dtype], body, place.offset)
                if place.nbytes
                else np.empty(place.shape, NUMPY[place.dtype])
                for place in self._layout.places
            ]
        )

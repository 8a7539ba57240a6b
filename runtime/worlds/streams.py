"""The connections on which a world's tensors and messages run: one for each direction, peer and tag.

The sender opens one with the first that it sends, at the listener of the receiver's control links: so it is authenticated as
they are. It belongs to the world, and ends with it.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Literal, NamedTuple

from .handshake import Refused

SLICE_BYTES = 1 << 20
"""At most, moved in one call of the operating system: where its kernel is not preempted, whoever else needs the core waits
until the call is over.
"""


class Way(NamedTuple):
    """Which of the streams from one member to another."""

    kind: Literal["tensors", "messages"]
    tag: int


class Key(NamedTuple):
    """Which stream of the world that has this uid: who sends, and which way."""

    world: str
    rank: int
    way: Way

    @classmethod
    def read(cls, said: str) -> Key:
        """From what `str` says."""
        world, rank, kind, tag = said.split("/")
        return cls(world, int(rank), Way("tensors" if kind == "tensors" else "messages", int(tag)))

    def __str__(self) -> str:
        return f"{self.world}/{self.rank}/{self.way.kind}/{self.way.tag}"


Dial = Callable[[int, Way], Future[socket.socket]]
"""Opens a stream to the member of a rank."""


class Streams:
    """Those of one member of a world.

    Args:
        dial: opens one.
    """

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._come: dict[tuple[int, Way], socket.socket] = {}  # by sender
        self._all: list[socket.socket] = []
        self._dialled: set[Future[socket.socket]] = set()
        self._changed = threading.Condition()
        self._aborted = False

    def to(self, peer: int, way: Way) -> socket.socket:
        """A new stream to a member. Blocks; called once for each way.

        Raises:
            RuntimeError: it cannot be reached, or the world is over.
        """
        with self._changed:
            self._raise_if_over()
            dialled = self._dial(peer, way)
            self._dialled.add(dialled)
        try:
            return self._keep(dialled.result())
        except (OSError, CancelledError, Refused) as error:
            raise RuntimeError(f"no stream to rank {peer}: {error or type(error).__name__}") from error
        finally:
            self._dialled.discard(dialled)

    def of(self, peer: int, way: Way, timeout_s: float | None) -> socket.socket:
        """The stream that a member opens to us; waits for it.

        Raises:
            RuntimeError: it does not come in time, or the world is over.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._aborted or (peer, way) in self._come, timeout_s):
                raise RuntimeError(f"rank {peer} has sent nothing")
            self._raise_if_over()
            return self._come[peer, way]

    def come(self, peer: int, way: Way) -> socket.socket | None:
        """The stream that a member opens to us, if it has by now."""
        return self._come.get((peer, way))

    def accept(self, peer: int, way: Way, stream: socket.socket) -> None:
        """A member has opened one."""
        with self._changed, contextlib.suppress(RuntimeError):
            self._come.setdefault((peer, way), self._keep(stream))
            self._changed.notify_all()

    def abort(self) -> None:
        """Frees whoever waits or is in an operation on one, at both ends."""
        with self._changed:
            self._aborted = True
            for dialled in list(self._dialled):
                dialled.cancel()
            for stream in self._all:
                with contextlib.suppress(OSError):
                    stream.shutdown(socket.SHUT_RDWR)
            self._changed.notify_all()

    def close(self) -> None:
        """After `abort`, when no operation is under way."""
        for stream in self._all:
            stream.close()

    def _keep(self, stream: socket.socket) -> socket.socket:
        with self._changed:
            if self._aborted:
                stream.close()
            self._raise_if_over()
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._all.append(stream)
            return stream

    def _raise_if_over(self) -> None:
        if self._aborted:
            raise RuntimeError("the world is over")


def read(stream: socket.socket, into: memoryview, timeout_s: float | None) -> None:
    """Fill a buffer.

    Raises:
        RuntimeError: the stream has ended, or the time is over.
    """
    _until(stream, len(into), lambda at: stream.recv_into(into[at : at + SLICE_BYTES], 0, socket.MSG_WAITALL), timeout_s)


def write(stream: socket.socket, parts: list[memoryview | bytes], timeout_s: float | None) -> None:
    """Send all parts, one after the other. Raises as `read`."""
    total = sum(map(len, parts))

    def send(at: int) -> int:
        return stream.sendmsg(parts if total <= SLICE_BYTES and at == 0 else _span(parts, at, SLICE_BYTES))

    _until(stream, total, send, timeout_s)


def _until(stream: socket.socket, total: int, move: Callable[[int], int], timeout_s: float | None) -> None:
    """Move so many bytes, some at a time."""
    at, until_s = 0, 0.0 if timeout_s is None else time.monotonic() + timeout_s
    try:
        while at < total:
            if timeout_s is not None:
                stream.settimeout(max(1e-3, until_s - time.monotonic()))
            elif stream.gettimeout() is not None:
                stream.settimeout(None)
            moved = move(at)
            if not moved:
                raise RuntimeError("the stream has ended")
            at += moved
    except OSError as error:
        raise RuntimeError(f"the stream failed: {error}") from error


def _span(parts: list[memoryview | bytes], at: int, size: int) -> list[memoryview | bytes]:
    """At most so many bytes of the parts, from one on."""
    taken: list[memoryview | bytes] = []
    for part in parts:
        piece = memoryview(part)[at : at + size]
        taken.append(piece)
        at, size = max(0, at - len(part)), size - len(piece)
    return [piece for piece in taken if len(piece)]

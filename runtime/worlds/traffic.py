"""Tensors on their way over streams, each moved by whoever waits for it: no other thread is woken, which is most of what a
small tensor costs.

Transfers that have been started and that nobody waits for yet are moved by whoever waits for another one, and what lies longer
than `TICK_S` by a thread of their own. So two that send each other more than a connection holds, and receive only then, do not
wait for ever.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Set
from typing import Protocol

from .streams import SLICE_BYTES

TICK_S = 0.01
QUIET_TICKS = 100  # after which the thread ends


class End(Protocol):
    """Our end of a stream, for one direction."""

    event: int
    """What `select.poll` tells where something can be moved."""

    def ready(self) -> socket.socket | None:
        """The stream; None: the other side has not opened it yet."""

    def stream(self, timeout_s: float | None) -> socket.socket:
        """The stream; waits for it. Raises RuntimeError."""

    def move(self, stream: socket.socket, data: memoryview, flags: int) -> int:
        """Move some of the data; how much. Raises OSError."""


class Transit:
    """One tensor on its way; see `Work`.

    Args:
        end: of the stream.
        tensor: it lives until it is through.
        data: its bytes, at least one.
        traffic: of the process.
    """

    __slots__ = ("_error", "_moving", "_rest", "_tensor", "_traffic", "end")

    def __init__(self, end: End, tensor: object, data: memoryview, traffic: Traffic) -> None:
        self.end, self._tensor, self._rest, self._traffic = end, tensor, data, traffic
        self._moving = threading.Lock()
        self._error: RuntimeError | None = None

    def go_on(self) -> None:
        """See `Work`. Moves what can be moved at once."""
        self.end.ready()
        self._traffic.add(self)
        self.advance()

    def advance(self) -> None:
        """Move what can be moved, where nobody waits for it; without waiting."""
        if not self._moving.acquire(blocking=False):
            return
        try:
            if self not in self._traffic.unattended:
                return  # somebody waits for it by now
            if (stream := self.end.ready()) is not None:
                while self._rest and self._move(stream, socket.MSG_DONTWAIT):
                    pass
        except RuntimeError as error:
            self._error = error
        finally:
            if self._error or not self._rest:
                self._traffic.unattended.discard(self)
            self._moving.release()

    def wait(self, timeout_s: float | None) -> None:
        """See `Work`."""
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        unattended = self._traffic.unattended
        unattended.discard(self)
        with self._moving:  # who moves it just now does not wait
            if self._error is not None:
                raise self._error
            if not self._rest:
                return
            stream = self.end.stream(timeout_s)
            while self._rest:
                if until_s is None and not unattended:
                    self._move(stream, 0)
                elif not self._move(stream, socket.MSG_DONTWAIT):
                    left_s = None if until_s is None else until_s - time.monotonic()
                    if left_s is not None and left_s <= 0:
                        raise RuntimeError("timed out")
                    advance(set(unattended), left_s, (stream, self.end.event))

    def _move(self, stream: socket.socket, flags: int) -> bool:
        """Move some of it; False: nothing just now."""
        try:
            moved = self.end.move(stream, self._rest[:SLICE_BYTES], flags)
        except BlockingIOError:
            return False
        except OSError as error:
            raise RuntimeError(f"the stream failed: {error}") from error
        if not moved:
            raise RuntimeError("the stream has ended")
        self._rest = self._rest[moved:]
        return True


class Traffic:
    """What is under way in one process.

    Attributes:
        unattended: transfers that have been started and are not through, for which nobody waits.
    """

    def __init__(self) -> None:
        self.unattended: set[Transit] = set()
        self._lock = threading.Lock()
        self._mover: threading.Thread | None = None

    def add(self, transit: Transit) -> None:
        """Somebody has started one, and does something else."""
        with self._lock:
            self.unattended.add(transit)
            if self._mover is None:
                self._mover = threading.Thread(target=self._run, name="worlds-traffic", daemon=True)
                self._mover.start()

    def _run(self) -> None:
        """Moves what has lain for a tick; ends where there has been nothing for long."""
        quiet, seen = 0, set[Transit]()
        while True:
            lain, seen = seen & self.unattended, set(self.unattended)
            if lain:
                advance(lain, TICK_S)
            else:
                time.sleep(TICK_S)
            quiet = 0 if seen else quiet + 1
            if quiet > QUIET_TICKS:
                with self._lock:
                    if not self.unattended:
                        self._mover = None
                        return


def advance(transits: Set[Transit], timeout_s: float | None, other: tuple[socket.socket, int] | None = None) -> None:
    """Wait until one of the transfers can go on, and move those that can; also until the other stream is ready, if there is
    one.
    """
    poll, by_descriptor = select.poll(), dict[int, Transit]()
    if other is not None:
        poll.register(*other)
    for transit in transits:
        stream = transit.end.ready()
        if stream is None:  # it may come at any time
            timeout_s = TICK_S if timeout_s is None else min(timeout_s, TICK_S)
        elif stream.fileno() >= 0:
            poll.register(stream, transit.end.event)
            by_descriptor[stream.fileno()] = transit
    for descriptor, _ in poll.poll(None if timeout_s is None else 1000 * timeout_s):
        if descriptor in by_descriptor:
            by_descriptor[descriptor].advance()

"""How the members of a world connect in a Gloo group, and which of their process' connections are the group's.

Each member has a Gloo device for it, which listens at a port of its own; of two members the one whose device has the greater
address connects to the other. Gloo does not tell which connections it made; they are those between these addresses.

A group whose making fails leaves a callback into freed memory at its device, and a member that connects late then kills our
process (measured). So making a group is never given up: where the world is over before, we connect to ourselves in the place
of who has not, and the group is complete, and is thrown away.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

from torch._C._distributed_c10d import ProcessGroupGloo

from ..board import Board, BoardStore

FOREVER = timedelta(days=3650)
End = tuple[str, int]  # host and port of one end of a connection
_SIZE, _NUMBER = struct.Struct("@N"), struct.Struct("@n")


class Door(NamedTuple):
    """Where a member's device listens.

    Attributes:
        end: its address.
        order: who has the greater one connects.
        numbers: by rank: what a member says that connects to this world, eight bytes.
    """

    end: End
    order: tuple[bytes, int]
    numbers: tuple[int, ...]

    @classmethod
    def read(cls, note: bytes) -> Door:
        """From what Gloo's members tell each other: the host's name, a C struct sockaddr_storage and more, the numbers."""
        at = _SIZE.size + _SIZE.unpack_from(note)[0]
        start = at + _SIZE.size
        (family,), after = struct.unpack_from("=H", note, start), start + _SIZE.unpack_from(note, at)[0]
        port, host = note[start + 2 : start + 4], note[start + 4 : start + 8]
        if family == socket.AF_INET6:
            host = note[start + 8 : start + 24]
        end = (socket.inet_ntop(family, host), int.from_bytes(port, "big"))
        # Gloo compares ports as they lie in memory.
        return cls(end, (host, int.from_bytes(port, sys.byteorder)), tuple(n for (n,) in _NUMBER.iter_unpack(note[after:])))

    def connects_to(self, other: Door) -> bool:
        """Whether its member connects, and the other's accepts."""
        return self.order > other.order


class Meeting(BoardStore):
    """The making of one world's group. It is the store through which Gloo's members meet, and so learns where they listen.

    Args:
        board: the world's.
        deadline_s: `time.monotonic()` by which the group must stand.
        host: where to listen.
    """

    def __init__(self, board: Board, deadline_s: float, host: str) -> None:
        super().__init__(board, deadline_s)
        gloo: Any = ProcessGroupGloo
        self._device = gloo.create_device(hostname=host, lazy_init=False)
        self._doors: dict[int, Door] = {}  # of those who have told
        self._stand_ins: list[socket.socket] = []
        self._lock = threading.Lock()
        self._given_up = False
        self._outcome: tuple[Any, list[socket.socket]] | BaseException | None = None

    def hold(self) -> tuple[Any, list[socket.socket]]:
        """The group, and its connections, which are the caller's to close.

        Raises:
            TimeoutError, WorldError, RuntimeError: it cannot be made, or not in time.
        """
        threading.Thread(target=self._make, name="worlds-meet", daemon=True).start()
        try:
            self._board.read(self._board.rank, "met", self._deadline_s)
        except BaseException as error:
            self._give_up()
            if isinstance(error, TimeoutError):
                raise TimeoutError("the data connections did not stand in time") from None
            raise
        outcome, self._outcome = self._outcome, None
        if isinstance(outcome, tuple):
            return outcome
        assert outcome is not None
        raise outcome

    # --- On a thread of its own, which may outlast the world -----------------------------------------------------------------

    def _make(self) -> None:
        outcome: tuple[Any, list[socket.socket]] | BaseException
        try:
            outcome = self._connect()
        except BaseException as error:
            outcome = error.with_traceback(None)  # whose frames would keep the group
        with self._lock:
            self._outcome = outcome
            if self._given_up:
                self._discard()
        self._board.receive(self._board.rank, "met", b"")

    def _connect(self) -> tuple[Any, list[socket.socket]]:
        gloo: Any = ProcessGroupGloo
        options = gloo._Options()
        options._devices, options._threads, options._timeout = [self._device], 1, FOREVER
        group = gloo(self, self._board.rank, self._board.size, options)
        ours, theirs = self._doors[self._board.rank].end, {self._doors[rank].end for rank in self._board.others}
        found = connections(lambda near, far: near == ours or far in theirs)
        if len(found) < len(theirs):
            raise RuntimeError(f"{len(found)} data connections to {len(theirs)} other members can be found")
        return group, found

    def set(self, key: str, value: str | bytes) -> None:
        """We tell where we listen."""
        door = Door.read(bytes(value))  # type: ignore[arg-type]  # Gloo gives bytes
        if len(door.numbers) != self._board.size:  # what a stand-in has to say is then not known
            raise RuntimeError("Gloo numbers connections by rank: unset GLOO_ENABLE_RANK_AS_SEQUENCE_NUMBER")
        self._doors[self._board.rank] = door
        super().set(key, value)

    def get(self, key: str) -> bytes:
        """A member tells where it listens; once all have, Gloo connects."""
        note, rank = super().get(key), int(key.rpartition("/")[2])
        with self._lock:
            if self._given_up and rank not in self._doors:
                raise TimeoutError("the world was over before")
            self._doors[rank] = Door.read(note)
        return note

    # --- Where it came to nothing --------------------------------------------------------------------------------------------

    def _give_up(self) -> None:
        with self._lock:
            self._given_up = True
            if self._outcome is not None:  # it was ready in this moment
                self._discard()
            elif (ours := self._doors.get(self._board.rank)) is not None:
                for rank, door in self._doors.items():
                    if rank != self._board.rank and not ours.connects_to(door):
                        with contextlib.suppress(OSError):
                            self._stand_ins.append(socket.create_connection(ours.end, timeout=1))
                            self._stand_ins[-1].sendall(_NUMBER.pack(ours.numbers[rank]))

    def _discard(self) -> None:
        found = self._outcome[1] if isinstance(self._outcome, tuple) else []
        for connection in [*found, *self._stand_ins]:
            connection.close()
        self._outcome = None


def connections(which: Callable[[End, End], bool]) -> list[socket.socket]:
    """This process' connections of whose near and far end that is true, each as a descriptor of its own (Linux)."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError), contextlib.ExitStack() as unwanted:  # closed meanwhile, or it listens
            descriptor = int(name)
            status = os.fstat(descriptor)
            if not stat.S_ISSOCK(status.st_mode) or status.st_ino in found:
                continue
            connection = unwanted.enter_context(socket.socket(fileno=os.dup(descriptor)))
            if connection.family not in (socket.AF_INET, socket.AF_INET6):
                continue
            if which(_end(connection.getsockname()), _end(connection.getpeername())):
                unwanted.pop_all()
                found[status.st_ino] = connection
    return list(found.values())


def _end(name: tuple) -> End:
    """Host and port of what `getsockname` says, without the interface that an IPv6 address may name."""
    return name[0].partition("%")[0], name[1]

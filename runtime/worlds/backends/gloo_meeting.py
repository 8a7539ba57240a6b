"""How the members of a Gloo world connect, and how each knows which of its process' connections are the world's.

Of two members one connects to the other: the one whose device listens at the greater address. Gloo does not tell which
connection it made, so the member that connects takes turns with whatever else in its process connects to that address: the
connection that is there afterwards and was not before is the world's. It tells the other member both ends of it, and the other
finds its own end by them.

A group whose making fails leaves a callback into freed memory at its device, and a member that connects late then kills our
process (measured). So making a group is never given up: where the world is over before, we connect to ourselves in the place
of who has not, and the group is complete, and is thrown away.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import struct
import sys
import threading
import time
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from torch._C._distributed_c10d import ProcessGroupGloo

from ..board import Board, BoardStore
from .wire import FOREVER

End = tuple[str, int]  # host and port of one end of a connection
_SIZE, _NUMBER = struct.Struct("@N"), struct.Struct("@n")
_turns: WeakValueDictionary[End, threading.Lock] = WeakValueDictionary()  # a process has one table of descriptors
_turns_lock = threading.Lock()


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
        device: of Gloo; other worlds of this process may use it too.
    """

    def __init__(self, board: Board, deadline_s: float, device: Any) -> None:
        super().__init__(board, deadline_s)
        self._device = device
        self._doors: dict[int, Door] = {}  # of those who have told
        self._before: set[int] = set()  # connections that were there when our turn came
        self._turns = contextlib.ExitStack()
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
        with contextlib.ExitStack() as found, self._turns:
            group = gloo(self, self._board.rank, self._board.size, options)
            connections = [found.enter_context(self._connection_with(rank)) for rank in self._board.others]
            found.pop_all()
        return group, connections

    def _connection_with(self, rank: int) -> socket.socket:
        """The connection with a member: new since our turn came if we connect, else what the member says."""
        door = self._doors[rank]
        if self._doors[self._board.rank].connects_to(door):
            found = connections(door.end)
            for inode in found.keys() & self._before:
                found.pop(inode).close()
            connection = _only(found, f"with rank {rank} at {door.end}")
            ends = [_end(connection.getsockname()), _end(connection.getpeername())]
            self._board.announce(f"connection/{rank}", json.dumps(ends).encode(), to=rank)
            return connection
        theirs, ours = json.loads(self._board.read(rank, f"connection/{self._board.rank}", self._deadline_s))
        return _only(connections(tuple(theirs), tuple(ours)), f"with rank {rank}, which connected from {theirs}")

    def set(self, key: str, value: str | bytes) -> None:
        """We tell where we listen."""
        door = Door.read(bytes(value))  # type: ignore[arg-type]  # Gloo gives bytes
        if len(door.numbers) != self._board.size:  # numbers that are ranks would not tell worlds of one device apart
            raise RuntimeError("Gloo numbers connections by rank: unset GLOO_ENABLE_RANK_AS_SEQUENCE_NUMBER")
        self._doors[self._board.rank] = door
        super().set(key, value)

    def get(self, key: str) -> bytes:
        """A member tells where it listens; once all have, Gloo connects. Waits for our turn where we are to."""
        note, rank = super().get(key), int(key.rpartition("/")[2])
        if rank in self._doors:
            return note
        door = Door.read(note)
        if self._doors[self._board.rank].connects_to(door):
            self._take_turn(door)
        with self._lock:
            if self._given_up:
                raise TimeoutError("the world was over before")
            self._doors[rank] = door
        return note

    def _take_turn(self, door: Door) -> None:
        turn = turn_to(door.end)
        if not turn.acquire(timeout=max(0.0, self._deadline_s - time.monotonic())):
            raise TimeoutError(f"other worlds still connect to {door.end}")
        self._turns.callback(turn.release)
        for inode, connection in connections(door.end).items():
            self._before.add(inode)
            connection.close()

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


def turn_to(end: End) -> threading.Lock:
    """Who holds it is the only one in this process that connects to this address."""
    with _turns_lock:
        return _turns.setdefault(end, threading.Lock())


def connections(theirs: End, ours: End | None = None) -> dict[int, socket.socket]:
    """This process' connections between these ends, by inode, each as a descriptor of its own (Linux)."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError), contextlib.ExitStack() as unwanted:  # closed meanwhile, or it listens
            descriptor = int(name)
            status = os.fstat(descriptor)
            if not stat.S_ISSOCK(status.st_mode):
                continue
            connection = unwanted.enter_context(socket.socket(fileno=os.dup(descriptor)))
            if connection.family not in (socket.AF_INET, socket.AF_INET6):
                continue
            inode = os.fstat(connection.fileno()).st_ino
            if (
                inode not in found
                and _end(connection.getpeername()) == theirs
                and ours in (None, _end(connection.getsockname()))
            ):
                unwanted.pop_all()
                found[inode] = connection
    return found


def _end(name: tuple) -> End:
    """Host and port of what `getsockname` says, without the interface that an IPv6 address may name."""
    return name[0].partition("%")[0], name[1]


def _only(found: dict[int, socket.socket], which: str) -> socket.socket:
    if len(found) != 1:
        for connection in found.values():
            connection.close()
        raise RuntimeError(f"{len(found)} data connections {which}, where there must be one")
    return found.popitem()[1]

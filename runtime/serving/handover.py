"""One cluster process takes over from another: it is given the sockets themselves, so that no client notices.

The one that serves waits at a UNIX socket beside its state file. Once the next one knocks there, it takes nothing new, answers
what it has, and hands over where it listens and the connections of its clients; what these send meanwhile waits in the kernel.
Then it ends, as if suddenly, and its workers wait to be asked back.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

SUFFIX = ".handover"
AT_ONCE = 250  # descriptors in one message; the kernel takes 253
WORD_BYTES = 32
PATIENCE_S = 60.0  # until the other one has answered what it has


class NotHandedOver(ValueError):
    """There is a process to take over from, and it does not hand over."""


@dataclass
class Handed:
    """Sockets that go from one process to the next.

    Attributes:
        gateway, control: where it listens.
        clients: connections to the gateway on which nothing is under way.
    """

    gateway: list[socket.socket] = field(default_factory=list)
    control: list[socket.socket] = field(default_factory=list)
    clients: list[socket.socket] = field(default_factory=list)


class Door:
    """Where the next process knocks; for whoever has the state file, on the running event loop.

    Args:
        state: the file.
        knock: called when somebody is there.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(self, state: Path, knock: Callable[[], None]) -> None:
        self._path = _path(state)
        self._path.unlink(missing_ok=True)  # of a process that ended suddenly
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        mask = os.umask(0o177)  # nobody else may knock
        try:
            with _short(self._path) as path:
                self._listener.bind(path)
        finally:
            os.umask(mask)
        self._listener.listen(1)
        self._listener.setblocking(False)
        asyncio.get_running_loop().add_reader(self._listener, knock)

    def close(self) -> socket.socket | None:
        """Whoever is there, to take over; nobody else can from now on."""
        asyncio.get_running_loop().remove_reader(self._listener)
        with self._listener:
            self._path.unlink(missing_ok=True)
            try:
                visitor, _ = self._listener.accept()
            except BlockingIOError:
                return None
        visitor.setblocking(True)
        return visitor


def give(visitor: socket.socket, handed: Handed) -> None:
    """Hands all of it over. To be followed by the end of this process.

    Raises:
        OSError: the other side is gone.
    """
    for word, sockets in vars(handed).items():
        for first in range(0, len(sockets), AT_ONCE):
            socket.send_fds(visitor, [word.encode()], [one.fileno() for one in sockets[first : first + AT_ONCE]])


def take(state: Path) -> Handed | None:
    """Knocks, and waits until all is handed over and the other process has ended. None: there is none.

    Raises:
        NotHandedOver: it does not answer in time.
    """
    handed = Handed()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as knocking:
        knocking.settimeout(PATIENCE_S)
        try:
            with _short(_path(state)) as path:
                knocking.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        with contextlib.suppress(ConnectionResetError):  # it was killed meanwhile
            while _received(knocking, handed, state):
                pass
    return handed if handed.gateway else None


def _received(knocking: socket.socket, handed: Handed, state: Path) -> bool:
    """Takes one message; False: there are no more."""
    try:
        word, descriptors, _, _ = socket.recv_fds(knocking, WORD_BYTES, AT_ONCE)
    except TimeoutError:
        raise NotHandedOver(f"{state}: the process that has it did not hand over within {PATIENCE_S:g} s; end it") from None
    if word:
        getattr(handed, word.decode()).extend(socket.socket(fileno=descriptor) for descriptor in descriptors)
    return bool(word)


def _path(state: Path) -> Path:
    return state.with_name(state.name + SUFFIX)


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """A name of the same file that fits a socket's address, which holds 107 bytes."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)

"""Our pulse: the process that beats for us on every connection to a peer (`beat.py`), kept alive and told that we make
progress. Whenever it has not beaten, we do: until it has started, and while a busy machine keeps it from it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Protocol


class Connection(Protocol):
    """Anything with a descriptor; -1 once it is closed."""

    def fileno(self) -> int: ...


BEAT = Path(__file__).with_name("beat.py")


class Pulse:
    """Starts the beating process, hands it connections, and restarts it if it dies.

    Attributes:
        steady: whether it gets its turns: it has beaten in one of the last two spans between signs of progress.
    """

    def __init__(self) -> None:
        self._connections: list[Connection] = []
        self.steady = self._has_beaten = False
        self._start()

    def _start(self) -> None:
        self._line, child = socket.socketpair()
        self._line.setblocking(False)
        with child:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(BEAT), str(child.fileno())],
                pass_fds=[child.fileno()],
                stdin=subprocess.DEVNULL,
            )

    def add(self, connection: Connection) -> None:
        """Beat on this connection from now on. The caller keeps it, and reads from it."""
        self._connections = [c for c in self._connections if c.fileno() >= 0] + [connection]
        self._hand_over(connection)

    def _hand_over(self, connection: Connection) -> None:
        with contextlib.suppress(OSError):  # it died: the next sign of progress restarts it with all connections
            socket.send_fds(self._line, [b"c"], [connection.fileno()])

    def progress(self) -> None:
        """We are alive. To be called a few times in each `SILENCE_S` (`links.py`): it is also how the beating process is
        missed.
        """
        try:
            self._line.send(b"p")
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            self._start()
            for connection in self._connections:
                if connection.fileno() >= 0:
                    self._hand_over(connection)
        before, self._has_beaten = self._has_beaten, self._heard()
        self.steady = before or self._has_beaten
        if not self._has_beaten:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    os.write(connection.fileno(), b".")

    def _heard(self) -> bool:
        """Whether the process has beaten since we asked last."""
        try:
            return bool(self._line.recv(4096))
        except OSError:
            return False

    def close(self) -> None:
        """End the beating process."""
        self._line.close()
        self._process.kill()
        self._process.wait()

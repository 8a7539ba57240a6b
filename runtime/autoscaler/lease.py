"""Which of several autoscalers leads: the others stand by, and one takes over when the leader is gone."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Protocol


class Lease(Protocol):
    """At most one process holds it at a time."""

    def hold(self) -> bool:
        """Takes or keeps the lease, if it can be had. True: this process leads now."""

    def release(self) -> None:
        """Gives it back."""


class FileLease:
    """A lock on a file in the journal's folder, for autoscalers of one host. The kernel frees it when its holder dies.

    Args:
        folder: the journal's; made where there is none.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "lease"
        self._file = -1

    def hold(self) -> bool:
        """See `Lease`."""
        if self._file >= 0:
            return True
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()}\n".encode())  # for people only
        self._file = file
        return True

    def release(self) -> None:
        """See `Lease`."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

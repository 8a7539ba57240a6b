"""Which of several autoscalers leads: the others stand by, and one takes over when the leader is gone, or silent.

The lease is a lock on the file of the highest number, `lease-7`, in the journal's folder. The kernel frees it when its
holder dies. A holder that is frozen keeps its lock, but no longer touches its file: then another makes `lease-8`, and the
lock on `lease-7` is worth nothing. What the frozen one had begun must still be kept from taking effect (`usurped`).
"""

from __future__ import annotations

import errno
import fcntl
import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol


class Lease(Protocol):
    """At most one process holds it at a time.

    Attributes:
        usurped: it was taken from a process that may yet live, and act on what it knew before.
    """

    usurped: bool

    def hold(self) -> bool:
        """Takes or keeps the lease, if it can be had. True: this process leads now."""

    def release(self) -> None:
        """Gives it back."""


class FileLease:
    """For autoscalers of one host.

    Args:
        folder: the journal's; made where there is none.
        silence_s: a holder that has not asked for so long loses it.
        passed_s: time that passes evenly, from any beginning.
    """

    def __init__(self, folder: Path, silence_s: float = math.inf, passed_s: Callable[[], float] = time.monotonic) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._silence_s, self._passed_s = folder, silence_s, passed_s
        self._file, self._number = -1, 0
        self._touched: tuple[int, int] | None = None  # number and time of the last touch of another's file
        self._touch_seen_s = 0.0
        self.usurped = False

    def hold(self) -> bool:
        """See `Lease`."""
        newest = self._newest()
        if self._file >= 0:
            if newest == self._number:
                with suppress(OSError):  # nobody can be told on a file system that takes no more; it is ours all the same
                    os.utime(self._file)
                return True
            self.release()
            return False
        if self._lock(max(newest, 1)):
            return True
        if self._silent(newest) and self._lock(newest + 1):
            self.usurped = True
            return True
        return False

    def release(self) -> None:
        """See `Lease`."""
        if self._file >= 0:
            os.close(self._file)
        self._file, self.usurped = -1, False

    def _lock(self, number: int) -> bool:
        """Locks the file of a number, if nobody has, and if it is the newest."""
        try:
            file = os.open(self._path(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            return False  # no room for a new file: tried again
        ours = False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = self._newest() == number
        except BlockingIOError:
            pass
        finally:
            if not ours:
                os.close(file)
        if not ours:
            return False
        self._file, self._number = file, number
        with suppress(OSError):  # for people only: a full disk keeps nobody from leading
            os.ftruncate(file, 0)
            os.write(file, f"{os.getpid()}\n".encode())
        with suppress(FileNotFoundError):
            self._path(number - 1).unlink()
        return True

    def _silent(self, number: int) -> bool:
        """Whether we have seen the file of the holder untouched for too long."""
        try:
            touched = number, self._path(number).stat().st_mtime_ns
        except FileNotFoundError:
            return False
        if touched != self._touched:
            self._touched, self._touch_seen_s = touched, self._passed_s()
        return self._passed_s() - self._touch_seen_s > self._silence_s

    def _newest(self) -> int:
        """The highest number that has a file; 0: none."""
        numbers = [path.name.removeprefix("lease-") for path in self._folder.glob("lease-*")]
        return max((int(number) for number in numbers if number.isdecimal()), default=0)

    def _path(self, number: int) -> Path:
        return self._folder / f"lease-{number}"

"""Time for processes that decide: passed in, so that tests can play days in milliseconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

JUMP_S = 1.0
LASTING_S = 60.0


class Clock(Protocol):
    """Tells the time and waits for it."""

    def now_s(self) -> float:
        """Unix time, seconds."""

    def sleep_until(self, t_s: float, stop: threading.Event) -> None:
        """Returns at that time, or as soon as `stop` is set."""


class SteadyClock:
    """Unix time that does not jump where the wall clock does: as it was at the start, and as much more as has passed since.

    A wall clock that has been off by more than `JUMP_S` for `LASTING_S` was set right: then it is followed, at once.

    Args:
        wall_s: Unix time.
        passed_s: time that passes evenly, from any beginning; also while the machine is suspended.
    """

    def __init__(self, wall_s: Callable[[], float] = time.time,
                 passed_s: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME)) -> None:
        self._wall_s, self._passed_s = wall_s, passed_s
        self._start_s = wall_s() - passed_s()
        self._jumped_s: float | None = None  # when the wall clock was first seen to be off

    def now_s(self) -> float:
        """See `Clock`."""
        passed_s = self._passed_s()
        wall_start_s = self._wall_s() - passed_s
        if abs(wall_start_s - self._start_s) <= JUMP_S:
            self._jumped_s = None
        elif self._jumped_s is None:
            self._jumped_s = passed_s
        elif passed_s - self._jumped_s >= LASTING_S:
            self._start_s, self._jumped_s = wall_start_s, None
        return self._start_s + passed_s

    def sleep_until(self, t_s: float, stop: threading.Event) -> None:
        """See `Clock`."""
        while (left_s := t_s - self.now_s()) > 0 and not stop.wait(min(left_s, LASTING_S)):
            pass

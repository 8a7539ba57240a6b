"""Time for processes that decide: passed in, so that tests can play days in milliseconds."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits for it."""

    def now_s(self) -> float:
        """Unix time, seconds."""

    def sleep_until(self, t_s: float, stop: threading.Event) -> None:
        """Returns at that time, or as soon as `stop` is set."""


class SteadyClock:
    """Unix time as it was at the start, and as much more as has passed since: it does not jump where the wall clock does."""

    def __init__(self) -> None:
        self._start_s = time.time() - time.monotonic()

    def now_s(self) -> float:
        """See `Clock`."""
        return self._start_s + time.monotonic()

    def sleep_until(self, t_s: float, stop: threading.Event) -> None:
        """See `Clock`."""
        while (left_s := t_s - self.now_s()) > 0 and not stop.wait(left_s):
            pass

"""Time for emulated models: absolute deadlines, so that being late once makes nothing later; and time dilation."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class AsyncClock(Protocol):
    """What tells the time, and waits for it in an event loop."""

    def now_s(self) -> float:
        """Now, seconds since any fixed time."""

    async def sleep_until(self, t_s: float) -> None:
        """Returns at that time, or soon after; at once where it is past."""


class DilatedClock:
    """The machine's monotonic clock, the same for all its processes.

    Args:
        time_dilation: how many real seconds one second of this clock lasts. With 4, an emulated cluster does everything four
            times as slowly, and so can be four times as large on the same machine; loads and SLOs are to be stretched alike.

    Raises:
        ValueError: a dilation that is not above 0.
    """

    def __init__(self, time_dilation: float = 1.0) -> None:
        if not time_dilation > 0:
            raise ValueError(f"time_dilation {time_dilation}: give a number above 0; 1 is real time")
        self.time_dilation = time_dilation

    def now_s(self) -> float:
        """Seconds of this clock since the machine's start."""
        return time.monotonic() / self.time_dilation

    async def sleep_until(self, t_s: float) -> None:
        """Returns at that time or up to a few milliseconds later: an event loop's timers have whole milliseconds."""
        while (left_s := t_s - self.now_s()) > 0:
            await asyncio.sleep(left_s * self.time_dilation)

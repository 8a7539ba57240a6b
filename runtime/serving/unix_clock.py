"""Unix time for the live cluster: steady where the wall clock jumps."""

from __future__ import annotations

import asyncio

from runtime.clock import SteadyClock

LONGEST_SLEEP_S = 60.0


class UnixClock:
    """An `AsyncClock` that tells Unix time, as the pages and the state file need it; it does not jump with the wall clock."""

    def __init__(self) -> None:
        self._steady = SteadyClock()

    def now_s(self) -> float:
        """Unix time, seconds."""
        return self._steady.now_s()

    async def sleep_until(self, t_s: float) -> None:
        """Returns at that time or up to a few milliseconds later."""
        while (left_s := t_s - self.now_s()) > 0:
            await asyncio.sleep(min(left_s, LONGEST_SLEEP_S))

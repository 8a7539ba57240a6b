"""When queues are tried again: batches that wait to fill start then."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from runtime.gateway.queues import Queue
from runtime.models.dilated_clock import AsyncClock


class Timers:
    """One for each queue, at most.

    Args:
        clock: its time.
        wake: called with a queue at its time.
    """

    def __init__(self, clock: AsyncClock, wake: Callable[[Queue], None]) -> None:
        self._clock, self._wake = clock, wake
        self._set: dict[Queue, tuple[float, asyncio.Task[None]]] = {}

    def set(self, queue: Queue, t_s: float) -> None:
        """Has a queue tried at that time (inf: never), and at no other that was set before."""
        if queue in self._set:
            if self._set[queue][0] == t_s:
                return
            self._set.pop(queue)[1].cancel()
        if t_s < math.inf:
            self._set[queue] = t_s, asyncio.ensure_future(self._run(queue, t_s))

    async def _run(self, queue: Queue, t_s: float) -> None:
        await self._clock.sleep_until(t_s)
        del self._set[queue]
        self._wake(queue)

    async def close(self) -> None:
        """Sets none any more."""
        tasks = [task for _, task in self._set.values()]
        self._set.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

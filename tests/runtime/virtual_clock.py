"""A clock for tests of asyncio code: time stands still until all tasks wait for it, then jumps to the next deadline."""

import asyncio
import heapq
from itertools import count

SETTLE = 25  # turns of the event loop after which all that can go on has done so


class VirtualClock:
    """What `runtime.clock` gives, without waiting."""

    def __init__(self):
        self.t_s, self._waiting, self._order = 0.0, [], count()

    def now_s(self):
        return self.t_s

    async def sleep_until(self, t_s):
        if t_s > self.t_s:
            future = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (t_s, next(self._order), future))
            await future

    async def drive(self, coroutine):
        """Plays until a coroutine is done, and gives its result."""
        task = asyncio.ensure_future(coroutine)
        while not task.done():
            await self.settle()
            if self._waiting:
                self._jump()
        return task.result()

    async def run_until(self, t_s, *, inclusive=True):
        """Plays all that is due before a time (and at it), and stands there."""
        await self.settle()
        while self._waiting and (self._waiting[0][0] < t_s or (inclusive and self._waiting[0][0] == t_s)):
            self._jump()
            await self.settle()
        self.t_s = t_s

    def _jump(self):
        t_s, _, future = heapq.heappop(self._waiting)
        if not future.done():
            self.t_s = t_s
            future.set_result(None)

    async def settle(self):
        for _ in range(SETTLE):
            await asyncio.sleep(0)

"""A world for asyncio: the same operations, awaited.

Each lane (direction, peer, tag, plain or message) gets one thread with its first operation, which it keeps until the world is
over.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch

from .backends.wire import Reduction
from .fate import State
from .world import World

Job = Callable[[], Any]
Deliver = Callable[[Any, bool], object]


class _Lane:
    """One thread, and those who wait for what it brings, in order."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[tuple[Job, Deliver] | None] = queue.SimpleQueue()
        self._takers: deque[asyncio.Future[Any]] = deque()
        self._kept: deque[Any] = deque()  # came for somebody who had stopped waiting
        self._takes_under_way = 0
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        while (entry := self._jobs.get()) is not None:
            job, deliver = entry
            try:
                outcome, failed = job(), False
            except Exception as error:
                outcome, failed = error, True
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(deliver, outcome, failed)

    async def run(self, job: Job) -> Any:
        """Run a job; the jobs of a lane run in order."""
        future = self._loop.create_future()
        self._jobs.put((job, lambda outcome, failed: _settle(future, outcome, failed)))
        return await future

    async def take(self, job: Job) -> Any:
        """The outcome of the next job, all of a lane being alike; one whose taker was cancelled goes to the next taker."""
        if self._kept:
            return self._kept.popleft()
        self._takers = deque(taker for taker in self._takers if not taker.done())
        future = self._loop.create_future()
        self._takers.append(future)
        if self._takes_under_way < len(self._takers):
            self._takes_under_way += 1
            self._jobs.put((job, self._taken))
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._kept.appendleft(future.result())  # it came in the moment in which its taker was cancelled
            raise

    def _taken(self, outcome: Any, failed: bool) -> None:
        self._takes_under_way -= 1
        while self._takers:
            if _settle(self._takers.popleft(), outcome, failed):
                return
        if not failed:
            self._kept.append(outcome)

    def close(self) -> None:
        """End the thread, after what it is doing."""
        self._jobs.put(None)


def _settle(future: asyncio.Future[Any], outcome: Any, failed: bool) -> bool:
    """Give a future its outcome, unless nobody waits for it any more."""
    if future.done():
        return False
    if failed:
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
    return True


class AsyncWorld:
    """Operations of a world as coroutines; `world` has everything else.

    Cancelling a coroutine does not stop an operation that is under way. A message that arrives for a cancelled `recv_message`
    goes to the next one, so none is lost; a cancelled `recv` fills its tensor all the same.

    Args:
        world: one that is up, or coming up (`wait`).
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._lanes: dict[Hashable, _Lane] = {}
        world.at_end.append(self._close)
        if world.over:
            self._close()

    def _close(self) -> None:
        for lane in list(self._lanes.values()):
            lane.close()

    def _lane(self, *key: Hashable) -> _Lane:
        lane = self._lanes.get(key)
        if lane is None:
            self.world.raise_if_over()
            lane = self._lanes[key] = _Lane(f"world-{self.world.name}-{'-'.join(map(str, key))}")
            if self.world.over:
                lane.close()
        return lane

    async def wait(self, *states: State) -> State:
        """Wait until the world is in one of the states, or over; see `World.wait`. Takes no thread."""
        world, loop, turned = self.world, asyncio.get_running_loop(), asyncio.Event()

        def stir() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(turned.set)

        world.at_turn.append(stir)
        try:
            while not (world.state in states or world.over):
                await turned.wait()
                turned.clear()
            return world.state
        finally:
            world.at_turn.remove(stir)

    async def send(self, tensor: torch.Tensor, dst: int, tag: int = 0) -> None:
        """See `World.send`."""
        await self._lane("send", dst, tag).run(lambda: self.world.send(tensor, dst, tag))

    async def recv(self, tensor: torch.Tensor, src: int, tag: int = 0) -> torch.Tensor:
        """See `World.recv`."""
        return await self._lane("recv", src, tag).run(lambda: self.world.recv(tensor, src, tag))

    async def send_message(self, tensors: Sequence[torch.Tensor], dst: int, tag: int = 0) -> None:
        """See `World.send_message`."""
        await self._lane("send_message", dst, tag).run(lambda: self.world.send_message(tensors, dst, tag))

    async def recv_message(self, src: int, tag: int = 0) -> list[torch.Tensor]:
        """See `World.recv_message`."""
        return await self._lane("recv_message", src, tag).take(lambda: self.world.recv_message(src, tag))

    async def broadcast(self, tensor: torch.Tensor, src: int) -> torch.Tensor:
        """See `World.broadcast`."""
        return await self._collect(lambda: self.world.broadcast(tensor, src))

    async def all_reduce(self, tensor: torch.Tensor, op: Reduction = Reduction.SUM) -> torch.Tensor:
        """See `World.all_reduce`."""
        return await self._collect(lambda: self.world.all_reduce(tensor, op))

    async def reduce(self, tensor: torch.Tensor, dst: int, op: Reduction = Reduction.SUM) -> torch.Tensor:
        """See `World.reduce`."""
        return await self._collect(lambda: self.world.reduce(tensor, dst, op))

    async def gather(self, tensor: torch.Tensor, dst: int) -> list[torch.Tensor] | None:
        """See `World.gather`."""
        return await self._collect(lambda: self.world.gather(tensor, dst))

    async def all_gather(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """See `World.all_gather`."""
        return await self._collect(lambda: self.world.all_gather(tensor))

    async def scatter(self, tensor: torch.Tensor, src: int, parts: Sequence[torch.Tensor] | None = None) -> torch.Tensor:
        """See `World.scatter`."""
        return await self._collect(lambda: self.world.scatter(tensor, src, parts))

    async def barrier(self) -> None:
        """See `World.barrier`."""
        await self._collect(self.world.barrier)

    async def _collect(self, job: Job) -> Any:
        return await self._lane("collective").run(job)

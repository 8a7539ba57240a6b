"""The event loop's end of a world with a worker: sending waits for nothing, and what comes is handed to a function."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

import numpy as np

from runtime.serving.worker_wire import Head, decode_arrays, encode_arrays
from runtime.worlds import AsyncMessages, World, WorldError

Hear = Callable[[Head, list[np.ndarray]], None]


class Line:
    """A world of two that is up, for the running event loop; made by `open`. It ends with the world.

    Attributes:
        world: with a worker, who joined it as rank 1, or has created it as rank 0.
        heard: called with each message that comes, on the loop; until it is set, `hear` gives them.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._messages: AsyncMessages
        self._come: asyncio.Queue[Head | WorldError] = asyncio.Queue()
        self.heard: Hear = lambda head, arrays: self._come.put_nowait(head)

    @classmethod
    async def open(cls, world: World) -> Line:
        """Once the worker has said something.

        Raises:
            WorldError: the world is over.
        """
        line, loop = cls(world), asyncio.get_running_loop()
        line._messages = await AsyncMessages.open(world, 1 - world.rank, line._hand_over)

        def over() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(line._come.put_nowait, world.failure())

        world.at_end.append(over)
        if world.over:
            over()
        return line

    def send(self, head: Head, arrays: Sequence[np.ndarray] = ()) -> None:
        """Send a message, after those before it; where the world is over, nothing.

        Raises:
            WorldError: a message cannot hold this.
        """
        self._messages.send(encode_arrays(head, arrays))

    async def hear(self) -> Head:
        """The head of the next message.

        Raises:
            WorldError: the world is over.
        """
        come = await self._come.get()
        if isinstance(come, WorldError):
            raise come
        return come

    def _hand_over(self, message: list[np.ndarray]) -> None:
        self.heard(*decode_arrays(message))

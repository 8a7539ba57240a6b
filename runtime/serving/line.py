"""The event loop's end of a world with a worker: sending waits for nothing, and what comes is handed to a function.

One thread sends and one receives, so that a batch wakes one of them on its way out and one on its way back.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable

import torch

from runtime.serving.worker_wire import Head, decode, encode
from runtime.worlds import World, WorldError

Hear = Callable[[Head, list[torch.Tensor]], None]
Unsent = Callable[[Head, Exception], None]


class Line:
    """A world of two that is up, for the running event loop. It ends with the world.

    Args:
        world: with a worker, who joined it as rank 1, or has created it as rank 0.

    Attributes:
        heard: called with each message that comes, on the loop; until it is set, `hear` gives them.
        unsent: called with the head of what cannot be sent, and why, on the loop.
    """

    def __init__(self, world: World) -> None:
        self.world, self._peer, self._loop = world, 1 - world.rank, asyncio.get_running_loop()
        self._come: asyncio.Queue[Head | WorldError] = asyncio.Queue()
        self.heard: Hear = lambda head, tensors: self._come.put_nowait(head)
        self.unsent: Unsent = lambda head, error: None
        self._out: queue.SimpleQueue[tuple[Head, list[torch.Tensor]] | None] = queue.SimpleQueue()
        for run, what in ((self._send_all, "out"), (self._receive_all, "in")):
            threading.Thread(target=run, name=f"{world.name} {what}", daemon=True).start()
        world.at_end.append(lambda: self._out.put(None))
        if world.over:
            self._out.put(None)

    def send(self, head: Head, tensors: list[torch.Tensor] | None = None) -> None:
        """Send a message, after those before it."""
        self._out.put((head, tensors or []))

    async def hear(self) -> Head:
        """The head of the next message.

        Raises:
            WorldError: the world is over.
        """
        come = await self._come.get()
        if isinstance(come, WorldError):
            raise come
        return come

    def _send_all(self) -> None:
        while (message := self._out.get()) is not None:
            try:
                self.world.send_message(encode(*message), self._peer)
            except Exception as error:  # whatever it is: somebody may wait for an answer
                self._on_loop(self.unsent, message[0], error)

    def _receive_all(self) -> None:
        try:
            while True:
                head, tensors = decode(self.world.recv_message(self._peer))
                self._on_loop(self._hand_over, head, tensors)
        except WorldError as error:
            self._on_loop(self._come.put_nowait, error)

    def _hand_over(self, head: Head, tensors: list[torch.Tensor]) -> None:
        self.heard(head, tensors)

    def _on_loop(self, call: Callable[..., None], *arguments: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *arguments)

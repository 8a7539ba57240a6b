"""What is left to do for worlds that are over, by a thread that may take its time: tell those who asked, and free them."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from .world import World

log = logging.getLogger(__name__)


class Burial:
    """For the worlds of one manager.

    Attributes:
        callbacks: called with every world that has broken.
    """

    def __init__(self) -> None:
        self.callbacks: list[Callable[[World], None]] = []
        self._over: queue.SimpleQueue[World | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="worlds-ended", daemon=True)
        self._thread.start()

    def add(self, world: World) -> None:
        """A world is over."""
        self._over.put(world)

    def close(self) -> None:
        """Once all have had theirs."""
        self._over.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (world := self._over.get()) is not None:
            for callback in self.callbacks if world.broken else []:
                try:
                    callback(world)
                except Exception:
                    log.exception("a callback of on_broken failed for world %r", world.name)
            world.free()
            del world  # the next one may be long in coming

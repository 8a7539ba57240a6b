"""What the control links bring: which world it is for, and what it means there."""

from __future__ import annotations

import binascii
import threading
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from socket import socket
from typing import Any

from .coming import Coming
from .fate import Reason
from .joining import Joining
from .leaving import answer_leave
from .links import Links
from .streams import Key
from .world import World

EARLY_FRAMES = 1000  # at most, of worlds of which we have not heard yet


class Post:
    """The links of one process, and the worlds that talk over them. What comes is handled on the links' thread, and nothing
    here blocks.

    Args:
        host, port, token, silence_s: as of `Links`.

    Raises:
        OSError: the address cannot be bound.

    Attributes:
        links: of this process.
        joining: where what comes before a world is known goes.
    """

    def __init__(self, host: str, port: int, token: str, silence_s: float) -> None:
        self._lock = threading.Lock()
        self._worlds: dict[str, World] = {}  # by uid
        self._coming: dict[World, Coming] = {}
        self._early: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.links = Links(host, port, token, self._on_frame, self._on_lost, self._on_stream, self._on_tick,
                           silence_s)  # fmt: skip
        self.joining = Joining(self.links)
        self.links.serve()

    def admit(self, world: World) -> None:
        """From here on frames and losses reach the world, also those that came before it was known."""
        with self._lock:
            self._worlds[world.uid] = world
            early = self._early.pop(world.uid, [])
        for frame in early:
            self._deliver(world, frame)
        for rank, member in enumerate(world.members):
            met = rank == 0 or world.rank == 0  # the others meet next
            if met and rank != world.rank and not self.links.has(member.uid):
                world.breaks(Reason.PEER_DIED, rank, "its process is gone")

    def forget(self, world: World) -> None:
        """The world is over."""
        with self._lock:
            self._worlds.pop(world.uid, None)
        if (coming := self._coming.get(world)) is not None:
            self.links.soon(coming.stir)

    def send(self, world: World, frame: dict[str, Any], ranks: Iterable[int] | None = None) -> None:
        """Send a frame to the other members of a world; all, or those of the given ranks. From any thread."""
        for rank, member in enumerate(world.members):
            if rank != world.rank and (ranks is None or rank in ranks):
                self.links.send(member.uid, {**frame, "world": world.uid, "rank": world.rank})

    def tell_end(self, world: World) -> None:
        """A world has broken here: the others hear of it, and why."""
        if world.broken is not None and world.broken.reason is not Reason.LEFT:
            blame = {"reason": world.broken.reason, "peer": world.broken.peer, "text": world.broken.text}
            self.send(world, {"type": "over", **blame})

    # --- Coming up -----------------------------------------------------------------------------------------------------------

    def bring_up(self, coming: Coming, work: Coroutine[Any, Any, None], presses: Callable[[], bool]) -> None:
        """Have the links' thread do it; what comes for the world stirs it meanwhile, and every tick. From any thread."""
        self._coming[coming.world] = coming

        async def until_it_is_done() -> None:
            try:
                await work
            finally:
                del self._coming[coming.world]

        self.links.start(partial(coming.begin, until_it_is_done()), presses)

    def _on_tick(self) -> None:
        for coming in list(self._coming.values()):
            coming.stir()

    # --- What comes ----------------------------------------------------------------------------------------------------------

    def _on_frame(self, uid: str, frame: dict[str, Any]) -> None:
        if "world" not in frame:
            self.joining.receive(uid, frame)
            return
        with self._lock:
            world = self._worlds.get(frame["world"])
            if world is None:
                self._early[frame["world"]].append(frame)
                while sum(map(len, self._early.values())) > EARLY_FRAMES:
                    self._early.pop(next(iter(self._early)))
        if world is not None:
            self._deliver(world, frame)

    def _deliver(self, world: World, frame: dict[str, Any]) -> None:
        kind, rank = frame["type"], frame["rank"]
        if kind == "note":
            world.note(rank, frame["key"], binascii.a2b_base64(frame["value"]))
            if (coming := self._coming.get(world)) is not None:
                coming.stir()
        elif kind == "over":
            world.breaks(Reason(frame["reason"]), frame["peer"], f"rank {rank} says: {frame['text']}")
        elif kind == "leave":
            answer_leave(world, rank, frame["sent"], partial(self.send, world), self.links.later)
        elif kind == "farewell":
            world.farewell(rank, frame["sent"])

    def _on_stream(self, uid: str, name: str, stream: socket) -> None:
        key = Key.read(name)
        with self._lock:
            world = self._worlds.get(key.world)
        if world and world.streams and key.rank < world.size and world.members[key.rank].uid == uid:
            world.streams.accept(key.rank, key.way, stream)
        else:
            stream.close()  # the world is over

    def _on_lost(self, uid: str, reason: Reason, text: str) -> None:
        with self._lock:
            lost = [
                (world, rank)
                for world in self._worlds.values()
                for rank, member in enumerate(world.members)
                if member.uid == uid
            ]
        for world, rank in lost:
            world.breaks(reason, rank, text)
        self.joining.lost(uid, text)

"""Control links: one TCP connection to each process that we share a world with, and one on which pulses run.

One thread with one event loop serves all of them and never blocks. It notices a crash (the link resets), a freeze (no pulse
for `silence_s`) and a leave (said on the link), whatever the data connections do. It counts silence in ticks that came on
time, so that a pause of our own process is never taken for a peer's, and counts it slowly while our own beating process does
not get its turns either: the machine has too much to do, and a peer's may wait as long.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

import uvloop

from .control_frames import ControlFrames
from .fate import Reason
from .handshake import Introduction, Refused, encode, shake_hands
from .peer import Peer, own_end
from .pulse import Pulse

log = logging.getLogger(__name__)
TICK_S = 0.05
SILENCE_S = 0.5  # what a process takes for a freeze, unless it is told to be more patient
PROGRESS_TICKS = 2
SLOWLY = 0.2  # of the time counts where the machine has too much to do
HANDLED_TURNS = 8  # of the loop: more than lie between what a socket has and what is done about it
HANDSHAKE_S = 5.0
STREAM = "stream "
T = TypeVar("T")


class Links:
    """All links of this process.

    Args:
        host: the address to listen on.
        port: the port; 0 takes a free one.
        token: what both sides must know.
        on_frame: called with `(uid, frame)` on the loop's thread; must not block.
        on_lost: called with `(uid, reason, text)` on the loop's thread when a peer is gone; must not block.
        on_stream: called with `(uid, name, connection)` on the loop's thread when a peer has opened a stream; must not block.
        on_tick: called on the loop's thread every `TICK_S` or so; must not block.
        silence_s: without a pulse, after which a peer has frozen.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(
        self,
        host: str,
        port: int,
        token: str,
        on_frame: Callable[[str, dict[str, Any]], None],
        on_lost: Callable[[str, Reason, str], None],
        on_stream: Callable[[str, str, socket.socket], None],
        on_tick: Callable[[], None],
        silence_s: float = SILENCE_S,
    ) -> None:
        self.uid, self._silence_s = uuid.uuid4().hex, silence_s
        self._token, self._on_frame, self._on_lost, self._on_stream = token, on_frame, on_lost, on_stream
        self._on_tick = on_tick
        self._peers: dict[str, list[Peer]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._beginning: deque[Callable[[], None]] = deque()
        self._listener = socket.create_server((host, port))
        self.address = f"{host}:{self._listener.getsockname()[1]}"
        self._pulse = Pulse()
        self._loop = uvloop.new_event_loop()
        self._serving = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="worlds-links", daemon=True)

    def serve(self) -> None:
        """Begin; who has dialled before is answered now."""
        self._thread.start()
        self._serving.wait()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._server = self._loop.run_until_complete(asyncio.start_server(self._accept, sock=self._listener))
        self.spawn(self._watch())
        self._serving.set()
        self._loop.run_forever()
        self._loop.close()

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine on the loop, whose thread is ours."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float) -> T:
        """Run a coroutine on the loop from another thread, and wait for it.

        Raises:
            TimeoutError: it took longer; it is cancelled.
        """
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_s)
        finally:
            future.cancel()

    def start(self, call: Callable[[], None], presses: Callable[[], bool]) -> None:
        """Call something on the loop's thread, from any: at once, or where nothing presses with the next frame or tick, and
        the loop is not woken for it. It must not block, nor fail.
        """
        self._beginning.append(call)
        if presses():
            self._loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        while self._beginning:
            self._beginning.popleft()()

    def soon(self, call: Callable[[], None]) -> None:
        """Call something on the loop's thread; at once where that is ours. It must not block."""
        if threading.current_thread() is self._thread:
            call()
        else:
            with contextlib.suppress(RuntimeError):  # closed meanwhile
                self._loop.call_soon_threadsafe(call)

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call something on the loop's thread after a while. It must not block."""
        self._loop.call_soon_threadsafe(self._loop.call_later, delay_s, call)

    def caught_up(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call something on the loop's thread once it has handled all that will have come after a while, however late that
        is. It must not block.
        """

        async def catch_up() -> None:
            await asyncio.sleep(delay_s)
            for _ in range(HANDLED_TURNS):
                await asyncio.sleep(0)
            call()

        with contextlib.suppress(RuntimeError):  # closed meanwhile
            self._loop.call_soon_threadsafe(lambda: self.spawn(catch_up()))

    def close(self) -> None:
        """Say goodbye to all peers and stop. Worlds should have been left before."""
        if not self._loop.is_closed():
            with contextlib.suppress(TimeoutError):
                self.run(self._say_goodbye(), 2.0)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._pulse.close()

    async def _say_goodbye(self) -> None:
        self._server.close()
        self._begin()
        peers = [peer for links in self._peers.values() for peer in links]
        self._peers.clear()
        for peer in peers:
            peer.send(encode({"type": "bye"}))
            peer.hang_up()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- Sending -------------------------------------------------------------------------------------------------------------

    def send(self, uid: str, frame: dict[str, Any]) -> None:
        """Send a frame to a peer, from any thread. To a peer that is gone: nothing; `on_lost` has been called or will be."""
        data = encode(frame)
        for peer in self._peers.get(uid, [])[:1]:
            peer.send(data)

    def has(self, uid: str) -> bool:
        """Whether we are linked to a process."""
        return uid in self._peers

    # --- Meeting -------------------------------------------------------------------------------------------------------------

    async def connect(self, address: str, timeout_s: float) -> str:
        """Be linked to the process that listens there; its uid.

        Raises:
            Refused: wrong token, or no process of ours.
            TimeoutError: no answer in time.
            OSError: nobody listens there.
        """
        for peers in self._peers.values():
            if peers[0].address == address and peers[0].pulses is not None:
                return peers[0].uid
        return await self.spawn(self._connect(address, timeout_s))

    async def _connect(self, address: str, timeout_s: float) -> str:
        async with asyncio.timeout(timeout_s):
            them, reader, writer = await self._open(address, "control")
            peer = await self._register(them, reader, writer)
            _, pulse_reader, pulse_writer = await self._open(address, "pulse")
            self._beat(peer, pulse_reader, pulse_writer)
            return peer.uid

    def dial(self, address: str, name: str) -> Future[socket.socket]:
        """A stream of that name to the process that listens there: a connection that is the caller's. It may fail with
        `Refused` or OSError.
        """
        return asyncio.run_coroutine_threadsafe(self._dial(address, name), self._loop)

    async def _dial(self, address: str, name: str) -> socket.socket:
        async with asyncio.timeout(HANDSHAKE_S):
            _, _, writer = await self._open(address, f"{STREAM}{name}")
        return _taken(writer)

    async def _open(self, address: str, kind: str) -> tuple[Introduction, asyncio.StreamReader, asyncio.StreamWriter]:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            me = Introduction(self.uid, self.address, kind)
            return await shake_hands(reader, writer, me, self._token, accepting=False), reader, writer
        except asyncio.IncompleteReadError:
            writer.close()
            raise Refused("it hung up: another token there, or no process of ours") from None
        except BaseException:
            writer.close()
            raise

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            me = Introduction(self.uid, self.address, "accept")
            async with asyncio.timeout(HANDSHAKE_S):
                them = await shake_hands(reader, writer, me, self._token, accepting=True)
        except (Refused, TimeoutError, asyncio.IncompleteReadError, OSError, KeyError):
            writer.close()
            return
        if them.kind == "control":
            await self._register(them, reader, writer)
        elif them.kind.startswith(STREAM):
            self._on_stream(them.uid, them.kind.removeprefix(STREAM), _taken(writer))
        elif them.uid in self._peers:
            self._beat(self._peers[them.uid][-1], reader, writer)
        else:
            writer.close()

    async def _register(self, them: Introduction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Peer:
        peer = Peer(them, writer)
        # Two processes may dial each other at once: both links stay, frames use the older one.
        self._peers.setdefault(peer.uid, []).append(peer)
        frames = ControlFrames(partial(self._hear, peer), partial(self._end, peer))
        await frames.take_over(reader, writer.transport)
        if peer.ended():  # which only the reader has heard
            self._end(peer, None)
        return peer

    def _beat(self, peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer.pulses = writer
        self._pulse.add(writer.get_extra_info("socket"))
        self.spawn(self._feel(peer, reader))

    # --- Listening -----------------------------------------------------------------------------------------------------------

    def _hear(self, peer: Peer, frame: dict[str, Any]) -> None:
        if frame.get("type") == "bye":
            peer.leaving = True
        else:
            self._on_frame(peer.uid, frame)
            self._begin()  # only now: it may begin with what has just come

    def _end(self, peer: Peer, error: Exception | None) -> None:
        if error is not None:
            log.error("a frame of %s could not be handled", peer.address, exc_info=error)
            self._lose(peer, Reason.PEER_DIED, str(error))
        elif peer.leaving:
            self._lose(peer, Reason.LEFT, "its process ended in good order")
        else:
            self._lose(peer, Reason.PEER_DIED, "its process closed the control link")

    async def _feel(self, peer: Peer, pulses: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while await pulses.read(4096):
                peer.silent_s = 0.0

    async def _watch(self) -> None:
        due_s, ticks = time.monotonic(), 0
        while True:
            due_s, ticks = due_s + TICK_S, ticks + 1
            try:
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                in_time = time.monotonic() - due_s <= TICK_S
                self._tick(in_time, makes_progress=ticks % PROGRESS_TICKS == 0)
            except (MemoryError, OSError):  # no memory, no descriptor for a beating process: the watch goes on
                in_time = False
                time.sleep(TICK_S)  # which needs neither
            if not in_time:
                due_s = time.monotonic()

    def _tick(self, in_time: bool, makes_progress: bool) -> None:
        self._begin()
        self._on_tick()
        if makes_progress:
            self._pulse.progress()
        if not in_time:  # it was we who slept: what the peers sent meanwhile has yet to be read
            return
        for peer in [peer for peers in self._peers.values() for peer in peers if peer.pulses]:
            peer.silent_s += TICK_S if self._pulse.steady else SLOWLY * TICK_S
            if peer.silent_s >= self._silence_s - TICK_S / 2:
                self._lose(peer, Reason.FROZEN, f"no pulse for {self._silence_s:g} s")

    def _lose(self, peer: Peer, reason: Reason, text: str) -> None:
        links = self._peers.get(peer.uid, [])
        if peer in links:
            del self._peers[peer.uid]
            for link in links:
                link.hang_up()
            self._on_lost(peer.uid, reason, text)


def _taken(writer: asyncio.StreamWriter) -> socket.socket:
    """The connection of a transport that has nothing more to do: nothing but the handshake has been read from it."""
    connection = own_end(writer)
    writer.transport.abort()
    connection.setblocking(True)
    return connection

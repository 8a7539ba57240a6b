"""All worlds of one process: created, joined, left, watched."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from functools import partial
from typing import Any

import torch

from runtime.addresses import is_loopback

from .backends.gloo import Gloo
from .backends.inproc import Exchange
from .backends.nccl import Nccl
from .backends.wire import Backend
from .burial import Burial
from .coming import Coming, bring_up
from .fate import NameTaken, Reason, State, WorldClosed
from .invitation import Invitation
from .leaving import take_leave
from .links import SILENCE_S
from .post import Post
from .world import World


class WorldManager:
    """Makes worlds with other processes' managers, and notices what becomes of them.

    Nothing is kept process-wide: a process may have several managers (tests do). Close it, or use it in a `with` statement.

    Args:
        host: where to listen, for control links and for data.
        port: for control links; 0 takes a free one (`address` tells).
        token: what all processes that meet must know.
        exchange: where managers of one process meet, for worlds of backend "inproc".
        silence_s: for how long a peer may stand still. Whose peers are watched by somebody quicker can afford patience.

    Raises:
        ValueError: another host than this machine's own, without a token.
        OSError: the address cannot be bound.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, token: str = "", exchange: Exchange | None = None, *,
                 silence_s: float = SILENCE_S) -> None:
        if not is_loopback(host) and not token:
            raise ValueError(f"whoever reaches {host} could join worlds: give a token")
        self._backends: dict[str, Backend] = {"gloo": Gloo(host), "nccl": Nccl()}
        if exchange is not None:
            self._backends["inproc"] = exchange
        self._lock = threading.Lock()
        self._named: dict[str, World] = {}
        self._closed = False
        self._burial = Burial()
        self._post = Post(host, port, token, silence_s)
        self.links = self._post.links
        atexit.register(self.close)  # a process group must not outlive its interpreter

    def __enter__(self) -> WorldManager:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def address(self) -> str:
        """Where others reach us, `host:port`."""
        return self.links.address

    # --- Making worlds -------------------------------------------------------------------------------------------------------

    def create(
        self,
        name: str,
        size: int,
        *,
        backend: str = "gloo",
        device: str | torch.device | None = None,
        init_timeout_s: float = 30.0,
        op_timeout_s: float | None = None,
        wait: bool = True,
    ) -> World:
        """Create a world, as its rank 0; the others `join` it here.

        Args:
            name: free in this process; a name can be used again once its world is over.
            size: number of members, at least 2.
            backend: "gloo", "nccl" or "inproc".
            device: where tensors will be; None takes the backend's usual one.
            init_timeout_s: the whole of coming up must be done by then.
            op_timeout_s: after how long an operation breaks the world; None waits as long as its members live.
            wait: return when the world is up; otherwise at once, in state JOINING (`World.wait` waits, `World.broken` tells).

        Raises:
            NameTaken: a world of that name lives here.
            WorldClosed: the manager is closed.
            InitFailed: it did not come up.
        """
        if size < 2:
            raise ValueError(f"a world of {size} members; it takes at least 2")
        if backend not in self._backends and not self._closed:
            raise ValueError(f"no backend {backend!r} here; there are {', '.join(sorted(self._backends))}")
        invite, presses = partial(self._post.joining.gather, name, size, backend), self._post.joining.awaited
        return self._start(name, invite, presses, device, init_timeout_s, op_timeout_s, wait)

    def join(
        self,
        name: str,
        rank: int,
        address: str,
        *,
        device: str | torch.device | None = None,
        init_timeout_s: float = 30.0,
        op_timeout_s: float | None = None,
        wait: bool = True,
    ) -> World:
        """Join a world that is, or will soon be, created at another manager's `address`.

        Args:
            name: the world's.
            rank: ours, from 1 to size - 1.
            address: the creating manager's.
            device: as in `create`, like all that follow.
            init_timeout_s: the whole of coming up must be done by then.
            op_timeout_s: after how long an operation breaks the world.
            wait: return when the world is up.

        Raises:
            NameTaken, WorldClosed: as `create`.
            InitFailed: it did not come up: nobody there, a wrong token, a rank that is taken, nobody who created it in time.
        """
        if rank < 1:
            raise ValueError(f"rank {rank} cannot join: rank 0 creates the world, the others are 1 to size - 1")
        ask = partial(self._post.joining.ask, name, rank, address)
        return self._start(name, ask, lambda: True, device, init_timeout_s, op_timeout_s, wait)

    def renew(self, world: World, *, without: Collection[int] = (), more: int = 0, **options: Any) -> World:
        """A new world of the same name with the members of one that is over, less some, and more to come.

        Every remaining member calls it alike; they keep their order, and the first of them creates. New ones `join` it there,
        as the ranks that follow.

        Args:
            world: one that is over.
            without: ranks in it that will not come.
            more: how many new members will.
            options: as of `create`; backend and device are as they were.

        Raises:
            NameTaken, WorldClosed, InitFailed: as `create`.
        """
        remaining = [rank for rank in range(world.size) if rank not in without]
        if world.rank not in remaining:
            raise ValueError(f"rank {world.rank} is to stay out of {world.name!r}, and that is we")
        rank, options = remaining.index(world.rank), {"device": world.device, **options}
        if rank == 0:
            return self.create(world.name, len(remaining) + more, backend=world.backend, **options)
        return self.join(world.name, rank, world.members[remaining[0]].address, **options)

    def _start(
        self,
        name: str,
        invite: Callable[[Coming], Awaitable[Invitation]],
        presses: Callable[[], bool],
        device: str | torch.device | None,
        init_timeout_s: float,
        op_timeout_s: float | None,
        wait: bool,
    ) -> World:
        world = World(name, None if device is None else torch.device(device), op_timeout_s)
        world.at_end.insert(0, partial(self._post.tell_end, world))  # before the others notice that their connections end
        world.at_end.append(partial(self._on_end, world))
        with self._lock:
            if self._closed:
                raise WorldClosed(f"no world {name!r}: the manager is closed")
            if name in self._named and not self._named[name].over:
                raise NameTaken(f"world {name!r} lives in this process ({self._named[name].state}): leave it first")
            self._named[name] = world
        world.advance(State.JOINING)
        coming = Coming(world, time.monotonic() + init_timeout_s)
        self._post.bring_up(coming, self._come_up(coming, invite), presses)
        if wait:
            world.wait(State.UP, State.DRAINING)  # where another leaves at once: what it has sent can be received
            world.raise_if_over()
        return world

    async def _come_up(self, coming: Coming, invite: Callable[[Coming], Awaitable[Invitation]]) -> None:
        try:
            welcome = partial(self._post.joining.welcome, coming.world.name)
            await bring_up(coming, await invite(coming), self._backends, self.links, self._post.admit, welcome)
        except Exception as error:  # whatever it is, it is why the world did not come up
            coming.world.breaks(Reason.INIT_FAILED, None, f"{error}" or type(error).__name__)

    # --- Living with them ----------------------------------------------------------------------------------------------------

    def list(self) -> list[World]:
        """The worlds that are not over."""
        with self._lock:
            return list(self._named.values())

    def on_broken(self, callback: Callable[[World], None]) -> None:
        """Call this with every world that breaks, on a thread of the manager's own; the world's operations have been freed by
        then.
        """
        self._burial.callbacks.append(callback)

    def wait_any(self, worlds: Iterable[World], *states: State, timeout_s: float | None = None) -> World:
        """The first of the worlds that is in one of the states; without states, the first that is over.

        Raises:
            TimeoutError: none in time.
        """
        worlds, awaited, turned = tuple(worlds), states or (State.CLOSED, State.BROKEN), threading.Event()
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        for world in worlds:
            world.at_turn.append(turned.set)
        try:
            while (found := next((world for world in worlds if world.state in awaited), None)) is None:
                if not turned.wait(None if until_s is None else max(0.0, until_s - time.monotonic())):
                    raise TimeoutError(f"no world of {len(worlds)} was {' or '.join(awaited)} within {timeout_s} s")
                turned.clear()
            return found
        finally:
            for world in worlds:
                world.at_turn.remove(turned.set)

    def leave(self, world: World, drain_s: float = 5.0) -> None:
        """Take leave of a world: finish what is under way for at most `drain_s`, tell the others, close it. One that is over:
        nothing.
        """
        take_leave(world, partial(self._post.send, world), drain_s)

    def close(self) -> None:
        """Leave all worlds, and stop."""
        atexit.unregister(self.close)
        with self._lock:
            self._closed = True
        for world in self.list():
            self.leave(world)
        self._burial.close()
        self.links.close()
        self._backends.clear()  # and with them what their worlds shared

    def _on_end(self, world: World) -> None:
        """A world is over: its name is free, and it is freed."""
        with self._lock:
            if self._named.get(world.name) is world:
                del self._named[world.name]
        self._post.forget(world)
        if world.broken or world.occupied():
            self._burial.add(world)
        else:
            world.free()  # by who leaves it, and may take his time

"""Worlds within one process, for unit tests: members are managers of the same process, data goes from thread to thread."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

import torch

from ..board import Board
from ..streams import Streams
from .wire import Later, RecvMessage, Reduction, SendMessage, Start, Wire

_COMBINE: dict[Reduction, Callable[..., torch.Tensor]] = {
    Reduction.SUM: torch.add,
    Reduction.PRODUCT: torch.mul,
    Reduction.MIN: torch.minimum,
    Reduction.MAX: torch.maximum,
}


class Exchange:
    """Where the managers of one process meet; pass the same one to each."""

    blocks = False

    def __init__(self) -> None:
        self._rooms: dict[str, _Room] = {}
        self._lock = threading.Lock()

    def connect(self, board: Board, _: Streams, uid: str, device: torch.device | None, deadline_s: float) -> Wire:
        """A member's end of world `uid`; see `Backend`."""
        with self._lock:
            room = self._rooms.setdefault(uid, _Room())
            room.members += 1
        return _InprocWire(self, uid, room, board.rank, board.size, device or torch.device("cpu"))

    def leave(self, uid: str) -> None:
        """A member is gone; the last one takes the room with it."""
        with self._lock:
            room = self._rooms[uid]
            room.members -= 1
            if room.members == 0:
                del self._rooms[uid]


class _Room:
    """One world's data in flight."""

    def __init__(self) -> None:
        self.members = 0
        self.changed = threading.Condition()
        self.cells: dict[Hashable, Any] = {}
        self.aborted = False

    def wait(self, ready: Any, timeout_s: float | None) -> None:
        if not self.changed.wait_for(lambda: self.aborted or ready(), timeout_s):
            raise RuntimeError("timed out")
        if self.aborted:
            raise RuntimeError("the world was aborted")


class _InprocWire:
    """One member's end; see `Wire`. A send returns once the receiver has the data, as on the other backends."""

    def __init__(self, exchange: Exchange, uid: str, room: _Room, rank: int, size: int, device: torch.device) -> None:
        self._exchange, self._uid, self._room, self._rank, self._size = exchange, uid, room, rank, size
        self.device = device
        self._rounds: dict[int, int] = defaultdict(int)

    def _give(self, key: Hashable, value: Any, timeout_s: float | None) -> None:
        with self._room.changed:
            self._room.wait(lambda: ("wanted", key) in self._room.cells, timeout_s)
            del self._room.cells["wanted", key]
            self._room.cells["data", key] = value
            self._room.changed.notify_all()
            self._room.wait(lambda: ("data", key) not in self._room.cells, timeout_s)

    def _take(self, key: Hashable, timeout_s: float | None) -> Any:
        with self._room.changed:
            self._room.cells["wanted", key] = True
            self._room.changed.notify_all()
            self._room.wait(lambda: ("data", key) in self._room.cells, timeout_s)
            value = self._room.cells.pop(("data", key))
            self._room.changed.notify_all()
            return value

    def sender(self, peer: int, tag: int) -> Start:
        key = ("plain", self._rank, peer, tag)
        return lambda tensor: Later(lambda timeout_s: self._give(key, tensor.clone(), timeout_s))

    def receiver(self, peer: int, tag: int) -> Start:
        key = ("plain", peer, self._rank, tag)
        return lambda tensor: Later(lambda timeout_s: _fill(tensor, self._take(key, timeout_s)))

    def message_sender(self, peer: int, tag: int) -> SendMessage:
        key = ("message", self._rank, peer, tag)
        return lambda timeout_s, tensors, _: self._give(key, [tensor.clone() for tensor in tensors], timeout_s)

    def message_receiver(self, peer: int, tag: int) -> RecvMessage:
        return partial(self._take, ("message", peer, self._rank, tag))

    def _meet(self, mine: Any, timeout_s: float | None) -> list[Any]:
        """Everybody's contribution to the next collective, by rank."""
        self._rounds[0] += 1
        this, last = self._rounds[0], self._rounds[0] - 1
        cells, deadline_s = self._room.cells, None if timeout_s is None else time.monotonic() + timeout_s
        with self._room.changed:
            cells["round", this, self._rank] = mine
            cells.pop(("round", last - 1, self._rank), None)  # everybody has been past it
            self._room.changed.notify_all()
            left_s = None if deadline_s is None else deadline_s - time.monotonic()
            self._room.wait(lambda: all(("round", this, rank) in cells for rank in range(self._size)), left_s)
            return [cells["round", this, rank] for rank in range(self._size)]

    def broadcast(self, tensor: torch.Tensor, root: int, timeout_s: float | None) -> None:
        tensor.copy_(self._meet(tensor.clone(), timeout_s)[root])

    def all_reduce(self, tensor: torch.Tensor, op: Reduction, timeout_s: float | None) -> None:
        first, *others = self._meet(tensor.clone(), timeout_s)
        for other in others:
            first = _COMBINE[op](first, other)
        tensor.copy_(first)

    def reduce(self, tensor: torch.Tensor, root: int, op: Reduction, timeout_s: float | None) -> None:
        self.all_reduce(tensor if self._rank == root else tensor.clone(), op, timeout_s)

    def gather(self, tensor: torch.Tensor, into: list[torch.Tensor] | None, root: int, timeout_s: float | None) -> None:
        for part, into_part in zip(self._meet(tensor.clone(), timeout_s), into or []):
            into_part.copy_(part)

    def all_gather(self, tensor: torch.Tensor, into: list[torch.Tensor], timeout_s: float | None) -> None:
        self.gather(tensor, into, 0, timeout_s)

    def scatter(self, into: torch.Tensor, parts: Sequence[torch.Tensor] | None, root: int, timeout_s: float | None) -> None:
        into.copy_(self._meet(parts and [part.clone() for part in parts], timeout_s)[root][self._rank])

    def barrier(self, timeout_s: float | None) -> None:
        self._meet(None, timeout_s)

    def abort(self) -> None:
        with self._room.changed:
            self._room.aborted = True
            self._room.changed.notify_all()

    def close(self) -> None:
        self.abort()
        self._exchange.leave(self._uid)


def _fill(into: torch.Tensor, data: torch.Tensor) -> None:
    into.copy_(data.view(into.shape))

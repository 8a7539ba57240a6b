"""Worlds over TCP on the CPU: tensors and messages on streams of the world's own, collectives by PyTorch's Gloo process group,
built directly, with the first of them.

What was measured about Gloo and shapes this file: a small tensor wakes four threads on its way, and a sender that sends more
than the receiver posted kills the receiver's process; so nothing from one member to another goes through it. An operation that
times out closes all connections of its group: a timeout breaks the world. `abort()` of the group does nothing: `abort` here
shuts the group's connections down, which frees whoever is blocked at once.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import torch
from torch.distributed import ReduceOp
from torch.distributed.distributed_c10d import (
    AllgatherOptions,
    AllreduceOptions,
    BarrierOptions,
    BroadcastOptions,
    GatherOptions,
    ReduceOptions,
    ScatterOptions,
)

from ..board import Board
from ..stream_messages import Inbox, Outbox
from ..stream_tensors import Receiver, Sender
from ..streams import Streams
from ..traffic import Traffic
from .gloo_meeting import FOREVER, Meeting
from .wire import RecvMessage, Reduction, SendMessage, Start

CPU = torch.device("cpu")
MEET_S = 30.0  # in which the group stands, where operations have no timeout: all members are there, and wait for it
_OPS: dict[Reduction, Any] = {
    Reduction.SUM: ReduceOp.SUM,
    Reduction.PRODUCT: ReduceOp.PRODUCT,
    Reduction.MIN: ReduceOp.MIN,
    Reduction.MAX: ReduceOp.MAX,
}


class Gloo:
    """What the Gloo worlds of one manager share: the tensors that are under way.

    Args:
        host: where to listen.
    """

    blocks = False

    def __init__(self, host: str) -> None:
        self._host, self._traffic = host, Traffic()

    def connect(self, board: Board, streams: Streams, uid: str, device: torch.device | None, deadline_s: float) -> GlooWire:
        """A member's end of a world; see `Backend`."""
        device = device or CPU
        if device is not CPU and device.type != "cpu":  # asking for a type takes 10 µs
            raise RuntimeError(f"gloo worlds carry CPU tensors; the device is {device}")
        return GlooWire(device, board, streams, self._traffic, self._host)


class GlooWire:
    """One member's end of a Gloo world; see `Wire`."""

    def __init__(self, device: torch.device, board: Board, streams: Streams, traffic: Traffic, host: str) -> None:
        self.device = device
        self._board, self._streams, self._traffic, self._host = board, streams, traffic, host
        self._group: Any = None
        self._store: Meeting | None = None  # the group keeps only a pointer to it
        self._connections: list[socket.socket] = []
        self._aborted = False
        self._lock = threading.Lock()

    # --- Point to point ------------------------------------------------------------------------------------------------------

    def sender(self, peer: int, tag: int) -> Start:
        return Sender(self._traffic, self._streams, peer, tag).start

    def receiver(self, peer: int, tag: int) -> Start:
        return Receiver(self._traffic, self._streams, peer, tag).start

    def message_sender(self, peer: int, tag: int) -> SendMessage:
        return Outbox(self._streams, peer, tag).send

    def message_receiver(self, peer: int, tag: int) -> RecvMessage:
        return Inbox(self._streams, peer, tag).recv

    # --- Collectives ---------------------------------------------------------------------------------------------------------

    def broadcast(self, tensor: torch.Tensor, root: int, timeout_s: float | None) -> None:
        options = BroadcastOptions()
        options.rootRank, options.rootTensor = root, 0
        self._collect(lambda group: group.broadcast([tensor], options), options, timeout_s)

    def all_reduce(self, tensor: torch.Tensor, op: Reduction, timeout_s: float | None) -> None:
        options = AllreduceOptions()
        options.reduceOp = _OPS[op]
        self._collect(lambda group: group.allreduce([tensor], options), options, timeout_s)

    def reduce(self, tensor: torch.Tensor, root: int, op: Reduction, timeout_s: float | None) -> None:
        options = ReduceOptions()
        options.rootRank, options.rootTensor, options.reduceOp = root, 0, _OPS[op]
        self._collect(lambda group: group.reduce([tensor], options), options, timeout_s)

    def gather(self, tensor: torch.Tensor, into: list[torch.Tensor] | None, root: int, timeout_s: float | None) -> None:
        options = GatherOptions()
        options.rootRank = root
        self._collect(lambda group: group.gather([into] if into else [], [tensor], options), options, timeout_s)

    def all_gather(self, tensor: torch.Tensor, into: list[torch.Tensor], timeout_s: float | None) -> None:
        options = AllgatherOptions()
        self._collect(lambda group: group.allgather([into], [tensor], options), options, timeout_s)

    def scatter(self, into: torch.Tensor, parts: Sequence[torch.Tensor] | None, root: int, timeout_s: float | None) -> None:
        options = ScatterOptions()
        options.rootRank = root
        self._collect(lambda group: group.scatter([into], [list(parts)] if parts else [], options), options, timeout_s)

    def barrier(self, timeout_s: float | None) -> None:
        options = BarrierOptions()
        self._collect(lambda group: group.barrier(options), options, timeout_s)

    def _collect(self, start: Callable[[Any], Any], options: Any, timeout_s: float | None) -> None:
        if self._group is None:
            self._meet(MEET_S if timeout_s is None else timeout_s)
        options.timeout = FOREVER if timeout_s is None else timedelta(seconds=timeout_s)
        start(self._group).wait()

    def _meet(self, within_s: float) -> None:
        self._store = Meeting(self._board, time.monotonic() + within_s, self._host)
        try:
            group, connections = self._store.hold()
        except TimeoutError as error:
            raise RuntimeError(str(error)) from None
        with self._lock:
            self._group, self._connections = group, connections
        if self._aborted:
            self.abort()

    # --- The end -------------------------------------------------------------------------------------------------------------

    def abort(self) -> None:
        with self._lock:
            self._aborted = True
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.abort()
        self._group = None
        for connection in self._connections:
            connection.close()

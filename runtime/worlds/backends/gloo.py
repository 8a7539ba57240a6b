"""Worlds over TCP on the CPU: PyTorch's Gloo process group, built directly, one for each world.

What was measured about it and shapes this file: a sender that sends more than the receiver posted kills the receiver's
process; an operation that times out closes all connections of its world; `abort()` of the group does nothing; a small tensor
wakes four threads on its way. So sizes are agreed before anything is sent (`World`), a timeout breaks the world, `abort` here
shuts the group's own connections down, which frees whoever is blocked at once, and messages run on streams of the world's own.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch._C._distributed_c10d import ProcessGroupGloo
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
from ..streams import Streams
from .gloo_meeting import Meeting
from .wire import RecvMessage, Reduction, SendMessage, Start, patience

_OPS: dict[Reduction, Any] = {
    Reduction.SUM: ReduceOp.SUM,
    Reduction.PRODUCT: ReduceOp.PRODUCT,
    Reduction.MIN: ReduceOp.MIN,
    Reduction.MAX: ReduceOp.MAX,
}


class Gloo:
    """What the Gloo worlds of one manager share: a device, which is a port and one thread that moves all data.

    A process that talks in several worlds of two so wakes one thread, as it would in one group. Larger worlds have a device
    each: while they meet, their members wait for one another.

    Args:
        host: where to listen.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._shared: Any = None
        self._lock = threading.Lock()

    def connect(self, board: Board, streams: Streams, uid: str, device: torch.device | None, deadline_s: float) -> GlooWire:
        """A member's end of a world; see `Connect`."""
        device = device or torch.device("cpu")
        if device.type != "cpu":
            raise RuntimeError(f"gloo worlds carry CPU tensors; the device is {device}")
        return GlooWire(device, streams, Meeting(board, deadline_s, self._share() if board.size == 2 else self._listen()))

    def _listen(self) -> Any:
        gloo: Any = ProcessGroupGloo
        return gloo.create_device(hostname=self._host, lazy_init=False)

    def _share(self) -> Any:
        with self._lock:
            if self._shared is None:
                self._shared = self._listen()
            return self._shared


class GlooWire:
    """One member's end of a Gloo world; see `Wire`."""

    def __init__(self, device: torch.device, streams: Streams, meeting: Meeting) -> None:
        self.device, self._streams = device, streams
        self._store = meeting  # the group keeps only a pointer to it
        self._group, self._connections = meeting.hold()

    # --- Point to point ------------------------------------------------------------------------------------------------------

    def sender(self, peer: int, tag: int) -> Start:
        send = self._group.send
        return lambda tensor: send([tensor], peer, tag)

    def receiver(self, peer: int, tag: int) -> Start:
        recv = self._group.recv
        return lambda tensor: recv([tensor], peer, tag)

    def message_sender(self, peer: int, tag: int) -> SendMessage:
        return Outbox(self._streams, peer, tag).send

    def message_receiver(self, peer: int, tag: int) -> RecvMessage:
        return Inbox(self._streams, peer, tag).recv

    # --- Collectives ---------------------------------------------------------------------------------------------------------

    def broadcast(self, tensor: torch.Tensor, root: int, timeout_s: float | None) -> None:
        options = BroadcastOptions()
        options.rootRank, options.rootTensor = root, 0
        self._finish(self._group.broadcast, [tensor], options=options, timeout_s=timeout_s)

    def all_reduce(self, tensor: torch.Tensor, op: Reduction, timeout_s: float | None) -> None:
        options = AllreduceOptions()
        options.reduceOp = _OPS[op]
        self._finish(self._group.allreduce, [tensor], options=options, timeout_s=timeout_s)

    def reduce(self, tensor: torch.Tensor, root: int, op: Reduction, timeout_s: float | None) -> None:
        options = ReduceOptions()
        options.rootRank, options.rootTensor, options.reduceOp = root, 0, _OPS[op]
        self._finish(self._group.reduce, [tensor], options=options, timeout_s=timeout_s)

    def gather(self, tensor: torch.Tensor, into: list[torch.Tensor] | None, root: int, timeout_s: float | None) -> None:
        options = GatherOptions()
        options.rootRank = root
        self._finish(self._group.gather, [into] if into else [], [tensor], options=options, timeout_s=timeout_s)

    def all_gather(self, tensor: torch.Tensor, into: list[torch.Tensor], timeout_s: float | None) -> None:
        self._finish(self._group.allgather, [into], [tensor], options=AllgatherOptions(), timeout_s=timeout_s)

    def scatter(self, into: torch.Tensor, parts: Sequence[torch.Tensor] | None, root: int, timeout_s: float | None) -> None:
        options = ScatterOptions()
        options.rootRank = root
        self._finish(self._group.scatter, [into], [list(parts)] if parts else [], options=options, timeout_s=timeout_s)

    def barrier(self, timeout_s: float | None) -> None:
        self._finish(self._group.barrier, options=BarrierOptions(), timeout_s=timeout_s)

    @staticmethod
    def _finish(start: Callable[..., Any], *tensors: Any, options: Any, timeout_s: float | None) -> None:
        options.timeout = patience(timeout_s)
        start(*tensors, options).wait()

    # --- The end -------------------------------------------------------------------------------------------------------------

    def abort(self) -> None:
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.abort()
        del self._group
        for connection in self._connections:
            connection.close()

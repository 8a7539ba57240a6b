"""Worlds over TCP on the CPU: PyTorch's Gloo process group, built directly, one for each world.

What was measured about it and shapes this file: a sender that sends more than the receiver posted kills the receiver's
process; an operation that times out closes all connections of its world; `abort()` of the group does nothing. So sizes are
agreed before anything is sent (`World`), a timeout breaks the world, and `abort` here shuts the group's own sockets down,
which frees whoever is blocked at once.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
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

from ..board import Board, BoardStore
from ..frames import Layout
from .gloo_messages import Inbox, Outbox
from .wire import Reduction, Start, patience

_OPS: dict[Reduction, Any] = {
    Reduction.SUM: ReduceOp.SUM,
    Reduction.PRODUCT: ReduceOp.PRODUCT,
    Reduction.MIN: ReduceOp.MIN,
    Reduction.MAX: ReduceOp.MAX,
}
# Gloo tags: the world's tag, then a slot; slot 0 carries plain tensors, the others messages.
SLOT_BITS = 6


class GlooWire:
    """One member's end of a Gloo world; see `Wire`."""

    def __init__(
        self, board: Board, uid: str, device: torch.device | None, deadline_s: float, host: str = "127.0.0.1"
    ) -> None:
        self.device = device or torch.device("cpu")
        if self.device.type != "cpu":
            raise RuntimeError(f"gloo worlds carry CPU tensors; the device is {self.device}")
        self._store = BoardStore(board, deadline_s)
        gloo: Any = ProcessGroupGloo
        options = gloo._Options()
        options._devices = [gloo.create_device(hostname=host)]
        options._threads = 1
        options._timeout = timedelta(seconds=max(0.001, deadline_s - time.monotonic()))
        self._group: Any = gloo(self._store, board.rank, board.size, options)
        # What members announced holds the addresses they listen at: by them `abort` knows the group's sockets.
        self._addresses = [self._store.get(f"0/{rank}") for rank in range(board.size)]
        self._outboxes: dict[tuple[int, int], Outbox] = {}
        self._inboxes: dict[tuple[int, int], Inbox] = {}

    # --- Point to point ------------------------------------------------------------------------------------------------------

    def sender(self, peer: int, tag: int) -> Start:
        send, tag = self._group.send, tag << SLOT_BITS
        return lambda tensor: send([tensor], peer, tag)

    def receiver(self, peer: int, tag: int) -> Start:
        recv, tag = self._group.recv, tag << SLOT_BITS
        return lambda tensor: recv([tensor], peer, tag)

    def send_message(
        self, tensors: Sequence[torch.Tensor], layout: Layout, peer: int, tag: int, timeout_s: float | None
    ) -> None:
        outbox = self._outboxes.get((peer, tag))
        if outbox is None:
            outbox = self._outboxes[peer, tag] = Outbox(
                lambda part, slot: self._group.send([part], peer, tag << SLOT_BITS | slot)
            )
        outbox.send(tensors, layout, patience(timeout_s))

    def recv_message(self, peer: int, tag: int, timeout_s: float | None) -> list[torch.Tensor]:
        inbox = self._inboxes.get((peer, tag))
        if inbox is None:
            inbox = self._inboxes[peer, tag] = Inbox(
                lambda part, slot: self._group.recv([part], peer, tag << SLOT_BITS | slot)
            )
        return inbox.recv(patience(timeout_s))

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
        for connection in _connections_at(self._addresses):
            with contextlib.suppress(OSError), connection:
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.abort()
        self._outboxes.clear()
        self._inboxes.clear()
        del self._group


def _connections_at(addresses: Sequence[bytes]) -> Iterator[socket.socket]:
    """This process' TCP connections of which one end is listened at by a member; duplicates, to be closed by the caller
    (Linux).
    """
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        try:
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
            connection = socket.socket(fileno=os.dup(descriptor))
        except OSError:
            continue  # closed meanwhile
        try:
            ends = [_c_address(connection.family, end) for end in (connection.getsockname(), connection.getpeername())]
        except (OSError, ValueError):  # it listens, or is of another family
            connection.close()
            continue
        if any(end in address for end in ends for address in addresses):
            yield connection
        else:
            connection.close()


def _c_address(family: int, end: tuple) -> bytes:
    """The start of the C struct sockaddr_in or sockaddr_in6, as it stands in what Gloo's members tell each other."""
    if family == socket.AF_INET:
        return struct.pack("=H", family) + struct.pack("!H", end[1]) + socket.inet_aton(end[0])
    if family == socket.AF_INET6:
        return struct.pack("=H", family) + struct.pack("!HI", end[1], end[2]) + socket.inet_pton(family, end[0])
    raise ValueError(family)

"""Worlds between GPUs: PyTorch's NCCL process groups, built directly; one for a world's collectives, one for each ordered pair
that talks.

Three things about NCCL shape this backend. A kernel whose peer never comes occupies the device and stands in the way of
aborting another world: so a kernel is launched only when both sides are there, which they tell each other over the control
link (the receiver that it wants, the sender's doorbell that it comes; `nccl_pairs.py`). Operations on one communicator run in
order: so each direction of a pair has its own, and what goes there is launched in the order of the doorbells. Launches of
several communicators of a device must not interleave: so each device has one launching thread.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import torch
from torch.distributed import ReduceOp

from ..board import Board
from ..frames import Layout, pack, read_layout, unpack_tensor
from ..streams import Streams
from .nccl_comm import Comm, Standing
from .nccl_pairs import Pairs, read, until
from .wire import Later, RecvMessage, Reduction, SendMessage, Start

_OPS: dict[Reduction, Any] = {
    Reduction.SUM: ReduceOp.SUM,
    Reduction.PRODUCT: ReduceOp.PRODUCT,
    Reduction.MIN: ReduceOp.MIN,
    Reduction.MAX: ReduceOp.MAX,
}


class Nccl:
    """What the NCCL worlds of one manager share: the launching thread of each device."""

    blocks = True

    def __init__(self) -> None:
        self._launchers: dict[torch.device, ThreadPoolExecutor] = {}
        self._lock = threading.Lock()

    def connect(self, board: Board, _: Streams, uid: str, device: torch.device | None, deadline_s: float) -> NcclWire:
        """A member's end of a world; see `Backend`."""
        if not (torch.cuda.is_available() and torch.distributed.is_nccl_available()):
            raise RuntimeError("backend 'nccl' needs a GPU and a PyTorch with NCCL; on the CPU use 'gloo'")
        if device is None or device.index is None:
            device = torch.device("cuda", torch.cuda.current_device())
        with self._lock:
            if device not in self._launchers:
                self._launchers[device] = ThreadPoolExecutor(1, f"worlds-launch-{device}")
        return NcclWire(self._launchers[device], board, device, deadline_s)


class NcclWire:
    """One member's end of an NCCL world; see `Wire`."""

    def __init__(self, launcher: ThreadPoolExecutor, board: Board, device: torch.device, deadline_s: float) -> None:
        self.device = device
        self._launcher, self._board, self._init_s = launcher, board, deadline_s - time.monotonic()
        self._standing = Standing()
        self._comms: list[Comm] = []
        self._lock = threading.Lock()
        self._pairs = Pairs(board, self._make, self._standing)
        self._all = self._make("all", board.rank, board.size)
        self._collected = 0

    def _make(self, name: str, rank: int, size: int) -> Comm:
        deadline_s = time.monotonic() + self._init_s
        comm = Comm(self._board, name, rank, size, self.device, deadline_s, self._launcher, self._standing)
        with self._lock:
            self._comms.append(comm)
        if self._standing.aborted.is_set():
            comm.group.abort()
        return comm

    # --- Point to point ------------------------------------------------------------------------------------------------------

    def sender(self, peer: int, tag: int) -> Start:
        def start(tensor: torch.Tensor) -> Later:
            ready = torch.cuda.current_stream(self.device)
            return Later(lambda timeout_s: self._pairs.send(f"plain/{tag}", peer, tensor, ready, until(timeout_s)))

        return start

    def receiver(self, peer: int, tag: int) -> Start:
        def start(tensor: torch.Tensor) -> Later:
            ready = torch.cuda.current_stream(self.device)
            return Later(lambda timeout_s: self._pairs.recv(f"plain/{tag}", peer, lambda _: tensor, ready, until(timeout_s)))

        return start

    def message_sender(self, peer: int, tag: int) -> SendMessage:
        return partial(self._send_message, peer, tag)

    def message_receiver(self, peer: int, tag: int) -> RecvMessage:
        return partial(self._recv_message, peer, tag)

    def _send_message(
        self, peer: int, tag: int, timeout_s: float | None, tensors: Sequence[torch.Tensor], layout: Layout
    ) -> None:
        body, ready = self._body(layout), torch.cuda.current_stream(self.device)
        pack(tensors, layout, body)
        self._pairs.send(f"message/{tag}", peer, body, ready, until(timeout_s), layout.description)

    def _recv_message(self, peer: int, tag: int, timeout_s: float | None) -> list[torch.Tensor]:
        got: list[tuple[Layout, torch.Tensor]] = []

        def into(description: bytes) -> torch.Tensor:
            layout = read_layout(description)
            got.append((layout, self._body(layout)))
            return got[0][1]

        self._pairs.recv(f"message/{tag}", peer, into, torch.cuda.current_stream(self.device), until(timeout_s))
        ((layout, body),) = got
        return [unpack_tensor(body, place) for place in layout.places]

    def _body(self, layout: Layout) -> torch.Tensor:
        return torch.empty(layout.body_bytes, dtype=torch.uint8, device=self.device)

    # --- Collectives ---------------------------------------------------------------------------------------------------------

    def broadcast(self, tensor: torch.Tensor, root: int, timeout_s: float | None) -> None:
        options = torch.distributed.BroadcastOptions()
        options.rootRank, options.rootTensor = root, 0
        self._collect(lambda group: group.broadcast([tensor], options), timeout_s)

    def all_reduce(self, tensor: torch.Tensor, op: Reduction, timeout_s: float | None) -> None:
        options = torch.distributed.AllreduceOptions()
        options.reduceOp = _OPS[op]
        self._collect(lambda group: group.allreduce([tensor], options), timeout_s)

    def reduce(self, tensor: torch.Tensor, root: int, op: Reduction, timeout_s: float | None) -> None:
        options = torch.distributed.ReduceOptions()
        options.rootRank, options.rootTensor, options.reduceOp = root, 0, _OPS[op]
        self._collect(lambda group: group.reduce([tensor], options), timeout_s)

    def gather(self, tensor: torch.Tensor, into: list[torch.Tensor] | None, root: int, timeout_s: float | None) -> None:
        options = torch.distributed.GatherOptions()
        options.rootRank = root
        self._collect(lambda group: group.gather([into] if into else [], [tensor], options), timeout_s)

    def all_gather(self, tensor: torch.Tensor, into: list[torch.Tensor], timeout_s: float | None) -> None:
        self._collect(lambda group: group.allgather([into], [tensor]), timeout_s)

    def scatter(self, into: torch.Tensor, parts: Sequence[torch.Tensor] | None, root: int, timeout_s: float | None) -> None:
        options = torch.distributed.ScatterOptions()
        options.rootRank = root
        self._collect(lambda group: group.scatter([into], [list(parts)] if parts else [], options), timeout_s)

    def barrier(self, timeout_s: float | None) -> None:
        self.all_reduce(torch.zeros(1, device=self.device), Reduction.SUM, timeout_s)

    def _collect(self, operation: Callable[[Any], Any], timeout_s: float | None) -> None:
        """Everybody is there, then it is launched."""
        self._collected += 1
        until_s = until(timeout_s)
        self._board.announce("here", str(self._collected).encode())
        for rank in self._board.others:
            read(self._board, rank, "here", until_s, self._collected)
        self._all.launch(operation, torch.cuda.current_stream(self.device)).finish(until_s)

    # --- The end -------------------------------------------------------------------------------------------------------------

    def abort(self) -> None:
        with self._lock:
            if self._standing.aborted.is_set():
                return
            self._standing.aborted.set()
            groups = [comm.group for comm in self._comms]
        # Each on a thread: one of them may wait until another's kernels have ended, and PyTorch aborts each in a thread of its
        # own, which a common NCCL group would not cover.
        for group in groups:
            threading.Thread(target=_abort, args=(group,), name="worlds-abort", daemon=True).start()

    def close(self) -> None:
        # A communicator with a dead member can only be aborted; so the end is the same for all.
        self.abort()
        with self._lock:
            self._comms.clear()


def _abort(group: Any) -> None:
    with contextlib.suppress(RuntimeError):  # already broken: there is nothing left to free
        group.abort()

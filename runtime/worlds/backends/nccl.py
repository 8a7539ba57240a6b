"""Worlds between GPUs: PyTorch's NCCL process groups, built directly; one for a world's collectives, one for each ordered pair
that talks.

Three things about NCCL shape this file. A kernel whose peer never comes occupies the device and stands in the way of aborting
another world: so a kernel is launched only when both sides are there, which they tell each other over the control link (the
receiver that it wants, the sender's doorbell that it comes). Operations on one communicator run in order: so each direction of
a pair has its own. Launches of several communicators of a device must not interleave: so each device has one launching thread.
A peer's death is never reported, and an aborted operation ends without an error: so whoever waits asks after every step
whether the world still stands.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import torch
from torch.distributed import ReduceOp

from ..board import Board, BoardStore
from ..frames import Layout, pack, read_layout, unpack_tensor
from ..streams import Streams
from .wire import Later, RecvMessage, Reduction, SendMessage, Start

# Before the first use of NCCL: no watchdog that ends the process (we abort), communicators that can be aborted at any point.
for _name, _value in {
    "TORCH_NCCL_ASYNC_ERROR_HANDLING": "0",
    "TORCH_NCCL_ENABLE_MONITORING": "0",
    "TORCH_NCCL_USE_COMM_NONBLOCKING": "1",
    "TORCH_NCCL_NONBLOCKING_TIMEOUT": "60",
}.items():
    os.environ.setdefault(_name, _value)

_OPS: dict[Reduction, Any] = {
    Reduction.SUM: ReduceOp.SUM,
    Reduction.PRODUCT: ReduceOp.PRODUCT,
    Reduction.MIN: ReduceOp.MIN,
    Reduction.MAX: ReduceOp.MAX,
}
GROUP_ABORT = (2, 22)  # from this version several communicators can be aborted as one
POLL_S = 0.00005


class Nccl:
    """What the NCCL worlds of one manager share: the launching thread of each device."""

    def __init__(self) -> None:
        self._launchers: dict[torch.device, ThreadPoolExecutor] = {}
        self._lock = threading.Lock()

    def connect(self, board: Board, _: Streams, uid: str, device: torch.device | None, deadline_s: float) -> NcclWire:
        """A member's end of a world; see `Connect`."""
        if not (torch.cuda.is_available() and torch.distributed.is_nccl_available()):
            raise RuntimeError("backend 'nccl' needs a GPU and a PyTorch with NCCL; on the CPU use 'gloo'")
        if device is None or device.index is None:
            device = torch.device("cuda", torch.cuda.current_device())
        with self._lock:
            if device not in self._launchers:
                self._launchers[device] = ThreadPoolExecutor(1, f"worlds-launch-{device}")
        return NcclWire(self._launchers[device], board, device, deadline_s)


def nccl_version() -> tuple[int, int, int]:
    """The version of NCCL that runs here."""
    return torch.distributed.ProcessGroupNCCL.get_runtime_nccl_version()  # type: ignore[call-arg]


class _Comm:
    """One communicator, on a stream of its own."""

    def __init__(self, store: Any, rank: int, size: int, device: torch.device, deadline_s: float) -> None:
        options = torch.distributed.ProcessGroupNCCL.Options()
        options._timeout = timedelta(seconds=max(1.0, deadline_s - time.monotonic()))
        options.config.blocking = 0
        self.group: Any = torch.distributed.ProcessGroupNCCL(store, rank, size, options)
        self.group.eager_connect_single_device(device)
        self.stream = torch.cuda.Stream(device)


class NcclWire:
    """One member's end of an NCCL world; see `Wire`."""

    def __init__(self, launcher: ThreadPoolExecutor, board: Board, device: torch.device, deadline_s: float) -> None:
        self.device = device
        self._launcher, self._board, self._init_s = launcher, board, deadline_s - time.monotonic()
        self._aborted = threading.Event()
        self._comms: dict[str, _Comm] = {}
        self._passed: dict[str, int] = {}
        self._lock = threading.Lock()
        self._all = self._make("all", board.rank, board.size, deadline_s)

    def _make(self, name: str, rank: int, size: int, deadline_s: float) -> _Comm:
        with torch.cuda.device(self.device):
            comm = _Comm(BoardStore(self._board, deadline_s, prefix=name), rank, size, self.device, deadline_s)
        with self._lock:
            self._comms[name] = comm
        return comm

    # --- Running one operation -----------------------------------------------------------------------------------------------

    def _run(self, comm: _Comm, launch: Callable[[Any], Any], timeout_s: float | None) -> None:
        """Launch on the device's one thread, and wait here until the device is done."""

        def start() -> torch.cuda.Event:
            with torch.cuda.device(self.device), torch.cuda.stream(comm.stream):
                launch(comm.group).wait()
                done = torch.cuda.Event()
                done.record(comm.stream)
                return done

        # What the caller has computed on its stream must be there before we read it.
        comm.stream.wait_stream(torch.cuda.current_stream(self.device))
        done, until_s = self._launcher.submit(start).result(), None if timeout_s is None else time.monotonic() + timeout_s
        while not done.query():
            self._stand(until_s)
            time.sleep(POLL_S)
        self._stand(None)
        torch.cuda.current_stream(self.device).wait_stream(comm.stream)

    def _stand(self, until_s: float | None) -> None:
        if self._aborted.is_set():
            raise RuntimeError("the world was aborted")
        if until_s is not None and time.monotonic() > until_s:
            raise RuntimeError("timed out")

    # --- Point to point ------------------------------------------------------------------------------------------------------

    def _pair(self, src: int, dst: int) -> _Comm:
        name = f"{src}to{dst}"
        comm = self._comms.get(name)
        return comm or self._make(name, int(self._board.rank == dst), 2, time.monotonic() + self._init_s)

    def _offer(self, kind: str, peer: int, tag: int, description: bytes, until_s: float | None) -> None:
        """Wait until the receiver wants it, then ring."""
        number = self._number(f"{kind}/{self._board.rank}/{peer}/{tag}")
        self._board.read(peer, f"want/{kind}/{self._board.rank}/{tag}", until_s, lambda note: int(note) >= number)
        self._board.announce(f"bell/{kind}/{peer}/{tag}", f"{number} ".encode() + b64encode(description), to=peer)

    def _want(self, kind: str, peer: int, tag: int, until_s: float | None) -> bytes:
        """Say that we want the next, and wait until it comes; its description."""
        number = self._number(f"{kind}/{peer}/{self._board.rank}/{tag}")
        self._board.announce(f"want/{kind}/{peer}/{tag}", str(number).encode(), to=peer)
        bell = self._board.read(
            peer, f"bell/{kind}/{self._board.rank}/{tag}", until_s, lambda note: int(note.split()[0]) >= number
        )
        return b64decode(bell.split(b" ", 1)[1])

    def _number(self, lane: str) -> int:
        self._passed[lane] = self._passed.get(lane, 0) + 1
        return self._passed[lane]

    def sender(self, peer: int, tag: int) -> Start:
        def send(tensor: torch.Tensor, timeout_s: float | None) -> None:
            self._offer("plain", peer, tag, b"", None if timeout_s is None else time.monotonic() + timeout_s)
            self._run(self._pair(self._board.rank, peer), lambda group: group.send([tensor], 1, 0), timeout_s)

        return lambda tensor: Later(lambda timeout_s: send(tensor, timeout_s))

    def receiver(self, peer: int, tag: int) -> Start:
        def recv(tensor: torch.Tensor, timeout_s: float | None) -> None:
            self._want("plain", peer, tag, None if timeout_s is None else time.monotonic() + timeout_s)
            self._run(self._pair(peer, self._board.rank), lambda group: group.recv([tensor], 0, 0), timeout_s)

        return lambda tensor: Later(lambda timeout_s: recv(tensor, timeout_s))

    def message_sender(self, peer: int, tag: int) -> SendMessage:
        return partial(self._send_message, peer, tag)

    def message_receiver(self, peer: int, tag: int) -> RecvMessage:
        return partial(self._recv_message, peer, tag)

    def _send_message(
        self, peer: int, tag: int, timeout_s: float | None, tensors: Sequence[torch.Tensor], layout: Layout
    ) -> None:
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        body = torch.empty(layout.body_bytes, dtype=torch.uint8, device=self.device)
        pack(tensors, layout, body)
        self._offer("message", peer, tag, layout.description, until_s)
        if layout.body_bytes:
            self._run(self._pair(self._board.rank, peer), lambda group: group.send([body], 1, 0), timeout_s)

    def _recv_message(self, peer: int, tag: int, timeout_s: float | None) -> list[torch.Tensor]:
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        layout = read_layout(self._want("message", peer, tag, until_s))
        body = torch.empty(layout.body_bytes, dtype=torch.uint8, device=self.device)
        if layout.body_bytes:
            self._run(self._pair(peer, self._board.rank), lambda group: group.recv([body], 0, 0), timeout_s)
        return [unpack_tensor(body, place) for place in layout.places]

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
        self._collect(lambda group: group.gather([into] if into else [[]], [tensor], options), timeout_s)

    def all_gather(self, tensor: torch.Tensor, into: list[torch.Tensor], timeout_s: float | None) -> None:
        self._collect(lambda group: group.allgather([into], [tensor]), timeout_s)

    def scatter(self, into: torch.Tensor, parts: Sequence[torch.Tensor] | None, root: int, timeout_s: float | None) -> None:
        options = torch.distributed.ScatterOptions()
        options.rootRank = root
        self._collect(lambda group: group.scatter([into], [list(parts)] if parts else [[]], options), timeout_s)

    def barrier(self, timeout_s: float | None) -> None:
        self.all_reduce(torch.zeros(1, device=self.device), Reduction.SUM, timeout_s)

    def _collect(self, launch: Callable[[Any], Any], timeout_s: float | None) -> None:
        """Everybody is there, then it is launched."""
        number = self._number("collective")
        self._board.announce("here", str(number).encode())
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        for rank in self._board.others:
            self._board.read(rank, "here", until_s, lambda note: int(note) >= number)
        self._run(self._all, launch, timeout_s)

    # --- The end -------------------------------------------------------------------------------------------------------------

    def abort(self) -> None:
        if not self._aborted.is_set():
            self._aborted.set()
            threading.Thread(target=self._abort, name="worlds-abort", daemon=True).start()

    def _abort(self) -> None:
        with self._lock:
            groups = [comm.group for comm in self._comms.values()]
        as_one = len(groups) > 1 and nccl_version() >= GROUP_ABORT
        with contextlib.suppress(RuntimeError):  # already broken: there is nothing left to free
            if as_one:
                groups[0]._group_start()
            for group in groups:
                group.abort()
            if as_one:
                groups[0]._group_end()

    def close(self) -> None:
        # A communicator with a dead member can only be aborted; so the end is the same for all.
        self.abort()
        with self._lock:
            self._comms.clear()

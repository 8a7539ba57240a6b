"""One NCCL communicator: a process group built directly, on its own stream; how operations are launched and waited for."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import torch

from ..board import Board, BoardStore

# Before the first use of NCCL: no watchdog that ends the process (we abort), communicators that can be aborted at any point.
for _name, _value in {
    "TORCH_NCCL_ASYNC_ERROR_HANDLING": "0",
    "TORCH_NCCL_ENABLE_MONITORING": "0",
    "TORCH_NCCL_USE_COMM_NONBLOCKING": "1",
    "TORCH_NCCL_NONBLOCKING_TIMEOUT": "60",
    "TORCH_NCCL_SHOW_EAGER_INIT_P2P_SERIALIZATION_WARNING": "false",  # what one communicator carries is to be in order
}.items():
    os.environ.setdefault(_name, _value)

POLL_S = 0.00005


class Standing:
    """Whether a world still stands. NCCL reports no peer's death, and what is aborted ends without an error: so whoever waits
    asks here after every step.
    """

    def __init__(self) -> None:
        self.aborted = threading.Event()

    def check(self, until_s: float | None = None) -> None:
        """Raises RuntimeError where the world was aborted, or the time is over."""
        if self.aborted.is_set():
            raise RuntimeError("the world was aborted")
        if until_s is not None and time.monotonic() > until_s:
            raise RuntimeError("timed out")


class Comm:
    """One communicator.

    Args:
        board: the world's, through which its members meet.
        name: tells it from the world's others.
        rank, size: in the communicator.
        device: where tensors are.
        deadline_s: `time.monotonic()` by which it must stand.
        launcher: the device's one launching thread.
        standing: of the world.
    """

    def __init__(
        self,
        board: Board,
        name: str,
        rank: int,
        size: int,
        device: torch.device,
        deadline_s: float,
        launcher: ThreadPoolExecutor,
        standing: Standing,
    ) -> None:
        self._device, self._launcher, self._standing = device, launcher, standing
        options = torch.distributed.ProcessGroupNCCL.Options()
        options._timeout = timedelta(seconds=max(1.0, deadline_s - time.monotonic()))
        options.config.blocking = 0
        self._store = BoardStore(board, deadline_s, prefix=name)  # the group keeps only a pointer to it
        with torch.cuda.device(device):
            self.group: Any = torch.distributed.ProcessGroupNCCL(self._store, rank, size, options)
            self.group.eager_connect_single_device(device)
            self._stream = torch.cuda.Stream(device)

    def launch(self, operation: Callable[[Any], Any], ready: torch.cuda.Stream) -> Launched:
        """Launch an operation on the group, after what is on the stream where its tensors were made."""
        self._stream.wait_stream(ready)

        def start() -> torch.cuda.Event:
            self._standing.check()
            with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
                operation(self.group).wait()
                done = torch.cuda.Event()
                done.record(self._stream)
                return done

        return Launched(self._launcher.submit(start), self._stream, ready, self._standing)


class Launched:
    """An operation that has been launched."""

    def __init__(
        self, done: Future[torch.cuda.Event], stream: torch.cuda.Stream, ready: torch.cuda.Stream, standing: Standing
    ) -> None:
        self._done, self._stream, self._ready, self._standing = done, stream, ready, standing

    def finish(self, until_s: float | None) -> None:
        """Wait until the device is done. Raises RuntimeError."""
        self._until(self._done.done, until_s)
        self._until(self._done.result().query, until_s)
        self._standing.check()
        self._ready.wait_stream(self._stream)

    def _until(self, done: Callable[[], bool], until_s: float | None) -> None:
        while not done():
            self._standing.check(until_s)
            time.sleep(POLL_S)

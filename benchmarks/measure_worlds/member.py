"""Real processes that act in worlds, told what to do through pipes.

A member is forked from a server that has imported everything (a few milliseconds each). Pipes and no queues or events: those
hang when a process that waits on them is killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable
from typing import Any

import torch

from runtime.worlds import WorldManager

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["torch", "runtime.worlds", "benchmarks.measure_worlds.member"])


class Member:
    """A process with a manager of its own that runs functions `f(manager, *arguments)` one after the other.

    Args:
        place: tells it from others that use GPUs; it takes the one of that number, in turns where there are fewer.
        token: of its manager.

    Attributes:
        address: of its manager.
    """

    def __init__(self, place: int = 0, token: str = "") -> None:
        self._pipe, theirs = _processes.Pipe()
        self._process = _processes.Process(target=_obey, args=(theirs, place, token), daemon=True)
        self._process.start()
        theirs.close()
        self.address: str = self._pipe.recv()

    def start(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Begin; `result` waits for what it returns."""
        self._pipe.send((function, arguments))

    def result(self, timeout_s: float | None = None) -> Any:
        """What the function begun last has returned.

        Raises:
            AssertionError: with what it raised, or it does not answer in time.
        """
        if not self._pipe.poll(timeout_s):
            raise AssertionError("the member does not answer")
        failed, outcome = self._pipe.recv()
        if failed:
            raise AssertionError(outcome)
        return outcome

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Begin and wait."""
        self.start(function, *arguments)
        return self.result()

    def signal(self, number: signal.Signals) -> float:
        """Send a signal; when, by `time.monotonic()`."""
        assert self._process.pid is not None
        at_s = time.monotonic()
        os.kill(self._process.pid, number)
        return at_s

    def end(self) -> None:
        """End the process."""
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._pipe.close()


def use_gpu(place: int) -> None:
    """Take a GPU, where there are some."""
    if torch.cuda.is_available():
        torch.cuda.set_device(place % torch.cuda.device_count())
        os.environ["NCCL_HOSTID"] = str(os.getpid())  # ranks on one GPU must look like ranks on several hosts
        os.environ["NCCL_SOCKET_IFNAME"] = "lo"


def _obey(pipe: Any, place: int, token: str) -> None:
    torch.set_num_threads(1)
    use_gpu(place)
    with WorldManager(token=token) as manager:
        pipe.send(manager.address)
        while True:
            try:
                function, arguments = pipe.recv()
            except EOFError:
                return
            try:
                pipe.send((False, function(manager, *arguments)))
            except Exception:
                pipe.send((True, traceback.format_exc()))

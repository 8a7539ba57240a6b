"""The processes of a measurement: this one leads, the others do what they are told through pipes."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from runtime.worlds import State, World, WorldManager

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["torch", "runtime.worlds"])


class Helper:
    """A process that runs functions `f(manager, *arguments)` one after the other."""

    def __init__(self) -> None:
        self._pipe, theirs = _processes.Pipe()
        self._process = _processes.Process(target=_help, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self._pipe.recv()

    def start(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Begin; `result` waits for what it returns."""
        self._pipe.send((function, arguments))

    def result(self) -> Any:
        """What the function begun last has returned."""
        return self._pipe.recv()

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
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _help(pipe: Any) -> None:
    torch.set_num_threads(1)
    with WorldManager() as manager:
        pipe.send(manager.address)
        while True:
            try:
                function, arguments = pipe.recv()
            except EOFError:
                return
            pipe.send(function(manager, *arguments))


@contextlib.contextmanager
def team(size: int) -> Iterator[tuple[WorldManager, list[Helper]]]:
    """Our manager, and so many helpers."""
    helpers = [Helper() for _ in range(size)]
    try:
        with WorldManager() as manager:
            yield manager, helpers
    finally:
        for helper in helpers:
            helper.end()


def pin(_: WorldManager | None, main: int, others: int) -> None:
    """The main thread of this process runs on one core, all its other threads on another."""
    for task in map(int, os.listdir("/proc/self/task")):
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.sched_setaffinity(task, {main if task == os.getpid() else others})


@contextlib.contextmanager
def pinned(helpers: list[Helper]) -> Iterator[None]:
    """On two cores, in all processes, the thread that moves data is never on the core of the one that it serves.

    Where it is, it can spin for whole time slices on a lock that the other one holds, in plain torch and in worlds alike.
    """
    cores = os.sched_getaffinity(0)
    here, there = min(cores), max(cores)
    pin(None, here, there)
    for helper in helpers:
        helper.run(pin, there, here)
    try:
        yield
    finally:
        for task in map(int, os.listdir("/proc/self/task")):
            os.sched_setaffinity(task, cores)


def meet(manager: WorldManager, helper: Helper, name: str, backend: str) -> World:
    """A world of this process and a helper."""
    world = manager.create(name, 2, backend=backend, wait=False)
    helper.run(join, name, manager.address)
    world.wait(State.UP)
    return world


def join(manager: WorldManager, name: str, address: str) -> float:
    """A helper joins as rank 1; seconds it took."""
    began_s = time.perf_counter()
    manager.join(name, 1, address)
    return time.perf_counter() - began_s


def world_of(manager: WorldManager, name: str) -> World:
    """The manager's world of that name."""
    return next(world for world in manager.list() if world.name == name)

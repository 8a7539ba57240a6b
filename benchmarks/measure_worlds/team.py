"""Who takes part in a measurement: this process leads, members do what they are told."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

from benchmarks.measure_worlds.member import Member, use_gpu
from runtime.worlds import State, World, WorldManager


@contextlib.contextmanager
def team(size: int) -> Iterator[tuple[WorldManager, list[Member]]]:
    """Our manager, and so many members."""
    use_gpu(0)
    members = [Member(place) for place in range(1, size + 1)]
    try:
        with WorldManager() as manager:
            yield manager, members
    finally:
        for member in members:
            member.end()


def pin(_: WorldManager | None, main: int, others: int) -> None:
    """The main thread of this process runs on one core, all its other threads on another."""
    for task in map(int, os.listdir("/proc/self/task")):
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.sched_setaffinity(task, {main if task == os.getpid() else others})


@contextlib.contextmanager
def pinned(members: list[Member]) -> Iterator[None]:
    """On two cores, in all processes, the thread that moves data is never on the core of the one that it serves.

    Where it is, it can spin for whole time slices on a lock that the other one holds, in plain torch and in worlds alike.
    """
    cores = os.sched_getaffinity(0)
    here, there = min(cores), max(cores)
    pin(None, here, there)
    for member in members:
        member.run(pin, there, here)
    try:
        yield
    finally:
        for task in map(int, os.listdir("/proc/self/task")):
            os.sched_setaffinity(task, cores)


def meet(manager: WorldManager, member: Member, name: str, backend: str) -> World:
    """A world of this process and a member."""
    world = manager.create(name, 2, backend=backend, wait=False)
    member.run(join, name, manager.address)
    world.wait(State.UP)
    return world


def join(manager: WorldManager, name: str, address: str, rank: int = 1) -> float:
    """A member joins, once it has heard that an earlier world of this name is over; seconds it took."""
    for earlier in [world for world in manager.list() if world.name == name]:
        manager.wait_any([earlier])
    began_s = time.perf_counter()
    manager.join(name, rank, address)
    return time.perf_counter() - began_s


def world_of(manager: WorldManager, name: str) -> World:
    """The manager's world of that name."""
    return next(world for world in manager.list() if world.name == name)

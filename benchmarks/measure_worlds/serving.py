"""Serving over worlds while a worker dies and the rate steps up: a world for each worker, or one for all of them.

Both have the same workers, queue and requests. A worker loads for a while, then answers one request at a time. A world for
each: who dies is replaced, who is new joins, and nobody else notices. One world for all has a fixed size: when a member dies
it is over for all, and the next one is up when a successor has loaded; to grow, it is left and made again, once the new ones
have loaded. Its other members keep what they have loaded: a job that is started again whole would lose more.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from benchmarks.measure_worlds.member import Member
from runtime.worlds import State, World, WorldError, WorldManager

LOAD_S, SERVICE_S, SLO_S = 2.0, 0.020, 0.200
WORKERS, MORE = 4, 2  # at first, and added when the rate steps up
USE, USE_AFTER = 0.5, 1.1  # of what the first workers carry, before and after the step
KILL_S, STEP_S, END_S = 5.0, 13.0, 21.0
WINDOW_S, BACK_RATIO = 0.5, 0.95
PATIENCE_S = 0.05


@dataclass
class Played:
    """What became of the requests: (n,) when they were due and answered, seconds since the start; inf: never."""

    due_s: np.ndarray
    done_s: np.ndarray

    @property
    def good(self) -> np.ndarray:
        """(n,) True for those answered within the SLO."""
        return self.done_s - self.due_s <= SLO_S

    def recovery_s(self, event_s: float, until_s: float) -> float:
        """From an event to the end of the last window in which too few of the requests due were answered in time; 0: none."""
        edges_s = np.arange(event_s, until_s - WINDOW_S / 2, WINDOW_S)
        window = np.digitize(self.due_s, [*edges_s, edges_s[-1] + WINDOW_S]) - 1
        bad = [at for at in range(len(edges_s)) if self.good[window == at].mean() < BACK_RATIO]
        return (bad[-1] + 1) * WINDOW_S if bad else 0.0


def arrivals() -> np.ndarray:
    """When requests are due: evenly spread, at one rate and then the other."""
    carried = WORKERS / SERVICE_S
    return np.concatenate([np.arange(0, STEP_S, 1 / (USE * carried)), np.arange(STEP_S, END_S, 1 / (USE_AFTER * carried))])


def serve(manager: WorldManager, name: str, rank: int, address: str, load_s: float) -> None:
    """A worker: load, join, and answer until the world is over."""
    time.sleep(load_s)
    with contextlib.suppress(WorldError):
        world = manager.join(name, rank, address)
        while True:
            request = world.recv_message(0)
            time.sleep(SERVICE_S)
            world.send_message(request, 0)


@dataclass
class Leader:
    """The queue, and a thread for each worker that takes from it.

    Attributes:
        waiting: numbers of requests.
        done_s: by request, on the clock of `time.monotonic`.
    """

    manager: WorldManager
    done_s: np.ndarray
    waiting: queue.Queue[int] = field(default_factory=queue.Queue)
    over: threading.Event = field(default_factory=threading.Event)
    members: list[Member] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)
    worlds: int = 0

    def run(self, work: Callable[..., None], *arguments: object) -> None:
        """In a thread."""
        self.threads.append(threading.Thread(target=work, args=arguments, daemon=True))
        self.threads[-1].start()

    def new_name(self) -> str:
        """Of a world."""
        self.worlds += 1
        return f"serving {self.worlds}"

    def ask(self, world: World, rank: int) -> None:
        """Has one worker answer requests until its world is over; what it had then goes back."""
        while not self.over.is_set() and not world.over:
            with contextlib.suppress(queue.Empty):
                number = self.waiting.get(timeout=PATIENCE_S)
                try:
                    world.send_message([torch.tensor([number])], rank)
                    world.recv_message(rank)
                except WorldError:
                    self.waiting.put(number)
                    return
                self.done_s[number] = time.monotonic()

    def end(self) -> None:
        """Everybody goes home."""
        self.over.set()
        for member in self.members:
            member.end()
        for thread in self.threads:
            thread.join(5.0)


class ManyWorlds(Leader):
    """A world for each worker."""

    def begin(self) -> None:
        """All workers are up when this returns."""
        self.add(WORKERS, 0.0)

    def add(self, count: int, load_s: float) -> None:
        """So many workers more; returns once they serve."""
        up = [threading.Event() for _ in range(count)]
        for event in up:
            self.run(self._keep, load_s, event)
        for event in up:
            event.wait()

    def _keep(self, load_s: float, up: threading.Event) -> None:
        """One worker, and whoever replaces it."""
        while not self.over.is_set():
            member = Member()
            self.members.append(member)
            name = self.new_name()
            world = self.manager.create(name, 2, wait=False)
            member.start(serve, name, 1, self.manager.address, load_s)
            with contextlib.suppress(WorldError):
                world.wait(State.UP)
                up.set()
                self.ask(world, 1)
            load_s = LOAD_S


class OneWorld(Leader):
    """One world for all workers, of a fixed size."""

    world: World

    def begin(self) -> None:
        """All workers are up when this returns."""
        self.members += [Member() for _ in range(WORKERS)]
        up = threading.Event()
        self.run(self._keep, up)
        up.wait()

    def add(self, count: int, load_s: float) -> None:
        """So many workers more: once they have loaded, the world is left, and the next one has them too."""
        fresh = [Member() for _ in range(count)]
        time.sleep(load_s)
        self.members += fresh
        self.manager.leave(self.world)

    def _keep(self, up: threading.Event) -> None:
        """One world after another."""
        loading: list[Member] = []
        while not self.over.is_set():
            members, name = list(self.members), self.new_name()
            self.world = self.manager.create(name, len(members) + 1, wait=False)
            for rank, member in enumerate(members, 1):
                member.start(serve, name, rank, self.manager.address, LOAD_S if member in loading else 0.0)
            with contextlib.suppress(WorldError):
                self.world.wait(State.UP)
                up.set()
                asking = [threading.Thread(target=self.ask, args=(self.world, rank)) for rank in range(1, len(members) + 1)]
                for thread in asking:
                    thread.start()
                for thread in asking:
                    thread.join()
            loading = self._replaced(members) if not self.over.is_set() else []

    def _replaced(self, members: list[Member]) -> list[Member]:
        """Waits until all are back from the world that ended; new processes in place of those that died."""
        fresh = []
        for member in members:
            try:
                member.result()
            except (EOFError, ConnectionError):
                fresh.append(Member())
                self.members[self.members.index(member)] = fresh[-1]
        return fresh


def play(kind: type[ManyWorlds] | type[OneWorld]) -> Played:
    """The whole course: a steady load, a worker killed, and a step of the rate at which more workers are asked for."""
    due_s = arrivals()
    with WorldManager() as manager:
        leader = kind(manager, np.full(len(due_s), np.inf))
        try:
            leader.begin()
            began_s = time.monotonic()
            events = [(STEP_S, lambda: leader.run(leader.add, MORE, LOAD_S)),
                      (KILL_S, lambda: leader.members[0].signal(signal.SIGKILL))]  # fmt: skip
            for number, at_s in enumerate(due_s):
                while events and events[-1][0] <= at_s:
                    events.pop()[1]()
                time.sleep(max(0.0, began_s + at_s - time.monotonic()))
                leader.waiting.put(number)
            time.sleep(2 * SLO_S)
            return Played(due_s, leader.done_s - began_s)
        finally:
            leader.end()

"""What can become of a world: its states, why it broke, the errors that say so, and the way from one state to the next."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial


class State(StrEnum):
    """`NEW -> JOINING -> UP -> DRAINING -> CLOSED`, and `BROKEN` from any of the first four."""

    NEW = "new"
    JOINING = "joining"
    UP = "up"
    DRAINING = "draining"
    CLOSED = "closed"
    BROKEN = "broken"


class Reason(StrEnum):
    """Why a world broke."""

    PEER_DIED = "peer_died"  # its process, or the connection to it, is gone
    FROZEN = "frozen"  # its process stopped, or nothing is heard of it
    OP_ERROR = "op_error"  # an operation failed in the backend
    TIMEOUT = "timeout"  # an operation took longer than asked
    LEFT = "left"  # a member took its leave
    INIT_FAILED = "init_failed"  # the world never came up


@dataclass(frozen=True)
class Broken:
    """The end of a world.

    Attributes:
        reason: the first cause seen.
        peer: rank of the member that caused it; None where no member can be named.
        time_s: `time.monotonic()` at which this process noticed.
        text: the same for people.
    """

    reason: Reason
    peer: int | None
    time_s: float
    text: str


class WorldError(Exception):
    """Any error of a world."""


class WorldBroken(WorldError):
    """The world has broken; `broken` says why. What was in flight may or may not have arrived."""

    def __init__(self, world: str, broken: Broken) -> None:
        super().__init__(f"world {world!r} broke ({broken.reason}): {broken.text}")
        self.world, self.broken = world, broken


class InitFailed(WorldBroken):
    """The world did not come up in time, or was refused."""


class WorldClosed(WorldError):
    """The world is not open for this: it was closed here, is being closed, or has not come up yet."""


class NameTaken(WorldError):
    """A world of that name lives in this process already."""


class TensorMismatch(WorldError, ValueError):
    """This tensor must not go on the wire: wrong dtype, size, device or layout. Nothing was sent."""


def _failure(name: str, state: State, broken: Broken | None, left_by: Broken | None) -> WorldBroken | WorldClosed:
    if broken is not None:
        return (InitFailed if broken.reason is Reason.INIT_FAILED else WorldBroken)(name, broken)
    if left_by is not None:
        return WorldBroken(name, left_by)
    return WorldClosed(f"world {name!r} is {state}: operations need one that is up")


class Fate:
    """The life of one world: moves forward only, wakes who waits, and ends once.

    Attributes:
        name: of the world.
        left_by: the member that is leaving while we are DRAINING; None where it is ourselves.
        at_turn: called whenever the state has changed, on the thread that changed it; must not block.
        at_end: called once, in order, when it is CLOSED or BROKEN, on the thread that noticed; must not block.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.left_by: Broken | None = None
        self.at_turn: list[Callable[[], object]] = []
        self.at_end: list[Callable[[], object]] = []
        self._state = State.NEW
        self._broken: Broken | None = None
        self._changed = threading.Condition()

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._state

    @property
    def broken(self) -> Broken | None:
        """Why it broke; None while it has not."""
        return self._broken

    @property
    def over(self) -> bool:
        """Whether it is CLOSED or BROKEN."""
        return self._state in (State.CLOSED, State.BROKEN)

    def failure(self) -> WorldBroken | WorldClosed:
        """What operations raise where it is not UP."""
        return self.failing()()

    def failing(self) -> Callable[[], WorldBroken | WorldClosed]:
        """What makes `failure` as it is now, for who shall not keep the world."""
        return partial(_failure, self.name, self._state, self._broken, self.left_by)

    def raise_if_over(self) -> None:
        """Raise what its operations raise, where it is over."""
        if self.over:
            raise self.failure()

    def wait(self, *states: State, timeout_s: float | None = None) -> State:
        """Wait until the world is in one of the states, or over.

        Raises:
            TimeoutError: neither in time.
        """
        awaited = {*states, State.CLOSED, State.BROKEN}
        with self._changed:
            if not self._changed.wait_for(lambda: self._state in awaited, timeout_s):
                names = ", ".join(sorted(awaited))
                raise TimeoutError(f"world {self.name!r} is {self._state} after {timeout_s} s; awaited: {names}")
            return self._state

    def wait_for(self, ready: Callable[[], bool], deadline_s: float) -> None:
        """Wait until something that changes with the world is so, or until `time.monotonic()` is that."""
        with self._changed:
            self._changed.wait_for(lambda: self.over or ready(), max(0.0, deadline_s - time.monotonic()))

    def advance(self, state: State) -> None:
        """Go on to a later state. Raises as operations do where the world is over."""
        with self._changed:
            self.raise_if_over()
            self._state = state
            self._turned()

    def drains_for(self, rank: int) -> None:
        """A member is leaving: nothing new is started."""
        with self._changed:
            if self._state is State.UP:
                self.left_by = Broken(Reason.LEFT, rank, time.monotonic(), f"rank {rank} left")
                self._state = State.DRAINING
                self._turned()

    def breaks(self, reason: Reason, peer: int | None, text: str) -> None:
        """It has broken; the first cause counts, and a world that is over stays as it is."""
        with self._changed:
            if self.over:
                return
            if self._state in (State.NEW, State.JOINING):
                reason, text = Reason.INIT_FAILED, f"{text} (while it was coming up)"
            self._broken = Broken(reason, peer, time.monotonic(), text)
            self._state = State.BROKEN
        self._end()

    def closed(self) -> None:
        """It is closed, in good order."""
        with self._changed:
            if self.over:
                return
            self._state = State.CLOSED
        self._end()

    def _end(self) -> None:
        for call in self.at_end:
            call()
        self.at_end.clear()  # what was called keeps the world: it should be gone without a run of the collector
        with self._changed:
            self._turned()

    def _turned(self) -> None:
        """The state has changed; we hold the lock."""
        self._changed.notify_all()
        for call in list(self.at_turn):  # others add theirs, and take them back, meanwhile
            call()

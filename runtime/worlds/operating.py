"""How a world carries out one operation: on its lane, while it is up, and with the reason where it fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

from .backends.wire import Wire
from .board import Board
from .fate import Fate, Reason, State, WorldBroken, WorldClosed
from .invitation import Invitation, Member
from .lanes import Lane
from .streams import Streams

VERDICT_S = 0.05  # after an operation has failed the control links say why: what they get within this time counts
LINKS_S = 10.0  # in which the links' thread surely has its turn
TAGS = 1 << 24
UP, RECEIVING = (State.UP,), (State.UP, State.DRAINING)  # in which one may begin, and may still receive
T = TypeVar("T")


class Operating(Fate):
    """A world's members, its data connections, and the lanes on them; see `World`."""

    def __init__(self, name: str, device: torch.device | None, op_timeout_s: float | None) -> None:
        super().__init__(name)
        self.op_timeout_s = op_timeout_s
        self.device: torch.device = device  # type: ignore[assignment]  # None takes the wire's, before anybody can use it
        self.uid, self.backend = "", ""
        self.rank, self.size, self.epoch = -1, 0, 0
        self.members: list[Member] = []
        self.board: Board | None = None
        self.streams: Streams | None = None
        self._wire: Wire | None = None
        self.farewells: dict[int, int] = {}  # by rank: how much a member has sent us, said when we left
        self._sends: dict[tuple[int, int], Lane] = {}
        self._recvs: dict[tuple[int, int], Lane] = {}
        self._message_sends: dict[tuple[int, int], Lane] = {}
        self._message_recvs: dict[tuple[int, int], Lane] = {}
        self._collective = Lane(None)
        self.at_end.append(self._release)

    def __repr__(self) -> str:
        broken = f" ({self._broken.reason})" if self._broken else ""
        return (
            f"<World {self.name!r} epoch {self.epoch}, rank {self.rank} of {self.size}, {self.backend}: {self._state}{broken}>"
        )

    # --- Coming and going ----------------------------------------------------------------------------------------------------

    def set_out(
        self, invitation: Invitation, board: Board, streams: Streams, caught_up: Callable[[Callable[[], None]], None]
    ) -> None:
        """The members are known. `caught_up` calls something once the links have handled what tells of a death just now."""
        with self._changed:
            self.raise_if_over()
            self.uid, self.epoch, self.backend = invitation.uid, invitation.epoch, invitation.backend
            self.rank, self.members, self.size = invitation.rank, invitation.members, len(invitation.members)
            self.board, self.streams, self._caught_up = board, streams, caught_up

    def comes_up(self, wire: Wire) -> None:
        """Its data connections stand."""
        with self._changed:
            self.raise_if_over()
            self._wire, self.device, self._state = wire, wire.device, State.UP
            self._turned()

    def _release(self) -> None:
        """Free whoever waits or is in an operation."""
        if self.board is not None:
            self.board.fail(self.failing())
        if self.streams is not None:
            self.streams.abort()
        if self._wire is not None:
            self._wire.abort()

    def free(self) -> None:
        """Close the wire once the last operation has returned. Takes a while; called once, after the end."""
        for lane in self._lanes():
            with lane.lock:
                lane.start = None  # type: ignore[assignment]  # it keeps the wire; nothing is started any more
        if self._wire is not None:
            self._wire.close()
            self._wire = None
        if self.streams is not None:
            self.streams.close()

    def farewell(self, rank: int, sent: int) -> None:
        """A member has heard that we leave, and has sent us so much."""
        with self._changed:
            self.farewells[rank] = sent
            self._changed.notify_all()

    def sent_to(self, peer: int) -> int:
        """How many tensors and messages have gone to a member."""
        return sum(lane.passed for lane in [*self._sends.values(), *self._message_sends.values()] if lane.peer == peer)

    def received_from(self, peer: int) -> int:
        """How many tensors and messages have come from a member."""
        return sum(lane.passed for lane in [*self._recvs.values(), *self._message_recvs.values()] if lane.peer == peer)

    def sending(self) -> bool:
        """Whether a send or a collective is under way."""
        return any(lane.busy for lane in [*self._sends.values(), *self._message_sends.values(), self._collective])

    def occupied(self) -> bool:
        """Whether an operation has yet to return, or to be waited for."""
        return any(lane.lock.locked() for lane in self._lanes())

    def _lanes(self) -> list[Lane]:
        kinds = (self._sends, self._recvs, self._message_sends, self._message_recvs)
        return [self._collective, *(lane for lanes in kinds for lane in lanes.values())]

    # --- Running one operation -----------------------------------------------------------------------------------------------

    def _run(
        self, lane: Lane, timeout_s: float | None, operation: Callable[..., T], *arguments: Any, states: Sequence[State] = UP
    ) -> T:
        """Run an operation, which takes the timeout first, on its lane; turn any failure into the world's."""
        with lane.lock:
            self._enter(lane, states)
            began_s = 0.0 if timeout_s is None else time.monotonic()
            try:
                result = operation(timeout_s, *arguments)
            except RuntimeError as error:
                raise self.verdict(lane, error, timeout_s, time.monotonic() - began_s) from error
            finally:
                lane.busy = False
            lane.passed += 1
            return result

    def _enter(self, lane: Lane, states: Sequence[State] = UP) -> None:
        """An operation begins on a lane that we hold."""
        if self._state not in states:
            raise self.failure()
        lane.busy = True

    def verdict(self, lane: Lane, error: RuntimeError, timeout_s: float | None, took_s: float) -> WorldBroken | WorldClosed:
        """The backend says only that an operation failed; why is known here, or on the control link a moment later at most."""
        if timeout_s is not None and took_s >= timeout_s:
            self.breaks(Reason.TIMEOUT, lane.peer, f"an operation took longer than {timeout_s} s")
        if not self.over:
            text = str(error).split("\n", 1)[0][:300]
            self.fails(lane.peer, text)
            with self._changed:
                self._changed.wait_for(lambda: self.over, LINKS_S)
            self.breaks(Reason.OP_ERROR, lane.peer, text)
        return self.failure()

    def fails(self, peer: int | None, text: str) -> None:
        """Something has failed: it breaks, soon, with that for a reason where the links know no better one."""
        self._caught_up(lambda: self.breaks(Reason.OP_ERROR, peer, text))

    def _up(self, states: Sequence[State] = UP) -> tuple[Wire, Board]:
        if self._state not in states or self._wire is None or self.board is None:
            raise self.failure()
        return self._wire, self.board

    def _check_peer(self, peer: int, tag: int) -> None:
        if not 0 <= peer < self.size or peer == self.rank:
            raise ValueError(
                f"rank {peer} is no other member of world {self.name!r} (ranks 0 to {self.size - 1}; we are {self.rank})"
            )
        if not 0 <= tag < TAGS:
            raise ValueError(f"tag {tag} is outside 0 to {TAGS - 1}")

    def patience_s(self, timeout_s: float | None) -> float | None:
        return self.op_timeout_s if timeout_s is None else timeout_s

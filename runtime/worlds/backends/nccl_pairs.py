"""What goes from one member of an NCCL world to another: who is ready for it, in which order it is launched, and on which
communicator.
"""

from __future__ import annotations

import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

import torch

from ..board import Board
from .nccl_comm import Comm, Launched, Standing

POLL_TURN_S = 0.005
Make = Callable[[str, int, int], Comm]
"""Makes a communicator of a name, our rank in it, and its size."""


class _Direction:
    """From one member to another. What goes is launched in the order of the sender's bells, whatever its lane."""

    def __init__(self) -> None:
        self.comm: Comm | None = None
        self.launched = 0
        self.turn = threading.Condition()


class Pairs:
    """Both directions between us and every other member.

    The receiver says on the board that it wants the next of a lane; the sender rings that it comes, and which launch of the
    direction it is. So no kernel waits for a peer, and both launch in one order.

    Args:
        board: the world's.
        make: communicators.
        standing: of the world.
    """

    def __init__(self, board: Board, make: Make, standing: Standing) -> None:
        self._board, self._make, self._standing = board, make, standing
        self._directions: dict[tuple[int, int], _Direction] = {}
        self._passed: dict[tuple[int, int, str], int] = {}
        self._lock = threading.Lock()

    def send(
        self,
        lane: str,
        peer: int,
        tensor: torch.Tensor,
        ready: torch.cuda.Stream,
        until_s: float | None,
        description: bytes = b"",
    ) -> None:
        """Wait until the receiver wants it, ring, and send.

        Args:
            lane: kind and tag.
            peer: the receiver.
            tensor: what goes.
            ready: the stream on which it was made.
            until_s: `time.monotonic()` at which to give up.
            description: for the receiver.

        Raises:
            RuntimeError, WorldError: it has failed, or is late.
        """
        rank = self._board.rank
        number = self._next(rank, peer, lane)
        read(self._board, peer, f"want/{rank}/{lane}", until_s, number)
        direction = self._direction(rank, peer)
        with direction.turn:
            bell = f"{number} {direction.launched} ".encode() + b64encode(description)
            self._board.announce(f"bell/{peer}/{lane}", bell, to=peer)
            launched = self._launch(direction, rank, peer, lambda group: group.send([tensor], 1, 0), tensor, ready)
        if launched:
            launched.finish(until_s)

    def recv(
        self, lane: str, peer: int, into: Callable[[bytes], torch.Tensor], ready: torch.cuda.Stream, until_s: float | None
    ) -> None:
        """Say that we want the next, wait until it comes, and receive it into what its description asks for. As `send`."""
        rank = self._board.rank
        number = self._next(peer, rank, lane)
        self._board.announce(f"want/{peer}/{lane}", str(number).encode(), to=peer)
        _, turn, description = read(self._board, peer, f"bell/{rank}/{lane}", until_s, number).split(b" ")
        tensor, direction = into(b64decode(description)), self._direction(peer, rank)
        with direction.turn:
            while direction.launched != int(turn):  # others wait for what the sender launched before
                self._standing.check(until_s)
                direction.turn.wait(POLL_TURN_S)
            launched = self._launch(direction, peer, rank, lambda group: group.recv([tensor], 0, 0), tensor, ready)
            direction.turn.notify_all()
        if launched:
            launched.finish(until_s)

    def _launch(
        self,
        direction: _Direction,
        src: int,
        dst: int,
        transfer: Callable[[Any], Any],
        tensor: torch.Tensor,
        ready: torch.cuda.Stream,
    ) -> Launched | None:
        """Launch the next transfer of a direction whose turn we have; None where there is nothing to move."""
        direction.launched += 1
        if not tensor.numel():
            return None
        if direction.comm is None:
            direction.comm = self._make(f"{src}to{dst}", int(self._board.rank == dst), 2)
        return direction.comm.launch(transfer, ready)

    def _direction(self, src: int, dst: int) -> _Direction:
        with self._lock:
            return self._directions.setdefault((src, dst), _Direction())

    def _next(self, src: int, dst: int, lane: str) -> int:
        key = (src, dst, lane)
        self._passed[key] = self._passed.get(key, 0) + 1
        return self._passed[key]


def read(board: Board, rank: int, key: str, until_s: float | None, number: int) -> bytes:
    """A member's note, once it is of that number. Raises RuntimeError where it is late."""
    try:
        return board.read(rank, key, until_s, lambda note: int(note.split()[0]) >= number)
    except TimeoutError as error:
        raise RuntimeError(str(error)) from None


def until(timeout_s: float | None) -> float | None:
    """When a timeout is over, by `time.monotonic()`."""
    return None if timeout_s is None else time.monotonic() + timeout_s

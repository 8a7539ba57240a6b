"""A world's notice board: what each member has announced to the others over the control links.

It replaces a store server. Values are pushed to every member, so that reading never asks anybody, a dead or frozen member can
block nobody (the board fails with the world), and no server has to outlive the rest.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from datetime import timedelta

from torch.distributed import Store


class Board:
    """Notes of all members of one world.

    Args:
        rank: our own.
        size: how many members there are.
        post: sends `(key, value)` to the members of the given ranks.
    """

    def __init__(self, rank: int, size: int, post: Callable[[str, bytes, Iterable[int]], None]) -> None:
        self.rank, self.size = rank, size
        self._post = post
        self._notes: dict[tuple[int, str], bytes] = {}
        self._changed = threading.Condition()
        self._failure: Callable[[], Exception] | None = None

    @property
    def others(self) -> list[int]:
        """The ranks of the other members."""
        return [rank for rank in range(self.size) if rank != self.rank]

    def announce(self, key: str, value: bytes = b"", to: int | None = None) -> None:
        """Put a note up for all members, or for one."""
        self.receive(self.rank, key, value)
        self._post(key, value, self.others if to is None else [to])

    def receive(self, rank: int, key: str, value: bytes) -> None:
        """A note of member `rank` has arrived."""
        with self._changed:
            self._notes[rank, key] = value
            self._changed.notify_all()

    def fail(self, failure: Callable[[], Exception]) -> None:
        """From now on nobody waits: whoever does gets `failure()` raised."""
        with self._changed:
            self._failure = failure
            self._changed.notify_all()

    def read(
        self, rank: int, key: str, deadline_s: float | None = None, enough: Callable[[bytes], bool] = lambda note: True
    ) -> bytes:
        """The note of one member; waits for it.

        Args:
            rank: whose note.
            key: its name.
            deadline_s: `time.monotonic()` at which to give up.
            enough: what a note that changes must have come to.

        Raises:
            TimeoutError: it did not come in time.
            WorldError: the world broke or closed meanwhile.
        """

        def look() -> bytes | None:
            note = self._notes.get((rank, key))
            return note if note is not None and enough(note) else None

        return self._wait(look, f"no {key!r} from rank {rank}", deadline_s)

    def read_all(self, key: str, deadline_s: float | None = None) -> list[bytes]:
        """The notes of all members, by rank; waits for the last one. Raises as `read`."""
        return [self.read(rank, key, deadline_s) for rank in range(self.size)]

    def first(self, key: str, deadline_s: float | None = None) -> bytes:
        """The note of whichever member announced it; waits for one. Raises as `read`."""
        return self._wait(
            lambda: next((note for rank in range(self.size) if (note := self._notes.get((rank, key))) is not None), None),
            f"no {key!r} from anybody",
            deadline_s,
        )

    def who_has(self, key: str) -> set[int]:
        """The members that have announced it."""
        return {rank for rank in range(self.size) if (rank, key) in self._notes}

    def _wait(self, look: Callable[[], bytes | None], missing: str, deadline_s: float | None) -> bytes:
        with self._changed:
            while (value := look()) is None:
                if self._failure is not None:
                    raise self._failure()
                left_s = None if deadline_s is None else deadline_s - time.monotonic()
                if left_s is not None and left_s <= 0:
                    raise TimeoutError(missing)
                self._changed.wait(left_s)
            return value


class BoardStore(Store):
    """A board in the form that PyTorch's process groups meet through (`torch.distributed.Store`).

    Args:
        board: the world's.
        deadline_s: `time.monotonic()` after which every wait fails.
        prefix: keeps the keys of several groups of one world apart.
    """

    def __init__(self, board: Board, deadline_s: float, prefix: str = "store") -> None:
        super().__init__()
        self._board, self._deadline_s, self._prefix = board, deadline_s, prefix

    def set(self, key: str, value: str | bytes) -> None:
        """Announce a value to all members."""
        self._board.announce(f"{self._prefix}/{key}", value.encode() if isinstance(value, str) else bytes(value))

    def get(self, key: str) -> bytes:
        """The value that some member announced."""
        return self._board.first(f"{self._prefix}/{key}", self._deadline_s)

    def wait(self, keys: list[str], timeout: timedelta | None = None) -> None:
        """Until all keys are there; the world's own deadline counts."""
        for key in keys:
            self.get(key)

    def check(self, keys: list[str]) -> bool:
        """Whether all keys are there."""
        return all(self._board.who_has(f"{self._prefix}/{key}") for key in keys)

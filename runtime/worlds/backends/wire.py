"""What a world asks of its data plane."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from enum import StrEnum
from functools import partial
from typing import Protocol, TypeVar

import torch

from ..board import Board
from ..frames import Layout
from ..streams import Streams

T = TypeVar("T")


class Reduction(StrEnum):
    """How values are combined."""

    SUM = "sum"
    PRODUCT = "product"
    MIN = "min"
    MAX = "max"


class Work(Protocol):
    """A transfer. Whoever started it must wait for it, once."""

    def go_on(self) -> None:
        """From now on it is under way, also while nobody waits for it. Called once at most, before `wait`; raises as that."""

    def wait(self, timeout_s: float | None) -> None:
        """Until it is through. Raises `RuntimeError` where it fails."""


Start = Callable[[torch.Tensor], Work]
SendMessage = Callable[[float | None, Sequence[torch.Tensor], Layout], None]
RecvMessage = Callable[[float | None], list[torch.Tensor]]


def aside(run: Callable[[], T], name: str) -> Future[T]:
    """What it comes to, on a thread of its own of that name."""
    outcome: Future[T] = Future()
    outcome.set_running_or_notify_cancel()  # nobody stops it

    def work() -> None:
        try:
            outcome.set_result(run())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=work, name=name, daemon=True).start()
    return outcome


class Later:
    """A transfer that happens in the thread of whoever waits for it; in one of its own where it has to go on before."""

    def __init__(self, run: Callable[[float | None], None]) -> None:
        self._run = run
        self._outcome: Future[None] | None = None

    def go_on(self) -> None:
        """See `Work`."""
        self._outcome = aside(partial(self._run, None), "worlds-transfer")

    def wait(self, timeout_s: float | None) -> None:
        """See `Work`."""
        if self._outcome is None:
            self._run(timeout_s)
            return
        try:
            self._outcome.result(timeout_s)
        except TimeoutError:
            raise RuntimeError("timed out") from None


class Wire(Protocol):
    """The data connections of one world, seen from one member.

    Tensors have been checked: contiguous, on `device`, and of the dtype and size that the other side expects. Operations
    block, and raise `RuntimeError` when they fail, also after `abort`. Two operations of one direction, peer and tag never run
    at once. `timeout_s` None means for ever. Nothing may be done on a wire after an operation has failed, except `abort` and
    `close`.
    """

    device: torch.device

    def sender(self, peer: int, tag: int) -> Start:
        """What starts sending a tensor to a member under a tag."""

    def receiver(self, peer: int, tag: int) -> Start:
        """What starts receiving into a tensor."""

    def message_sender(self, peer: int, tag: int) -> SendMessage:
        """What sends a message to a member under a tag."""

    def message_receiver(self, peer: int, tag: int) -> RecvMessage:
        """What receives a message."""

    def broadcast(self, tensor: torch.Tensor, root: int, timeout_s: float | None) -> None: ...
    def all_reduce(self, tensor: torch.Tensor, op: Reduction, timeout_s: float | None) -> None: ...
    def reduce(self, tensor: torch.Tensor, root: int, op: Reduction, timeout_s: float | None) -> None: ...
    def gather(self, tensor: torch.Tensor, into: list[torch.Tensor] | None, root: int, timeout_s: float | None) -> None: ...
    def all_gather(self, tensor: torch.Tensor, into: list[torch.Tensor], timeout_s: float | None) -> None: ...
    def scatter(
        self, into: torch.Tensor, parts: Sequence[torch.Tensor] | None, root: int, timeout_s: float | None
    ) -> None: ...
    def barrier(self, timeout_s: float | None) -> None: ...

    def abort(self) -> None:
        """From any thread: whatever is under way here fails soon. Returns at once; may be called twice."""

    def close(self) -> None:
        """Free everything. Called once, when no operation is under way or after `abort`; may take a while."""


class Backend(Protocol):
    """What makes the wires of one manager's worlds.

    Attributes:
        blocks: whether `connect` takes its time, and so needs a thread.
    """

    blocks: bool

    def connect(self, board: Board, streams: Streams, uid: str, device: torch.device | None, deadline_s: float, /) -> Wire:
        """A member's end of world `uid`; all members call it at about the same time. Tensors and messages may run on its
        `streams`. Raises `RuntimeError`, `TimeoutError` or a `WorldError` where it cannot be made before `deadline_s`
        (monotonic).
        """

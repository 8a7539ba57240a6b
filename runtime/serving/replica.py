"""What the live cluster knows of one replica, whatever runs it: an emulated one in this process, or worker processes joined by
worlds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from envs.contract import ReplicaKind
from runtime.models.model import TensorSpec
from runtime.models.server_clocks import Head


class ReplicaLost(Exception):
    """The replica is gone, or was, before it answered: what it had not answered goes to another one."""


class RequestRefused(Exception):
    """The model cannot answer this request (its tensors are wrong, or it raised): the fault is the request's, not the
    replica's.
    """


Tensors = Sequence[np.ndarray]
Answers = Sequence[Tensors | Exception]
Answered = Callable[[Answers | Exception], None]
"""Called once, on the loop, with an answer to each request of a batch, in its place, or with why there are none."""


class Replica(Protocol):
    """One running instance of a kind. All methods run on the event loop of the cluster process.

    Attributes:
        number: its id in the cluster; never given twice.
        kind: what it is an instance of.
        inputs, outputs: what requests and answers of each variant hold; known once `load` has returned.
    """

    number: int
    kind: ReplicaKind
    inputs: dict[str, tuple[TensorSpec, ...]]
    outputs: dict[str, tuple[TensorSpec, ...]]

    @property
    def whereabouts(self) -> Mapping[str, Any]:
        """What it can be found by after a restart of this process, as JSON; nothing where it ends with this process."""

    async def load(self) -> None:
        """Starts it and returns when it is ready: loaded and warmed up.

        Raises:
            ReplicaLost: it never will be; the text says why.
        """

    def serve(self, variant: str, requests: Sequence[Tensors], head: Head, traces: Sequence[str],
              freed: Callable[[], None], answered: Answered) -> None:
        """Has a batch answered: at most `kind.batch` requests of one variant. As many batches at once as it has servers with a
        free first stage, and one ahead; more is the caller's mistake. The batch is on its way when this returns, and nothing
        is called before that.

        Args:
            variant: that computes them.
            requests: the tensors of each.
            head: the first of them.
            traces: the `traceparent` of each, "" where it has none.
            freed: called, on the loop, when the first stage could take another batch before this one is answered.
            answered: called at the end; a request that cannot be answered has a `RequestRefused` in its place, and instead of
                all answers there is a `ReplicaLost` where it is gone.
        """

    def resize(self, kind: ReplicaKind) -> Awaitable[None]:
        """It is of another kind at once, which differs only in cores; what is returned, awaited, says that it has its servers.
        What is under way is answered.

        Raises:
            ReplicaLost: it is gone (when awaited).
        """

    async def stop(self) -> None:
        """Ends it, in good order where it can be, else by force; returns when it is gone. No batch is under way."""

    def fence(self) -> None:
        """Makes sure at once that it answers nothing any more, without waiting: it has failed or hangs."""

    def on_lost(self, call: Callable[[str], None]) -> None:
        """Have this called, once, on the loop, with the reason, when it is gone without having been stopped."""

    @property
    def memory_bytes(self) -> float:
        """What each of its devices holds for it, as the operating system or the profile says."""


Adopt = Callable[[int, ReplicaKind, Mapping[str, Any]], Replica | None]
"""Finds, by its whereabouts, a replica that an earlier process has started; its `load` returns once it answers. None: it is no
longer there, or not whole, and then the rest of it has been ended."""

MakeReplica = Callable[[int, ReplicaKind], Replica]
"""Makes a replica of a number and kind, not started: a launcher (`local`, `ray`), or emulation."""

Drained = Callable[[Replica], Awaitable[None]]
"""Takes no new work for a replica, and returns when what it had is answered."""


async def answer_by(answers: Coroutine[Any, Any, Answers], answered: Answered) -> None:
    """Has a coroutine answer a batch."""
    try:
        found: Answers | Exception = await answers
    except Exception as error:
        found = error
    answered(found)

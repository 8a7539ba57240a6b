"""One request on its way through the gateway, and what became of it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from envs import state as st
from runtime.serving.replica import Tensors

if TYPE_CHECKING:
    from runtime.gateway.queues import Queue
    from runtime.gateway.traces import Trace

GOOD, LATE, REJECTED, DROPPED, FAILED = st.GOOD, st.LATE, st.REJECTED, st.DROPPED, st.FAILED  # fates


class Cause(StrEnum):
    """Why a request got no answer."""

    QUOTA = "the tenant's admission quota is used up"
    HOSTLESS = "no replica serves this now"
    DEADLINE = "it could not be answered in time"
    FULL = "too many requests are waiting"
    EXPIRED = "it waited too long"
    WITHDRAWN = "the client went away"
    REFUSED = "the model cannot answer it"
    BROKEN = "the replica answered with an error"
    LOST = "the replicas that served it were lost"
    STOPPED = "the gateway stopped"


class Outcome(NamedTuple):
    """The fate of a request.

    Attributes:
        fate: GOOD, LATE, REJECTED, DROPPED or FAILED.
        t_s: when it settled.
        variant: that gave the last answer, "" where there was none.
        answer: its tensors, empty without an answer.
        cause: why there is none.
        details: more about that, "" where there is nothing to say.
    """

    fate: int
    t_s: float
    variant: str = ""
    answer: Tensors = ()
    cause: Cause | None = None
    details: str = ""


class Application(NamedTuple):
    """What a request is for: a chain of services; its tenant, whose quota it takes from, is that of the first."""

    row: int
    name: str
    services: Sequence[str]
    slo_s: float
    cascade: bool
    tenant: str


@dataclass(eq=False, slots=True)
class Request:
    """One request.

    Attributes:
        application: what it is for.
        number: it is the application's n-th, from 0.
        arrival_s: when it arrived at the first stage.
        tensors: what the present stage gets.
        patience_s: after this long it is of no use to start it.
        stage: of the chain.
        accuracy: product of those of the stages that answered.
        lives: replicas that it may yet be lost with, the last one included.
        suspect: it was lost with one already.
        trace: that it is part of, where its client says so.
        outcome: once it has settled.
        then: called with the outcome, on the loop, once all that follows from it for others is done.
        variant, joined_s, sequence, queue: its present place; no queue while a replica has it.
    """

    application: Application
    number: int
    arrival_s: float
    tensors: Tensors
    lives: int
    patience_s: float = math.inf
    stage: int = 0
    accuracy: float = 1.0
    variant: str = ""
    joined_s: float = 0.0
    sequence: int = 0
    suspect: bool = False
    queue: Queue | None = field(default=None, repr=False)
    trace: Trace | None = None
    outcome: Outcome | None = None
    then: list[Callable[[Outcome], object]] = field(default_factory=list, repr=False)
    _settled: asyncio.Future[Outcome] | None = field(default=None, init=False, repr=False)

    @property
    def settled(self) -> asyncio.Future[Outcome]:
        """Its outcome, for those who wait for it."""
        if self._settled is None:
            self._settled = asyncio.get_running_loop().create_future()
            if self.outcome:
                _set(self._settled, self.outcome)
            else:
                self.then.append(partial(_set, self._settled))
        return self._settled

    @property
    def service(self) -> str:
        """The service of its present stage."""
        return self.application.services[self.stage]


def _set(settled: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not settled.done():  # cancelled where nobody waits any more
        settled.set_result(outcome)

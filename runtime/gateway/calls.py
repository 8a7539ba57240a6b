"""What a call is, in whatever protocol: who may call which model, what the model takes, and why there is no answer."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from typing import NamedTuple

from envs.waking import wakeful
from runtime.gateway.access import Access
from runtime.gateway.dispatcher import Dispatcher
from runtime.gateway.limits import SHEDDING
from runtime.gateway.request import Cause, Outcome, Request
from runtime.gateway.traces import Traces
from runtime.models.model import TensorSpec
from runtime.serving.replica import Tensors

NAME, VERSION = "tidal", "0.1.0"  # of the server, in its metadata
STATUS = {Cause.QUOTA: HTTPStatus.TOO_MANY_REQUESTS, Cause.REFUSED: HTTPStatus.BAD_REQUEST,
          Cause.BROKEN: HTTPStatus.INTERNAL_SERVER_ERROR, Cause.LOST: HTTPStatus.BAD_GATEWAY}  # fmt: skip


class Unanswered(Exception):
    """A call that gets an error for its answer.

    Attributes:
        status: what kind of error, in the terms of HTTP.
        retry_after_s: after how many whole seconds to come again; None: that is of no use.
    """

    def __init__(self, status: HTTPStatus, text: str, retry_after_s: int | None = None) -> None:
        super().__init__(text)
        self.status, self.retry_after_s = status, retry_after_s


class Metadata(NamedTuple):
    """What is known of a model. Tensors are unknown, and empty, until a replica was ready."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class Calls:
    """Calls of a dispatcher's applications, each a model to its clients.

    Args:
        dispatcher: serves them.
        access: who may call what.
        traces: that requests are part of.
    """

    def __init__(self, dispatcher: Dispatcher, access: Access, traces: Traces) -> None:
        self.dispatcher, self.access, self._traces = dispatcher, access, traces
        self._metadata: dict[tuple[str, int, int], Metadata] = {}

    @property
    def ready(self) -> bool:
        """Whether there is any replica, or one starts at a request."""
        return bool(self.dispatcher.hosts) or wakeful(self.dispatcher.scenario)

    def called(self, name: str, authorization: str) -> str:
        """The application of this name, for whoever sends this Authorization. One of another tenant is not there for it.

        Raises:
            Unanswered: nobody's token, or no such model.
        """
        tenant = None
        if not self.access.open:
            tenant = self.access.tenant(authorization)
            if tenant is None:
                raise Unanswered(HTTPStatus.UNAUTHORIZED, "a tenant's bearer token is needed")
        application = self.dispatcher.applications.get(name)
        if application is None or tenant not in (None, application.tenant):
            raise Unanswered(HTTPStatus.NOT_FOUND, f"no model '{name}'")
        return name

    def metadata(self, name: str) -> Metadata:
        """Of an application: what its first service takes, and its last one gives."""
        dispatcher = self.dispatcher
        key = name, len(dispatcher.inputs), len(dispatcher.outputs)  # what is known of a variant stays so
        if key not in self._metadata:
            self._metadata[key] = self._known(name)
        return self._metadata[key]

    def _known(self, name: str) -> Metadata:
        dispatcher, services = self.dispatcher, self.dispatcher.applications[name].services
        first, last = (dispatcher.scenario.services[services[end]].variants for end in (0, -1))
        inputs = next((tuple(known) for v in first if (known := dispatcher.inputs.get(v))), ())
        outputs = next((tuple(known) for v in last if (known := dispatcher.outputs.get(v))), ())
        return Metadata(name, tuple(last), NAME, inputs, outputs)

    def submit(self, name: str, tensors: Tensors, patience_s: float, headers: Mapping[str, str]) -> Request:
        """A request arrives; see `Dispatcher.submit`. Its headers tell which trace it is part of."""
        trace = self._traces.begin(name, headers)
        request = self.dispatcher.submit(name, tensors, patience_s=patience_s, trace=trace)
        if patience_s < math.inf and self.dispatcher.cold_start_s(name):  # no replica is there to give it up in time
            asyncio.get_running_loop().call_later(patience_s, self.dispatcher.withdraw, request, Cause.EXPIRED)
        if trace:
            request.then.append(partial(self._traces.end, trace))
        return request

    async def answer(self, name: str, request: Request) -> Outcome:
        """Waits for its outcome. Cancelled, because its client has gone, it is withdrawn.

        Raises:
            Unanswered: why there is no answer.
        """
        try:
            outcome = await request.settled
        except asyncio.CancelledError:
            self.dispatcher.withdraw(request)
            raise
        return self.answered(name, outcome)

    def answered(self, name: str, outcome: Outcome) -> Outcome:
        """One with an answer.

        Raises:
            Unanswered: why there is none.
        """
        if outcome.cause:
            raise self._unanswered(name, outcome, outcome.cause)
        return outcome

    def _unanswered(self, name: str, outcome: Outcome, cause: Cause) -> Unanswered:
        status = STATUS.get(cause, HTTPStatus.SERVICE_UNAVAILABLE)
        text = f"{cause}: {outcome.details}" if outcome.details else str(cause)
        if status not in SHEDDING:
            return Unanswered(status, text)
        application = self.dispatcher.applications[name]
        if cause == Cause.QUOTA:
            wait_s = self.dispatcher.quotas[application.tenant].wait_s
        else:
            wait_s = max(application.slo_s, self.dispatcher.cold_start_s(name))
        return Unanswered(status, text, max(1, math.ceil(wait_s)))

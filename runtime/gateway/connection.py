"""One connection of a client: an answer in turn to each request, and the time that each may take."""

from __future__ import annotations

import asyncio
import math
import os
import select
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple, cast

from runtime.gateway.crowd import Crowd
from runtime.gateway.limits import SHEDDING, Limits
from runtime.gateway.reader import BadRequest, Heads, HttpRequest, Reader

LATE_S = 1.0  # no loop is so late with its timers, and goes on
LOOK_S = 0.01  # in which a loop reads what has arrived


class HttpAnswer(NamedTuple):
    """What is sent back."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {"Content-Type": "application/json"}


Reply = Callable[[HttpAnswer], None]
Withdraw = Callable[[], None]
Handler = Callable[[HttpRequest, Reply], Withdraw]
"""Has a request answered: calls the reply once, later, on the loop. What is returned is called instead where the client goes
away before that.
"""
Error = Callable[[int, str], HttpAnswer]


@dataclass
class Served:
    """What all connections share: who answers, the limits, which connections there are, and what heads they have sent.

    Attributes:
        closing: no connection stays.
        handed: where connections go once nothing is under way on them; None: they stay.
    """

    handle: Handler
    error: Error
    limits: Limits
    connections: set[Connection] = field(default_factory=set)
    heads: Heads = field(default_factory=Heads)
    closing: bool = False
    handed: list[socket.socket] | None = None

    def __post_init__(self) -> None:
        self.crowd = Crowd(self.limits)


class Connection(asyncio.Protocol):
    """One connection. Requests sent ahead wait until those before are answered; while they wait, no more is read."""

    def __init__(self, served: Served) -> None:
        self._served, self._limits = served, served.limits
        self._reader = Reader(served.limits, served.heads, served.crowd)
        self._withdraw: Withdraw | None = None  # of the request that is being answered
        self._busy = self._stays = self._bodiless = False
        self._refusal: BadRequest | None = None  # of what came after those; nothing is read after it
        self._loop = asyncio.get_running_loop()
        self._deadline_s = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._writable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast(asyncio.Transport, transport)
        self._served.connections.add(self)
        if len(self._served.connections) > self._limits.connections:
            self._refuse(BadRequest(503, "too many connections"))
        else:
            self._watch(self._limits.header_s)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._transport.is_closing() or self._refusal:
            return
        reader = self._reader
        was_in_body = reader.in_body
        try:
            reader.feed(data)
        except BadRequest as error:
            self._refusal = error
        if reader.requests or self._refusal:
            if self._busy:
                self._transport.pause_reading()
            else:
                self._next()
        elif reader.in_body and not (was_in_body or self._busy):
            self._watch(self._limits.body_s)
            if reader.expects_continue:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def eof_received(self) -> None:
        """A client that sends no more has gone: one that still listens cannot be told from one that has closed."""

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._served.connections.discard(self)
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self._reader.close()
        self._busy = False
        if self._withdraw:
            self._withdraw()
            self._withdraw = None

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._writable = False

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._writable = True
        if self._busy and not self._withdraw:
            self._answered()

    @property
    def busy(self) -> bool:
        """Whether an answer is being made, or is on its way."""
        return self._busy

    def close(self, *, at_once: bool) -> None:
        """Ends the connection: when what was written is sent, or at once."""
        self._transport.abort() if at_once else self._transport.close()

    def hand_over(self) -> None:
        """Puts the connection itself among those that are handed over, where nothing is under way on it; else it is asked
        again.
        """
        handed, transport = self._served.handed, self._transport
        if handed is None or not self._waits():
            return
        if transport.get_extra_info("ssl_object"):  # what it has agreed upon stays in this process
            transport.close()
            return
        transport.pause_reading()
        if not transport.get_write_buffer_size():
            handed.append(socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())))
            transport.abort()  # closes our descriptor alone

    def mend(self) -> None:
        """Does what the loop had no memory to call. To be called now and then."""
        if self._transport.is_closing() and not self._transport.get_write_buffer_size():
            self.connection_lost(None)
        elif self._timer and self._timer.when() < self._loop.time() - LATE_S:
            self._run_down()

    def give_up(self) -> None:
        """Of a request that has come in part the rest is not waited for."""
        if not (self._busy or self._transport.is_closing()):
            self._refuse(BadRequest(503, "another process takes over; send it again"))

    # ---- answering

    def _next(self) -> None:
        """Has the next request answered, or waits for one."""
        if self._transport.is_closing():
            return
        if self._reader.requests:
            self._watch(None)
            request, self._stays = self._reader.requests.popleft()
            self._busy, self._bodiless, self._body_bytes = True, request.method == "HEAD", len(request.body)
            self._withdraw = self._served.handle(request, self._answer)
        elif self._refusal:
            self._refuse(self._refusal)
        elif self._served.handed is not None and not self._reader.begun:
            self.hand_over()
        else:
            self._transport.resume_reading()
            self._watch(self._limits.body_s if self._reader.in_body else self._limits.header_s)

    def _answer(self, answer: HttpAnswer) -> None:
        """The reply to the request. Who is turned away is told so after a time, the longer the more there are like it."""
        if not self._busy:
            return  # the client has gone
        self._withdraw = None
        if answer.status in SHEDDING:
            self._loop.call_later(self._served.crowd.pause_s, self._turn_away, answer)
            self._served.crowd.turned_away += 1
        else:
            self._send(answer)

    def _turn_away(self, answer: HttpAnswer) -> None:
        self._served.crowd.turned_away -= 1
        if self._busy:
            self._send(answer)

    def _send(self, answer: HttpAnswer) -> None:
        """It is through once the client has taken so much that the rest fits the buffers."""
        self._stays = self._stays and not self._served.closing
        try:
            self._write(answer, self._stays)
            if self._writable:
                self._answered()
            else:
                self._watch(self._limits.send_s)
        except Exception:  # no memory, say: the client need not wait for what does not come
            self._transport.abort()
            raise

    def _answered(self) -> None:
        self._busy = False
        self._reader.give_back(self._body_bytes)
        if not self._stays:
            self._transport.close()
        else:
            self._next()

    def _write(self, answer: HttpAnswer, stays: bool) -> None:
        head = _head(answer.status, stays, len(answer.body), tuple(answer.headers.items()))
        self._transport.write(head if self._bodiless else head + answer.body)

    def _refuse(self, error: BadRequest) -> None:
        """Answers, and ends the connection."""
        self._bodiless = False
        self._reader.close()
        self._write(self._served.error(error.status, str(error)), stays=False)
        self._transport.close()
        self._watch(self._limits.send_s)

    # ---- time

    def _watch(self, seconds: float | None) -> None:
        """The client has this long for what it is to do next. The timer is set anew only when it has run down, or is late."""
        self._deadline_s = math.inf if seconds is None else self._loop.time() + seconds
        if self._timer and self._deadline_s < self._timer.when():
            self._timer.cancel()
            self._timer = None
        if self._timer is None and self._deadline_s < math.inf:
            self._timer = self._loop.call_at(self._deadline_s, self._run_down)

    def _run_down(self, looked: bool = False) -> None:
        """A loop that was held up comes to its timers before it reads what has arrived meanwhile: it looks again, and where
        no request has begun, until the kernel has nothing that it has not read.
        """
        self._timer = None
        if self._deadline_s > self._loop.time():
            if self._deadline_s < math.inf:
                self._timer = self._loop.call_at(self._deadline_s, self._run_down)
        elif not looked or (self._waits() and self._unread()):
            self._timer = self._loop.call_later(LOOK_S, self._run_down, True)
        else:
            self._too_slow()

    def _waits(self) -> bool:
        """Whether nothing is under way, and a request may come."""
        return not (self._busy or self._reader.begun or self._transport.is_closing())

    def _unread(self) -> bool:
        """Whether the kernel has something for the loop."""
        readable = select.poll()
        readable.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(readable.poll(0))

    def _too_slow(self) -> None:
        if self._reader.begun and not self._busy and not self._transport.is_closing():
            self._refuse(BadRequest(408, "the request took too long to come"))
        else:
            self._transport.abort()


@lru_cache(1024)
def _head(status: int, stays: bool, length: int, headers: tuple[tuple[str, str], ...]) -> bytes:
    """The head of an answer with a body of so many bytes."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers)]
    if not stays:
        lines.append("Connection: close")
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode("latin-1")

"""HTTP/1.1 over `httptools`: one connection, its limits, and an answer in turn to each request."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from http import HTTPStatus
from typing import NamedTuple, cast

import httptools


@dataclass(frozen=True)
class Limits:
    """What clients may do.

    Attributes:
        body_bytes: of a request.
        header_bytes: its line and headers together.
        connections: at once; further ones are told to come back.
        header_s: from a connection, or the end of an answer, to the next request's last header: idle ones are closed.
        body_s: from there to the end of its body.
        send_s: until a client has taken so much of an answer that the rest fits the buffers.
        connection_s: over gRPC, which cannot see who takes an answer how slowly: after that long a client is asked to connect
            anew, which it does by itself.
        call_s: what is still under way on the old connection then may last so long, answers taken; it ends there.
    """

    body_bytes: int = 16 * 2**20
    header_bytes: int = 16 * 2**10
    connections: int = 1024
    header_s: float = 10.0
    body_s: float = 10.0
    send_s: float = 10.0
    connection_s: float = 60.0
    call_s: float = 120.0


@dataclass
class HttpRequest:
    """One request; names of headers in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class HttpAnswer(NamedTuple):
    """What is sent back."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {"Content-Type": "application/json"}


class BadRequest(Exception):
    """A request that breaks HTTP or a limit: answered so, and the connection closed."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


Reply = Callable[[HttpAnswer], None]
Withdraw = Callable[[], None]
Handler = Callable[[HttpRequest, Reply], Withdraw]
"""Has a request answered: calls the reply once, later, on the loop. What is returned is called instead where the client goes
away before that.
"""
Error = Callable[[int, str], HttpAnswer]


@dataclass
class Served:
    """What all connections share: who answers, the limits, and which connections there are."""

    handle: Handler
    error: Error
    limits: Limits
    connections: set[Connection] = field(default_factory=set)
    closing: bool = False


class Connection(asyncio.Protocol):
    """One connection. Requests sent ahead wait until those before are answered; while they wait, no more is read."""

    def __init__(self, served: Served) -> None:
        self._served, self._limits = served, served.limits
        self._parser = httptools.HttpRequestParser(self)
        self._withdraw: Withdraw | None = None  # of the request that is being answered
        self._busy = self._stays = False
        self._waiting: deque[tuple[HttpRequest, bool]] = deque()  # with whether the connection stays
        self._refusal: tuple[int, str] | None = None  # of what came after those; nothing is read after it
        self._loop = asyncio.get_running_loop()
        self._deadline_s = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._writable = True
        self._begin()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast(asyncio.Transport, transport)
        self._served.connections.add(self)
        if len(self._served.connections) > self._limits.connections:
            self._refuse(503, "too many connections")
        else:
            self._watch(self._limits.header_s)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._transport.is_closing() or self._refusal:
            return
        if not self._in_body:
            self._header_bytes += len(data)
        try:
            self._parser.feed_data(data)
            if not self._in_body and self._header_bytes > self._limits.header_bytes:
                raise BadRequest(431, f"more than {self._limits.header_bytes} bytes of headers")
        except httptools.HttpParserUpgrade:
            self._transport.pause_reading()  # it is answered in the protocol that it came in, and hung up on
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, BadRequest):
                self._refuse(cause.status, str(cause))
            else:
                self._refuse(400, f"not HTTP/1.1: {error}")
        except BadRequest as error:
            self._refuse(error.status, str(error))

    def eof_received(self) -> None:
        """A client that sends no more has gone: one that still listens cannot be told from one that has closed."""

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._served.connections.discard(self)
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self._waiting.clear()
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

    # ---- called by the parser

    def _begin(self) -> None:
        self._url, self._headers = b"", {}  # type: bytes, dict[str, str]
        self._body: list[bytes] = []
        self._header_bytes = self._size = self._body_bytes = 0
        self._in_body = False

    def on_url(self, url: bytes) -> None:
        """A part of the path."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; of those that come twice, the values are joined."""
        key, text = _lower(name), value.decode("latin-1")
        self._size += len(name) + len(value) + 4
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        """The body follows: its length is checked before any of it is read."""
        if self._size + len(self._url) > self._limits.header_bytes:
            raise BadRequest(431, f"more than {self._limits.header_bytes} bytes of headers")
        if "host" not in self._headers and self._parser.get_http_version() == "1.1":
            raise BadRequest(400, "the Host header is missing")
        length = self._headers.get("content-length", "0")
        if length.isascii() and length.isdigit() and int(length) > self._limits.body_bytes:
            raise BadRequest(413, f"a body of {length} bytes; at most {self._limits.body_bytes} are taken")
        self._in_body = True
        if not self._busy:
            self._watch(self._limits.body_s)
        if self._headers.get("expect", "").lower() == "100-continue" and not self._busy:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, part: bytes) -> None:
        """A part of the body."""
        self._body.append(part)
        self._body_bytes += len(part)
        if self._body_bytes > self._limits.body_bytes:
            raise BadRequest(413, f"a body of more than {self._limits.body_bytes} bytes")

    def on_message_complete(self) -> None:
        """A request is whole."""
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        request = HttpRequest(self._parser.get_method().decode("ascii"), _path(self._url), self._headers, body)
        self._waiting.append((request, self._parser.should_keep_alive() and not self._parser.should_upgrade()))
        self._begin()
        if self._busy:
            self._transport.pause_reading()
        else:
            self._next()

    # ---- answering

    def _next(self) -> None:
        """Has the next request answered, or waits for one."""
        if self._waiting and not self._transport.is_closing():
            self._watch(None)
            request, self._stays = self._waiting.popleft()
            self._busy = True
            self._withdraw = self._served.handle(request, partial(self._answer, request.method != "HEAD"))
        elif self._refusal:
            self._refuse(*self._refusal)
        elif not self._transport.is_closing():
            self._transport.resume_reading()
            self._watch(self._limits.body_s if self._in_body else self._limits.header_s)

    def _answer(self, with_body: bool, answer: HttpAnswer) -> None:
        """The reply to the request; it is through once the client has taken so much that the rest fits the buffers."""
        if not self._busy:
            return  # the client has gone
        self._withdraw = None
        self._stays = self._stays and not self._served.closing
        self._write(answer, self._stays, with_body)
        if self._writable:
            self._answered()
        else:
            self._watch(self._limits.send_s)

    def _answered(self) -> None:
        self._busy = False
        if self._stays:
            self._next()
        else:
            self._transport.close()

    def _write(self, answer: HttpAnswer, stays: bool, with_body: bool = True) -> None:
        head = _head(answer.status, stays, tuple(answer.headers.items()))
        self._transport.write(b"%s%d\r\n\r\n%s" % (head, len(answer.body), answer.body if with_body else b""))

    def _refuse(self, status: int, text: str) -> None:
        """Answers, once all that came before is answered, and ends the connection."""
        if self._transport.is_closing():
            return
        if self._busy:
            self._refusal = status, text
            self._transport.pause_reading()
            return
        self._write(self._served.error(status, text), stays=False)
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

    def _run_down(self) -> None:
        self._timer = None
        if self._deadline_s <= self._loop.time():
            self._too_slow()
        elif self._deadline_s < math.inf:
            self._timer = self._loop.call_at(self._deadline_s, self._run_down)

    def _too_slow(self) -> None:
        begun = self._in_body or self._header_bytes or self._url
        if begun and not self._busy and not self._transport.is_closing():
            self._refuse(408, "the request took too long to come")
        else:
            self._transport.abort()


@lru_cache(1024)
def _lower(name: bytes) -> str:
    return name.decode("latin-1").lower()


@lru_cache(1024)
def _path(url: bytes) -> str:
    try:
        return httptools.parse_url(url).path.decode("ascii")
    except (httptools.HttpParserInvalidURLError, UnicodeDecodeError, AttributeError) as error:
        raise BadRequest(400, "the path cannot be read") from error


@lru_cache(1024)
def _head(status: int, stays: bool, headers: tuple[tuple[str, str], ...]) -> bytes:
    """The head of an answer, up to the number of its bytes."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers)]
    if not stays:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "Content-Length: "]).encode("latin-1")

"""HTTP/1.1 over `httptools`: what comes on one connection, cut into requests and held to the limits."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import httptools

from runtime.gateway.crowd import NO_MEMORY, TOO_MUCH, Crowd
from runtime.gateway.limits import Limits
from runtime.gateway.traces import TRACEPARENT

HEAD_END = b"\r\n\r\n"
KNOWN_HEADS, KNOWN_BYTES = 1024, 1024  # that are kept, and the longest of them


@dataclass(slots=True)
class HttpRequest:
    """One request; names of headers in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class BadRequest(Exception):
    """A request that breaks HTTP or a limit: answered so, and the connection closed."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Heads:
    """Heads that have been parsed, by their bytes: a client sends the same few again and again.

    Only those of requests with a length, or without a body, after which the connection stays. Heads with a trace id differ.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[HttpRequest, int]] = {}  # and the length of the body

    def request(self, data: bytes) -> HttpRequest | None:
        """The request that this is, the whole of it and nothing else; None: not known, and to be parsed."""
        end = data.find(HEAD_END) + len(HEAD_END)
        if known := self._known.get(data[:end]):
            like, length = known
            if len(data) == end + length:
                return HttpRequest(like.method, like.path, like.headers, data[end:])
        return None

    def learn(self, data: bytes, request: HttpRequest) -> None:
        """What has just been parsed, from the first byte of a request to its last, was this request."""
        end = data.find(HEAD_END) + len(HEAD_END)
        length = len(request.body)
        if request.headers.get("content-length", "0") != str(length) or "transfer-encoding" in request.headers:
            return
        if TRACEPARENT in request.headers:
            return
        if end <= KNOWN_BYTES and len(data) == end + length:
            if len(self._known) >= KNOWN_HEADS:
                self._known.clear()
            self._known[data[:end]] = HttpRequest(request.method, request.path, request.headers, b""), length


class Reader:
    """Requests of one connection.

    Args:
        limits: to bytes of headers and bodies.
        heads: known by all connections.
        crowd: all clients.

    Attributes:
        requests: that are whole, in order, each with whether the connection stays afterwards; to be taken from here.
        in_body: the head of the next one is through, its body is not.
        begun: some of the next one is there, or none may come.
    """

    def __init__(self, limits: Limits, heads: Heads, crowd: Crowd) -> None:
        self._limits, self._heads, self._crowd, self._taken_bytes = limits, heads, crowd, 0
        self._parser = httptools.HttpRequestParser(self)
        self.requests: deque[tuple[HttpRequest, bool]] = deque()
        self._begin()

    def feed(self, data: bytes) -> None:
        """Some bytes have come.

        Raises:
            BadRequest: they, after the requests that there are now. Nothing may be fed after it.
        """
        fresh = not self.begun
        if fresh and (request := self._heads.request(data)):
            self._take(len(request.body))
            self.requests.append((request, True))
            return
        before = len(self.requests)
        self._parse(data)
        if fresh and not self.begun and len(self.requests) == before + 1:
            self._heads.learn(data, self.requests[-1][0])

    def _parse(self, data: bytes) -> None:
        if not self.in_body:
            self._header_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return  # it is answered in the protocol that it came in, and hung up on
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, MemoryError):
                raise BadRequest(503, NO_MEMORY) from None
            raise cause if isinstance(cause, BadRequest) else BadRequest(400, f"not HTTP/1.1: {error}") from None
        if not self.in_body and self._header_bytes > self._limits.header_bytes:
            raise BadRequest(431, f"more than {self._limits.header_bytes} bytes of headers")

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for word before it sends the body."""
        return self.in_body and not self._body_bytes and self._headers.get("expect", "").lower() == "100-continue"

    def _take(self, size_bytes: int) -> None:
        self._taken_bytes += size_bytes
        self._crowd.left_bytes -= size_bytes
        if self._crowd.left_bytes < 0:
            raise BadRequest(503, TOO_MUCH)

    def give_back(self, size_bytes: int) -> None:
        """A request with a body of this size is answered: its room is for others."""
        self._taken_bytes -= size_bytes
        self._crowd.left_bytes += size_bytes

    def close(self) -> None:
        """Nothing that came is of use any more. It is let go of here: parser and reader know each other, so that only a
        collection would find them, and bodies are large.
        """
        self.requests.clear()
        self._body.clear()
        self.give_back(self._taken_bytes)

    # ---- called by the parser

    def _begin(self) -> None:
        self._url, self._headers = b"", {}  # type: bytes, dict[str, str]
        self._body: list[bytes] = []
        self._header_bytes = self._size = self._body_bytes = 0
        self.begun = self.in_body = False

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self.begun = True

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
        self.in_body = True

    def on_body(self, part: bytes) -> None:
        """A part of the body."""
        self._body.append(part)
        self._body_bytes += len(part)
        self._take(len(part))
        if self._body_bytes > self._limits.body_bytes:
            raise BadRequest(413, f"a body of more than {self._limits.body_bytes} bytes")

    def on_message_complete(self) -> None:
        """A request is whole."""
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        request = HttpRequest(self._parser.get_method().decode("ascii"), _path(self._url), self._headers, body)
        stays = self._parser.should_keep_alive() and not self._parser.should_upgrade()
        self.requests.append((request, stays))
        self._begin()
        self.begun = not stays


@lru_cache(1024)
def _lower(name: bytes) -> str:
    return name.decode("latin-1").lower()


@lru_cache(1024)
def _path(url: bytes) -> str:
    try:
        return httptools.parse_url(url).path.decode("ascii")
    except (httptools.HttpParserInvalidURLError, UnicodeDecodeError, AttributeError) as error:
        raise BadRequest(400, "the path cannot be read") from error

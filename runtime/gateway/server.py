"""The gateway: the Open Inference Protocol v2 over HTTP, in front of a dispatcher."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import socket
import ssl
from asyncio import Future
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from http import HTTPStatus
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

import orjson
from prometheus_client import CONTENT_TYPE_LATEST

from runtime.gateway.access import Access
from runtime.gateway.calls import NAME, VERSION, Calls, Unanswered
from runtime.gateway.connection import Connection, HttpAnswer, Reply, Served, Withdraw
from runtime.gateway.crowd import NO_MEMORY
from runtime.gateway.dispatcher import Dispatcher
from runtime.gateway.json_tensors import InferRequest, read_request, write_answer
from runtime.gateway.limits import Limits
from runtime.gateway.reader import HttpRequest
from runtime.gateway.request import Outcome
from runtime.gateway.tensors import ProtocolError
from runtime.gateway.traces import Trace, Traces
from runtime.models.model import TensorSpec

log = logging.getLogger(__name__)
EXTENSIONS = ("binary_tensor_data",)
JSON_LENGTH = "Inference-Header-Content-Length"
TIMEOUT = "Tidal-Timeout-Seconds"  # how long a client waits for its answer
_JSON_LENGTH, _TIMEOUT = JSON_LENGTH.lower(), TIMEOUT.lower()
LOOK_S = 0.02
PART_S = 1.0  # for the rest of a request, where another process takes over


class HttpError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, text: str, **headers: str) -> None:
        super().__init__(text)
        self.status, self.headers = status, {name.replace("_", "-"): value for name, value in headers.items()}


class Gateway:
    """An HTTP server on the running event loop.

    Args:
        dispatcher: serves the requests.
        access: who may call what.
        metrics: makes the text of /metrics.
        limits: of connections.
        traces: that requests are part of.

    Attributes:
        crowd: its clients, and those of whatever else shares the limits.
        url: where it listens, once started.
    """

    def __init__(self, dispatcher: Dispatcher, access: Access, metrics: Callable[[], Awaitable[bytes]],
                 limits: Limits = Limits(), traces: Traces = Traces()) -> None:  # noqa: B008  (immutable)
        self._dispatcher, self._calls, self._metrics = dispatcher, Calls(dispatcher, access, traces), metrics
        self._served = Served(self._handle, _error, limits)
        self.crowd = self._served.crowd
        self.url = ""

    async def start(self, host: str = "127.0.0.1", port: int = 0, secure: ssl.SSLContext | None = None,
                    listening: Sequence[socket.socket] = (), clients: Iterable[socket.socket] = ()) -> None:
        """Listens; port 0 is any free one. `secure`: over TLS. `listening`, `clients`: sockets of an earlier process to go on
        with.

        Raises:
            OSError: the address cannot be had.
        """
        loop, limits = asyncio.get_running_loop(), self._served.limits
        where: dict[str, Any] = {"sock": listening[0]} if listening else {"host": host, "port": port}
        self._server = await loop.create_server(
            lambda: Connection(self._served), **where, ssl=secure,
            ssl_handshake_timeout=limits.header_s if secure else None, backlog=limits.connections)  # while the loop is held up
        for client in clients:
            await loop.connect_accepted_socket(lambda: Connection(self._served), client)
        address = self._server.sockets[0].getsockname()
        name = f"[{address[0]}]" if ":" in address[0] else address[0]
        self.url = f"{'https' if secure else 'http'}://{name}:{address[1]}"

    def mend(self) -> None:
        """Makes good what failed midway, for want of memory, say; of the dispatcher, too. To be called now and then."""
        self._dispatcher.mend()
        for connection in list(self._served.connections):
            connection.mend()

    async def hand_over(self, patience_s: float = 30.0) -> tuple[list[socket.socket], list[socket.socket]]:
        """Takes no more connections, and answers what is under way for so long; gives where it listens, and the connections
        that are idle then. What clients send from then on waits for whoever goes on with these.
        """
        served, loop = self._served, asyncio.get_running_loop()
        listening = [socket.socket(fileno=os.dup(one.fileno())) for one in self._server.sockets]
        self._server.close()
        handed = served.handed = list[socket.socket]()
        part_s, end_s = loop.time() + PART_S, loop.time() + patience_s
        while served.connections and loop.time() < end_s:
            for connection in list(served.connections):
                connection.hand_over()
                if loop.time() > part_s:
                    connection.give_up()
            await asyncio.sleep(LOOK_S)
        return listening, handed

    async def close(self, patience_s: float = 30.0) -> None:
        """Takes no more connections, answers what is under way for so long, and hangs up."""
        self._served.closing = True
        self._server.close()
        loop = asyncio.get_running_loop()
        end_s = loop.time() + patience_s
        for connection in [c for c in self._served.connections if not c.busy]:
            connection.close(at_once=False)
        while self._served.connections and loop.time() < end_s:
            await asyncio.sleep(LOOK_S)
        for connection in list(self._served.connections):
            connection.close(at_once=True)
        while self._served.connections:
            self.mend()
            await asyncio.sleep(0)

    def _handle(self, http: HttpRequest, reply: Reply) -> Withdraw:
        """See `Handler`."""
        try:
            match _parts(http.path):
                case ["v2", "models", name, "infer"]:
                    _allow(http, "POST")
                    return self._infer(self._called(http, name), http, reply)
                case ["metrics"]:
                    return self._page(http, reply)
                case path:
                    answer = self._told(path, http)
        except Exception as error:
            answer = _failed(http, error)
        asyncio.get_running_loop().call_soon(reply, answer)
        return lambda: None

    def _told(self, path: tuple[str, ...], http: HttpRequest) -> HttpAnswer:
        """What is known at once."""
        match path:
            case ["v2", "models", name, "ready"]:
                _allow(http, "GET")
                ready = self._dispatcher.ready(self._called(http, name))
                return _json(200 if ready else 503, {"name": name, "ready": ready})
            case ["v2", "models", name]:
                _allow(http, "GET")
                model = self._calls.metadata(self._called(http, name))
                return _json(200, model._asdict() | {"inputs": _said(model.inputs), "outputs": _said(model.outputs)})
            case ["v2"]:
                _allow(http, "GET")
                return _json(200, {"name": NAME, "version": VERSION, "extensions": EXTENSIONS})
            case ["v2", "health", "live"]:
                _allow(http, "GET")
                return _json(200, {"live": True})
            case ["v2", "health", "ready"]:
                _allow(http, "GET")
                ready = self._calls.ready and not self._served.closing
                return _json(200 if ready else 503, {"ready": ready, "live": True})
        raise HttpError(404, f"nothing is at {http.path}")

    def _page(self, http: HttpRequest, reply: Reply) -> Withdraw:
        """Has the page of metrics made; it is told when it is done."""
        _allow(http, "GET")
        if not self._calls.access.may_scrape(http.headers.get("authorization", "")):
            raise HttpError(401, "the metrics need the token for scraping", WWW_Authenticate="Bearer")

        def told(page: Future[bytes]) -> None:
            error = page.exception()
            reply(_failed(http, error) if error else HttpAnswer(200, page.result(), {"Content-Type": CONTENT_TYPE_LATEST}))

        page = asyncio.ensure_future(self._metrics())
        page.add_done_callback(told)
        return lambda: None

    def _called(self, http: HttpRequest, name: str) -> str:
        return self._calls.called(name, http.headers.get("authorization", ""))

    def _infer(self, name: str, http: HttpRequest, reply: Reply) -> Withdraw:
        """Has a request served; its answer follows once it has settled."""
        if http.headers.get("content-encoding", "identity") != "identity":
            raise HttpError(415, "compressed bodies are not taken", Accept_Encoding="identity")
        model = self._calls.metadata(name)
        said = read_request(http.body, _json_bytes(http), model.inputs, model.outputs)
        request = self._calls.submit(name, said.tensors, _patience_s(http), http.headers)
        request.then.append(partial(self._settled, name, request.trace, http, said, reply))
        return partial(self._dispatcher.withdraw, request)

    def _settled(self, name: str, trace: Trace | None, http: HttpRequest, said: InferRequest, reply: Reply,
                 outcome: Outcome) -> None:
        """Answers. It must not know the request, which knows it: each would be left to a collection of garbage."""
        try:
            answer = self._answer(name, said, self._calls.answered(name, outcome))
        except Exception as error:
            answer = _failed(http, error)
        if trace:
            answer = answer._replace(headers={**answer.headers, **trace.headers})
        reply(answer)

    def _answer(self, name: str, said: InferRequest, outcome: Outcome) -> HttpAnswer:
        head: dict[str, Any] = {"model_name": name, "model_version": outcome.variant}
        if said.id:
            head["id"] = said.id
        head["parameters"] = {"variant": outcome.variant}
        body, json_bytes = write_answer(head, self._dispatcher.outputs[outcome.variant], outcome.answer, said)
        if json_bytes is None:
            return HttpAnswer(200, body)
        return HttpAnswer(200, body, {"Content-Type": "application/octet-stream", JSON_LENGTH: str(json_bytes)})


@lru_cache(1024)
def _parts(path: str) -> tuple[str, ...]:
    return tuple(unquote(part) for part in path.strip("/").split("/"))


def _allow(http: HttpRequest, method: str) -> None:
    allowed = ("GET", "HEAD") if method == "GET" else (method,)
    if http.method not in allowed:
        raise HttpError(405, f"{http.path} takes {' and '.join(allowed)}, not {http.method}", Allow=", ".join(allowed))


def _json_bytes(http: HttpRequest) -> int | None:
    text = http.headers.get(_JSON_LENGTH)
    if text is not None and not (text.isascii() and text.isdigit()):
        raise ProtocolError(f"{JSON_LENGTH} must be a whole number, not '{text}'")
    return None if text is None else int(text)


def _patience_s(http: HttpRequest) -> float:
    text = http.headers.get(_TIMEOUT)
    if text is None:
        return math.inf
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise ProtocolError(f"{TIMEOUT} must be a number of seconds above 0, not '{text}'")
    return seconds


def _said(specs: tuple[TensorSpec, ...]) -> list[dict[str, Any]]:
    return [{"name": s.name, "datatype": s.datatype, "shape": s.shape} for s in specs]


def _json(status: int, said: dict[str, Any]) -> HttpAnswer:
    return HttpAnswer(status, orjson.dumps(said))


def _error(status: int, text: str, headers: Mapping[str, str] = MappingProxyType({})) -> HttpAnswer:
    answer = _json(status, {"error": text})
    return answer._replace(headers={**answer.headers, **headers})


def _failed(http: HttpRequest, error: BaseException) -> HttpAnswer:
    """The answer of a request that went wrong."""
    match error:
        case HttpError():
            return _error(error.status, str(error), error.headers)
        case Unanswered():
            return _error(error.status, str(error), _advice(error))
        case ProtocolError():
            return _error(400, str(error))
        case MemoryError():
            return _error(503, NO_MEMORY, {"Retry-After": "1"})
    log.error("%s %s", http.method, http.path, exc_info=error)
    return _error(500, "an error in the gateway; its log says more")


def _advice(error: Unanswered) -> dict[str, str]:
    """What the headers tell a client to do."""
    if error.status == HTTPStatus.UNAUTHORIZED:
        return {"WWW-Authenticate": "Bearer"}
    return {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}

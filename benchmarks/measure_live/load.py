"""The load tool: one thread, raw sockets, closed or open loop. It checks that each answer is that to its own request.

A request's number is its id and its first value, and the models echo: an answer that is missing, doubled or another's shows.
Latencies of an open loop count from when a request was due, so that a tool or a server that is late does not hide it.
"""

from __future__ import annotations

import re
import select
import socket
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

UNANSWERED = 0
TIMEOUT_S = 30.0
KEPT_OPEN = 16  # connections that an open loop begins with
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Target:
    """What is asked, and where.

    Attributes:
        port: on 127.0.0.1.
        model: what is called.
        input: name of its input.
        values: of a request, FP32; the first is the request's number.
        first: number of the first request.
    """

    port: int
    model: str = "noop"
    input: str = "x"
    values: int = 8
    first: int = 0

    @property
    def path(self) -> str:
        """Of a request."""
        return f"/v2/models/{self.model}/infer"

    @cached_property
    def _head(self) -> bytes:
        return (f"POST {self.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                "Content-Length: %d\r\n\r\n").encode()

    @cached_property
    def _body(self) -> bytes:
        return (f'{{"id":"%d","inputs":[{{"name":"{self.input}","datatype":"FP32","shape":[1,{self.values}],'
                f'"data":[%d{",0" * (self.values - 1)}]}}]}}').encode()

    def request(self, number: int) -> bytes:
        """One request as it goes on the wire."""
        body = self._body % (number, number)
        return self._head % len(body) + body


@dataclass
class Played:
    """What became of the requests.

    Attributes:
        due_s, sent_s, done_s: by request, since the start; NaN: not answered.
        status: of HTTP; 0 where there was no answer.
        wrong: answers that were not those to their requests, or that nobody had asked for.
        start_s: `time.time()`.
        wall_s, cpu_s: of this run.
    """

    due_s: np.ndarray
    sent_s: np.ndarray
    done_s: np.ndarray
    status: np.ndarray
    wrong: int
    start_s: float
    wall_s: float
    cpu_s: float

    @property
    def answered(self) -> int:
        """Requests with a good answer."""
        return int(np.sum(self.status == 200))

    @property
    def failed(self) -> int:
        """Requests without one, whatever the reason, and answers that were wrong."""
        return len(self.status) - self.answered + self.wrong

    @property
    def per_s(self) -> float:
        """Good answers per second."""
        return self.answered / self.wall_s

    @property
    def latency_s(self) -> np.ndarray:
        """From when it was due to its answer, of the requests that were answered."""
        return (self.done_s - self.due_s)[self.status == 200]

    @property
    def late_s(self) -> float:
        """How late the tool itself was, at most with 99 of 100 requests."""
        return float(np.percentile(self.sent_s - self.due_s, 99))


@dataclass(eq=False, slots=True)
class _Connection:
    socket: socket.socket
    buffer: bytes = b""
    number: int = -1  # of the request under way


@dataclass(eq=False)
class _Run:
    """Connections, and what is under way on them: one request each."""

    target: Target
    most: int
    poll: select.epoll = field(default_factory=select.epoll)
    connections: dict[int, _Connection] = field(default_factory=dict)
    free: list[_Connection] = field(default_factory=list)
    sent_s: list[float] = field(default_factory=list)
    done_s: list[float] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    wrong: int = 0
    under_way: int = 0

    def connect(self) -> _Connection:
        """A new connection."""
        connection = _Connection(socket.create_connection(("127.0.0.1", self.target.port), TIMEOUT_S))
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.socket.setblocking(False)
        self.connections[connection.socket.fileno()] = connection
        self.poll.register(connection.socket, select.EPOLLIN)
        return connection

    def take(self) -> _Connection | None:
        """A free connection, the one used last first, or a new one; None: there is none now."""
        if self.free:
            return self.free.pop()
        try:
            return self.connect() if len(self.connections) < self.most else None
        except OSError:
            return None

    def send(self, connection: _Connection) -> None:
        """Send the next request."""
        number = connection.number = len(self.sent_s)
        self.sent_s.append(time.perf_counter())
        self.done_s.append(np.nan)
        self.status.append(UNANSWERED)
        self.under_way += 1
        try:
            connection.socket.send(self.target.request(self.target.first + number))
        except OSError:
            self.lose(connection)

    def receive(self) -> Iterable[_Connection]:
        """The connections whose requests are answered now."""
        for descriptor, _ in self.poll.poll(0):
            connection = self.connections[descriptor]
            try:
                data = connection.buffer + (connection.socket.recv(65536) or _hung_up())
            except OSError:
                self.lose(connection)
                continue
            end = data.find(b"\r\n\r\n") + 4
            length = _LENGTH.search(data, 0, end) if end > 3 else None
            if length is None or len(data) < end + int(length[1]):
                connection.buffer = data
            elif self._note(connection, data, end, end + int(length[1])):
                yield connection

    def _note(self, connection: _Connection, data: bytes, body: int, end: int) -> bool:
        """An answer is whole; whether the connection is free."""
        number, connection.buffer, connection.number = connection.number, b"", -1
        self.wrong += (number < 0) + (len(data) > end)
        if number < 0:
            return False
        self.under_way -= 1
        self.done_s[number] = time.perf_counter()
        status = self.status[number] = int(data[9:12])
        said = self.target.first + number
        self.wrong += status == 200 and (b'"id":"%d"' % said not in data or b'"data":[%d.0' % said not in data)
        if b"onnection: close" in data[:body]:
            self.lose(connection)
            return False
        return True

    def lose(self, connection: _Connection) -> None:
        """The server has hung up: what was under way there is not answered."""
        self.under_way -= connection.number >= 0
        del self.connections[connection.socket.fileno()]
        if connection in self.free:
            self.free.remove(connection)
        connection.socket.close()

    def wait(self, seconds: float) -> None:
        """Until something comes, or that time is over; an epoll by itself knows whole milliseconds only."""
        select.select([self.poll], [], [], seconds)

    def close(self) -> None:
        """Hang up."""
        for connection in self.connections.values():
            connection.socket.close()
        self.poll.close()


def _hung_up() -> bytes:
    raise ConnectionResetError


def closed_loop(target: Target, connections: int, seconds: float) -> Played:
    """As many requests as the server answers in this time: one under way on each connection, always.

    Raises:
        OSError: nobody listens there.
    """
    run, began = _Run(target, connections), _now()
    try:
        for _ in range(connections):
            run.send(run.connect())
        end_s = began[0] + seconds
        while run.under_way and time.perf_counter() < end_s + TIMEOUT_S:
            run.wait(1.0)
            for connection in run.receive():
                if time.perf_counter() < end_s:
                    run.send(connection)
        return _played(run, np.array(run.sent_s), began)
    finally:
        run.close()


def open_loop(target: Target, due_s: np.ndarray, connections: int = 512) -> Played:
    """A request at each of these times, whatever became of those before; on a new connection where none is free.

    Args:
        target: what is asked.
        due_s: seconds from the start, ascending.
        connections: at most; a request that finds none waits, and that counts as its latency.
    """
    run, waiting = _Run(target, connections), deque(due_s)
    run.free = [run.connect() for _ in range(KEPT_OPEN)]
    began = _now()
    try:
        while (waiting or run.under_way) and time.perf_counter() < began[0] + due_s[-1] + TIMEOUT_S:
            while waiting and began[0] + waiting[0] <= time.perf_counter() and (connection := run.take()):
                waiting.popleft()
                run.send(connection)
            left_s = began[0] + waiting[0] - time.perf_counter() if waiting else 1.0
            run.wait(left_s if left_s > 0 else 0.001)  # due already: no connection was to be had
            run.free += run.receive()
        return _played(run, began[0] + due_s[: len(run.sent_s)], began)
    finally:
        run.close()


def poisson(rate_rps: float, seconds: float, seed: int) -> np.ndarray:
    """Times of arrival, seconds."""
    gaps = np.random.default_rng(seed).exponential(1 / rate_rps, int(rate_rps * seconds))
    return np.cumsum(gaps)


def _now() -> tuple[float, float, float]:
    return time.perf_counter(), time.process_time(), time.time()


def _played(run: _Run, due_s: np.ndarray, began: tuple[float, float, float]) -> Played:
    perf_s, cpu_s, unix_s = began
    return Played(due_s - perf_s, np.array(run.sent_s) - perf_s, np.array(run.done_s) - perf_s, np.array(run.status),
                  run.wrong, unix_s, time.perf_counter() - perf_s, time.process_time() - cpu_s)

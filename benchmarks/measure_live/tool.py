"""The load tool's own process, and its ceiling; and how statistics over rounds are said."""

from __future__ import annotations

import multiprocessing
import socket
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any

import numpy as np

from benchmarks.measure_live.load import Played, Target, closed_loop
from benchmarks.measure_worlds.throughput import median_interval

CHUNK = 65536


class Tool:
    """A process that plays loads, one after the other; with several tools, loads run side by side."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))

    def start(self, play: Callable[..., Played], *arguments: Any) -> Future[Played]:
        """Begin one of the functions of `benchmarks.measure_live.load`."""
        return self._pool.submit(play, *arguments)

    def play(self, play: Callable[..., Played], *arguments: Any) -> Played:
        """Begin one, and wait for it."""
        return self.start(play, *arguments).result()

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown()


def ceiling(tool: Tool, connections: int, seconds: float) -> Played:
    """The tool against a server that does next to nothing: it sends back a constant answer, whatever comes."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=_constant, args=(theirs,), daemon=True)
    server.start()
    try:
        return tool.play(closed_loop, Target(ours.recv()), connections, seconds)
    finally:
        server.kill()
        server.join()


def _constant(pipe: Any) -> None:
    import select

    with socket.create_server(("127.0.0.1", 0)) as server:
        pipe.send(server.getsockname()[1])
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
        poll, open_ = select.epoll(), {}
        poll.register(server, select.EPOLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == server.fileno():
                    connection = server.accept()[0]
                    open_[connection.fileno()] = connection
                    poll.register(connection, select.EPOLLIN)
                elif open_[descriptor].recv(CHUNK):
                    open_[descriptor].send(answer)
                else:
                    poll.unregister(descriptor)
                    open_.pop(descriptor).close()


def said(values: np.ndarray | list[float], unit: str = "", scale: float = 1.0) -> str:
    """Median and interval, for people."""
    middle, low, high = (scale * value for value in median_interval(np.asarray(values)))
    return f"{middle:.3g} [{low:.3g}, {high:.3g}]{unit and ' '}{unit}"

"""What the live page costs the process that serves: CPU time with nobody, one, and all listeners it has room for."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import requests

from benchmarks.measure_live.cluster import Cluster, cluster
from benchmarks.rows import Row, row
from runtime.control.live import MOST_LISTENERS

SCENARIO = "resnet-variants"  # emulated: 95 kinds, five variants
SETTLE_S = 3.0
TARGET = 0.01  # of one core, for one page


class Listener(threading.Thread):
    """Reads the stream, as an open page does, until told to stop.

    Attributes:
        read_bytes: so many.
    """

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._response = requests.get(f"{url}/v1/live", stream=True, timeout=10)
        self._response.raise_for_status()
        self.read_bytes = 0
        self.start()

    def run(self) -> None:
        """See `Thread`."""
        try:
            for line in self._response.iter_lines():
                self.read_bytes += len(line)
        except (requests.RequestException, AttributeError):
            pass  # closed by us

    def close(self) -> None:
        """Hangs up."""
        self._response.close()


def rows(seconds: float) -> Iterator[Row]:
    """CPU shares, nobody's taken off; `seconds` of each."""
    how = f"CPU time of `tidal serve --scenario {SCENARIO}` over {seconds:g} s without requests, /proc/PID/stat"
    with cluster(SCENARIO) as live:
        alone, _ = _share(live, 0, seconds)
        yield row("CPU of serving nothing, nobody looking (history, metrics window)", alone, "cores", how=how)
        for pages in (1, MOST_LISTENERS):
            share, told_bytes = _share(live, pages, seconds)
            name = "one open page" if pages == 1 else f"{pages} open pages"
            yield row(f"CPU added by {name}", max(0.0, share - alone), "cores", target=TARGET if pages == 1 else None, how=how)
        yield row("told to one page", told_bytes / seconds / pages, "bytes/s", how="read by the listeners")


def _share(live: Cluster, pages: int, seconds: float) -> tuple[float, int]:
    """Cores that the process kept busy with so many listeners, and what they read."""
    time.sleep(SETTLE_S)  # those before have gone
    with ExitStack() as stack:
        listeners = [Listener(live.control) for _ in range(pages)]
        for listener in listeners:
            stack.callback(listener.close)
        time.sleep(SETTLE_S)  # the past has been sent
        before = sum(listener.read_bytes for listener in listeners)
        cpu_s, began_s = live.server.cpu_s(), time.monotonic()
        time.sleep(seconds)
        return (live.server.cpu_s() - cpu_s) / (time.monotonic() - began_s), sum(n.read_bytes for n in listeners) - before

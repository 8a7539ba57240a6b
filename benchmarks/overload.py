"""The gateway with more than it can carry: ten times the load, retry storms, poison, slow clients, huge bodies.

    python benchmarks/overload.py [--json FILE] [--seconds S] [--only flood storm poison slow huge]

Goodput is answers within the SLO per second, held against what the same replicas answer at most, measured before in the same
process. The load tool and the cluster share the machine: a busy one shows in all of it.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure_live.cluster import Cluster, cluster, scenario
from benchmarks.measure_live.load import Played, Target, closed_loop, open_loop, poisson
from benchmarks.measure_live.models import POISON
from benchmarks.measure_live.tool import Tool
from benchmarks.rows import Part, Row, command_line, report_parts, row

NAME, SLO_S, BATCH_S, REPLICAS = "flooded", 0.25, 0.01, 2
CANDIDATES = [{"variants": ["echo"], "cores": [1], "max_count": 4}]
ADMISSION = {"queue_limit_s": 0.4 * SLO_S, "drop_after_s": 0.6 * SLO_S}
TIMES, CONNECTIONS = 10.0, 512
CALM_RATIO, CALM_S, BIN_S = 0.7, 8.0, 0.5  # of the maximum, after the flood
GOODPUT_RATIO, RECOVERY_S = 0.9, 30.0
MEMORY_MB = 300.0  # that the process may grow by: the bodies that are let in at once, and what is made of them
SLOW, SLOW_BODY = 300, b"POST /v2/models/flooded/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{"
HUGE, HUGE_BYTES = 60, 15 * 2**20
POISON_EACH_S = 5.0


class Seen(NamedTuple):
    """Of one load: good answers per second while it lasted, the 99th percentile of answers, and when all was well again."""

    goodput_rps: float
    p99_s: float
    recovery_s: float
    refused: int
    unanswered: int


def parts(seconds: float) -> dict[str, Part]:
    """What is measured, by name."""
    return {"flood": lambda: flood_rows(seconds), "storm": lambda: storm_rows(seconds),
            "slow": lambda: beside_rows("slow clients", slow_clients, seconds),
            "huge": lambda: beside_rows("huge bodies", huge_bodies, seconds), "poison": lambda: poison_rows(2 * seconds)}


def flood_rows(seconds: float) -> Iterator[Row]:
    """Ten times the load, open loop; then a calm one."""
    with _flooded() as live, closing(Tool()) as tool:
        most_rps, memory = _most(live, tool), Memory(live.server.pid)
        due_s = np.concatenate([poisson(TIMES * most_rps, seconds, 1),
                                seconds + poisson(CALM_RATIO * most_rps, CALM_S, 2)])
        played = tool.play(open_loop, _target(live), due_s, CONNECTIONS)
        yield from _rows(f"{TIMES:.0f} x the load", _seen(played, seconds), most_rps, memory)


def storm_rows(seconds: float) -> Iterator[Row]:
    """Clients that ask again the moment that they are refused."""
    with _flooded() as live, closing(Tool()) as tool:
        most_rps, memory = _most(live, tool), Memory(live.server.pid)
        began_cpu_s = live.server.cpu_s()
        storm = tool.play(closed_loop, _target(live), CONNECTIONS, seconds)
        cpu_s = live.server.cpu_s() - began_cpu_s
        calm = tool.play(open_loop, _target(live), poisson(CALM_RATIO * most_rps, CALM_S, 2))
        latency_s = (storm.done_s - storm.sent_s)[storm.status == 200]
        seen = Seen(float(np.sum(latency_s <= SLO_S)) / seconds, _p99(latency_s), _seen(calm, 0.0).recovery_s,
                    int(np.sum(storm.status == 503)), int(np.sum(storm.status == 0)))
        yield from _rows(f"a retry storm of {CONNECTIONS} clients", seen, most_rps, memory)
        yield row("a retry storm: CPU time of the gateway", cpu_s / len(storm.status), "s",
                  f"of each request, answered or refused; {cpu_s / storm.wall_s:.0%} of a core")


def beside_rows(name: str, bad: Callable[[int, threading.Event], None], seconds: float) -> Iterator[Row]:
    """A good load of nearly all that is possible, beside clients that mean no good."""
    with _flooded() as live, closing(Tool()) as tool:
        most_rps, memory, over = _most(live, tool), Memory(live.server.pid), threading.Event()
        thread = threading.Thread(target=bad, args=(live.port, over))
        thread.start()
        time.sleep(1.0)
        playing = tool.start(open_loop, _target(live), poisson(GOODPUT_RATIO * most_rps, seconds + CALM_S, 1), CONNECTIONS)
        time.sleep(seconds)
        over.set()
        thread.join()
        yield from _rows(name, _seen(playing.result(), seconds), most_rps * GOODPUT_RATIO, memory)


def poison_rows(seconds: float) -> Iterator[Row]:
    """Requests that end the worker that computes them, among good ones."""
    candidates = [{**CANDIDATES[0], "batch": 4, "max_wait_s": 0.02}]
    what = scenario(NAME, {"echo": {1: BATCH_S, 4: BATCH_S}}, candidates, [REPLICAS + 1],
                    services={NAME: {"variants": ["echo"], "slo_s": 1.0}})
    with cluster(what, {"echo": "benchmarks.measure_live.models:poisonable"}) as live, closing(Tool()) as tool:
        good, over, told = Target(live.port, NAME, "x"), threading.Event(), list[int]()
        poison = threading.Thread(target=_poison, args=(live.port, over, told))
        playing = tool.start(open_loop, good, poisson(60.0, seconds, 1))
        poison.start()
        played = playing.result()
        over.set()
        poison.join()
        live.settle()
        failed = sum(event["what"] == "failed" for event in live.events())
    how = (f"{len(told)} requests that end the process of whoever computes them, one in {POISON_EACH_S:g} s, among "
           f"{len(played.status)} at 60/s, {REPLICAS + 1} workers, batches of 4; {failed} workers ended")
    shed = int(np.sum(played.status == 503))
    yield row("poison: good requests that failed with it", played.failed - shed, "requests", how, target=0)
    yield row("poison: good requests refused while no worker was left (503)", shed, "requests", how)
    yield row("poison: not told of as what it is (502)", sum(status != 502 for status in told), "requests", how, target=0)
    yield row("poison: workers that one of them ends, at most", failed / max(1, len(told)), "workers", how, target=3)


def _flooded() -> AbstractContextManager[Cluster]:
    return cluster(scenario(NAME, {"echo": {1: BATCH_S}}, CANDIDATES, [REPLICAS], admission=ADMISSION,
                            services={NAME: {"variants": ["echo"], "slo_s": SLO_S}}))


def _target(live: Cluster) -> Target:
    return Target(live.port, NAME, "payload", 1)


def _most(live: Cluster, tool: Tool) -> float:
    """What the replicas answer at most."""
    tool.play(closed_loop, _target(live), 2 * REPLICAS, 1.0)
    return tool.play(closed_loop, _target(live), 4 * REPLICAS, 3.0).per_s


def _seen(played: Played, until_s: float) -> Seen:
    good = (played.status == 200) & (played.done_s - played.due_s <= SLO_S)
    within = played.due_s < until_s
    bins = ((played.due_s[~within] - until_s) // BIN_S).astype(int)
    bad = np.unique(bins[~good[~within]])
    latency_s = (played.done_s - played.due_s)[within & (played.status == 200)]
    recovery_s = BIN_S * float(bad.max() + 1) if bad.size else 0.0
    return Seen(float(np.sum(good & within)) / max(until_s, BIN_S), _p99(latency_s), recovery_s,
                int(np.sum(played.status == 503)), int(np.sum(played.status == 0)))


def _p99(latency_s: np.ndarray) -> float:
    return float(np.percentile(latency_s, 99)) if latency_s.size else float("inf")


class Memory(threading.Thread):
    """How far the memory of a process grows, until it is asked."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self._over = pid, threading.Event()
        self._first = self._most = self._now()
        self.start()

    def run(self) -> None:
        """See `Thread`."""
        while not self._over.wait(0.05):
            self._most = max(self._most, self._now())

    def grown(self) -> float:
        """By so many bytes, at most."""
        self._over.set()
        self.join()
        return self._most - self._first

    def _now(self) -> float:
        status = Path(f"/proc/{self._pid}/status").read_text()
        return 1024.0 * int(status.partition("VmRSS:")[2].split()[0])


def _rows(name: str, seen: Seen, of_rps: float, memory: Memory) -> Iterator[Row]:
    how = (f"of {of_rps:.0f}/s; {REPLICAS} emulated replicas of {1e3 * BATCH_S:.0f} ms, SLO {1e3 * SLO_S:.0f} ms, admission "
           f"{ADMISSION}; {seen.refused} refused with 503, {seen.unanswered} not answered")
    yield row(f"{name}: goodput, missing of the maximum", max(0.0, 1 - seen.goodput_rps / of_rps), "ratio", how,
              target=1 - GOODPUT_RATIO)
    yield row(f"{name}: p99 of what was answered", seen.p99_s, "s", how, target=SLO_S)
    yield row(f"{name}: recovery", seen.recovery_s, "s", f"until all of {CALM_RATIO} x the maximum is within the SLO again",
              target=RECOVERY_S)
    yield row(f"{name}: memory that came", memory.grown() / 2**20, "MiB", "of `tidal serve`, RSS", target=MEMORY_MB)


# ---- who means no good

def slow_clients(port: int, over: threading.Event) -> None:
    """Send a byte now and then; where they are hung up on, they come again."""
    clients: list[socket.socket] = []
    while not over.wait(0.1):
        for client in list(clients):
            try:
                client.send(b" ")
            except OSError:
                clients.remove(client)
                client.close()
        while len(clients) < SLOW:
            with suppress(OSError):
                clients.append(socket.create_connection(("127.0.0.1", port), 1.0))
                clients[-1].setblocking(False)
                clients[-1].send(SLOW_BODY)
    for client in clients:
        client.close()


def huge_bodies(port: int, over: threading.Event) -> None:
    """Send nearly all of the largest body that is taken, all at once, and wait."""
    head = b"POST /v2/models/flooded/infer HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % HUGE_BYTES
    part, clients = b"[" * 2**18, list[socket.socket]()
    while not over.is_set():
        for client in clients:
            client.close()
        clients = []
        for _ in range(HUGE):
            with suppress(OSError):
                clients.append(socket.create_connection(("127.0.0.1", port), 1.0))
                clients[-1].sendall(head)
        for _ in range(HUGE_BYTES // len(part) - 1):
            for client in clients:
                with suppress(OSError):
                    client.settimeout(0.05)
                    client.sendall(part)
            if over.wait(0.002):
                break
        over.wait(1.0)
    for client in clients:
        client.close()


def _poison(port: int, over: threading.Event, told: list[int]) -> None:
    """One now and then, as long as there is time for its answer."""
    target = Target(port, NAME, "x", first=0)
    while not over.wait(POISON_EACH_S):
        with socket.create_connection(("127.0.0.1", port), 30.0) as client:
            client.sendall(target.request(POISON))
            told.append(int((client.recv(65536) or b"HTTP/1.1 000")[9:12]))


if __name__ == "__main__":
    parser = command_line(__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="that each lasts (default: %(default)g)")
    report_parts(parser, lambda options: parts(options.seconds))

"""Throughput and latency with a model that computes nothing: what the way from client to model and back costs."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.measure_live import models
from benchmarks.measure_live.cluster import NOOP, cluster, scenario
from benchmarks.measure_live.load import Played, Target, closed_loop, open_loop, poisson
from benchmarks.measure_live.processes import Server
from benchmarks.measure_live.tool import Tool, ceiling, said
from benchmarks.peers.with_ray_serve import SETTINGS, environment
from benchmarks.rows import Row, row

CONNECTIONS = 64
SATURATION_S, STEADY_S, STEADY_RPS = 4.0, 6.0, 5000.0
TIMES, P99_RATIO, P50_S, P99_S = 5.0, 0.5, 0.6e-3, 3e-3
SHARE_OF_PEER = 0.6  # of what the slower one carries: the rate at which latencies are compared
BATCH = 32
LATENCY_S = {"noop": {1: 2e-4, BATCH: 4e-4}}


@dataclass
class Side:
    """A server, and its rounds."""

    name: str
    target: Target
    server: Server
    rounds: list[tuple[Played, float]]

    def saturate(self, tool: Tool) -> None:
        """One round of a closed loop, with what the server computed."""
        cpu_s = self.server.cpu_s()
        played = tool.play(closed_loop, self.target, CONNECTIONS, SATURATION_S)
        self.rounds.append((played, self.server.cpu_s() - cpu_s))
        if played.failed:
            raise RuntimeError(f"{self.name}: {played.failed} of {len(played.status)} requests failed")

    @property
    def per_s(self) -> np.ndarray:
        return np.array([played.per_s for played, _ in self.rounds])

    @property
    def cpu_s(self) -> np.ndarray:
        """Of the server, for each request."""
        return np.array([cpu_s / played.answered for played, cpu_s in self.rounds])

    @property
    def tool_cpu_s(self) -> float:
        return float(np.median([played.cpu_s / played.answered for played, _ in self.rounds]))


def rows(rounds: int) -> Iterator[Row]:
    """All rows of speed."""
    tool = Tool()
    try:
        most = ceiling(tool, CONNECTIONS, SATURATION_S)
        cpu = _us(most.cpu_s / most.answered)
        how = f"against a server that sends a constant; {CONNECTIONS} connections, {cpu} of CPU a request"
        yield row("load tool: its ceiling", most.per_s, "requests/s", how)
        with contextlib.ExitStack() as stack:
            ours = stack.enter_context(_ours())
            peers = [stack.enter_context(_peer(name)) for name in SETTINGS] if importlib.util.find_spec("ray") else []
            for _ in range(rounds):
                for side in (ours, *peers):
                    side.saturate(tool)
            yield from _throughput(ours, peers)
            for peer in peers:
                yield _tail(tool, ours, peer, rounds)
        with _ours() as alone, _in_process() as base:
            half_rps = float(np.median(ours.per_s)) / 2
            yield from _added(tool, alone, base, rounds, "half of saturation", half_rps, (P50_S, P99_S))
            yield from _added(tool, alone, base, rounds, f"{STEADY_RPS:.0f} requests/s", STEADY_RPS, (None, None))
    finally:
        tool.close()


def _throughput(ours: Side, peers: list[Side]) -> Iterator[Row]:
    how = (f"no-op model of {models.VALUES} floats, one worker, batches of at most {BATCH}, {CONNECTIONS} connections; "
           f"server {_us(np.median(ours.cpu_s))} of CPU a request, load tool {_us(ours.tool_cpu_s)}, "
           f"median of {len(ours.rounds)} rounds")
    if not peers:
        how += "; NOT COMPARED: Ray Serve is not installed (extra ray)"
    yield row("gateway throughput", float(np.median(ours.per_s)), "requests/s", how)
    for peer in peers:
        how = (f"same model, tool and run, in turns; times Ray Serve's {said(ours.per_s / peer.per_s)}, by CPU time "
               f"{said(peer.cpu_s / ours.cpu_s)}; Ray Serve: {_us(np.median(peer.cpu_s))} of CPU a request")
        theirs = float(np.median(peer.per_s))
        yield row(f"gateway throughput against Ray Serve, {peer.name}", float(np.median(ours.per_s)), "requests/s", how,
                  target=TIMES * theirs, peer=theirs)


def _tail(tool: Tool, ours: Side, peer: Side, rounds: int) -> Row:
    """p99 at a rate that both carry."""
    rate = SHARE_OF_PEER * min(np.median(ours.per_s), np.median(peer.per_s))
    p99: dict[str, list[float]] = {ours.name: [], peer.name: []}
    for seed in range(rounds):
        for side in (ours, peer):
            played = tool.play(open_loop, side.target, poisson(rate, STEADY_S, seed))
            p99[side.name].append(float(np.percentile(played.latency_s, 99)))
    mine, theirs = np.array(p99[ours.name]), np.array(p99[peer.name])
    how = (f"open loop, Poisson, {rate:.0f} requests/s; our p99 over theirs {said(mine / theirs)}, median of {rounds} rounds; "
           f"ours {said(mine, 'ms', 1e3)}, Ray Serve's {said(theirs, 'ms', 1e3)}")
    return row(f"p99 over that of Ray Serve, {peer.name}", float(np.median(mine / theirs)), "ratio", how, target=P99_RATIO)


def _added(tool: Tool, ours: Side, base: Side, rounds: int, load: str, rate: float,
           targets: tuple[float | None, float | None]) -> Iterator[Row]:
    """Latency over that of calling the model in process, at a rate of requests/s: the same client asks in turns a server that
    calls the model itself, so that what client and HTTP take is in both.
    """
    sides: dict[str, list[Played]] = {ours.name: [], base.name: []}
    for seed in range(rounds):
        for side in (ours, base):
            sides[side.name].append(tool.play(open_loop, side.target, poisson(rate, STEADY_S, seed)))
    alone_s = _alone()
    for percent, target in zip((50, 99), targets):
        mine, theirs = (np.array([np.percentile(one.latency_s, percent) for one in played]) for played in sides.values())
        late_s = max(one.late_s for played in sides.values() for one in played)
        how = (f"open loop, Poisson, {rate:.0f} requests/s, {rounds} pairs of rounds; "
               f"{said(mine - theirs, 'ms', 1e3)}; through the gateway {said(mine, 'ms', 1e3)}, from a server that calls the "
               f"model in its own process {said(theirs, 'ms', 1e3)}; tool late by {1e3 * late_s:.2g} ms (p99)")
        yield row(f"latency added by gateway and world, {load}, p{percent}", float(np.median(mine - theirs)), "s", how,
                  target=target)
        call_s = float(np.percentile(alone_s, percent))
        how = f"the same rounds; the call alone takes {1e6 * call_s:.2g} µs: client, HTTP and the machine's load are in this"
        yield row(f"latency over that of the bare call, {load}, p{percent}", float(np.median(mine)) - call_s, "s", how)


def _alone(count: int = 2000) -> np.ndarray:
    """Seconds of calling the model in this process."""
    model, x, taken = models.noop().eval(), torch.zeros(1, models.VALUES), []
    with torch.inference_mode():
        for _ in range(count):
            began_s = time.perf_counter()
            model(x)
            taken.append(time.perf_counter() - began_s)
    return np.array(taken)


@contextlib.contextmanager
def _in_process() -> Iterator[Side]:
    server = Server("benchmarks.measure_live.in_process")
    try:
        side = Side("in process", Target(int(server.waits_for(r"in process: port (\d+)")[1])), server, [])
        _warm_up(side)
        yield side
    finally:
        server.end()


@contextlib.contextmanager
def _ours() -> Iterator[Side]:
    candidates = [{"variants": ["noop"], "cores": [1], "batch": BATCH, "max_count": 1}]
    with cluster(scenario("noop", LATENCY_S, candidates, [1]), NOOP) as made:
        side = Side("Tidal", Target(made.port), made.server, [])
        _warm_up(side)
        yield side


@contextlib.contextmanager
def _peer(name: str) -> Iterator[Side]:
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # short: Unix sockets go there
    server = Server("benchmarks.peers.with_ray_serve", folder, environment=environment(name, folder))
    try:
        side = Side(name, Target(int(server.waits_for(r"ray serve: port (\d+)", 180.0)[1])), server, [])
        _warm_up(side)
        yield side
    finally:
        server.end()
        shutil.rmtree(folder, ignore_errors=True)


def _warm_up(side: Side) -> None:
    """Until it answers, and then a little."""
    until_s = time.monotonic() + 60.0
    while time.monotonic() < until_s:
        with contextlib.suppress(OSError):
            if closed_loop(side.target, 1, 0.2).answered:
                closed_loop(side.target, CONNECTIONS, 1.0)
                return
        time.sleep(0.1)
    raise RuntimeError(f"{side.name} does not answer:\n{''.join(side.server.lines[-20:])}")


def _us(seconds: float) -> str:
    return f"{1e6 * seconds:.0f} µs"

"""Capacity of a running service: the largest open-loop Poisson load at which the P99 latency stays within the SLO.

The recipe is that of `envs.capacity`, published with InfAdapter: a binary search over the load between 0.3 and 1.0 times the
saturation throughput (1.2 times above 100 req/s); each probe lasts 16 s, and its P99 is the largest of its 2-s windows. A load
under which one request is not answered with 200 is too high.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
import numpy as np

from envs.capacity import HALVINGS, HIGHEST_RATIO, HIGHEST_RATIO_OVER_100, LOWEST_RATIO, PERCENTILE, PROBE_S, WINDOW_S
from runtime.load_generator import LATE_S, LATE_SHARE, Played, opened, send

ALONE = 20  # requests one after another, for the latency under no load
SATURATE_S = 4.0
CLOSE = 1.02  # between two loads: nearer the noise of a probe is larger
TRIES = 3  # of a probe that was sent late
LATE_SLOS = 0.05  # a request sent so many SLOs late was not sent when it was due
REST_S = 0.5  # between two probes, for queues to run empty


@dataclass(frozen=True)
class Probe:
    """One load: its rate, the P99 of its worst window (infinite: some were not answered), and whether we kept up with it."""

    rps: float
    p99_s: float
    kept_up: bool


@dataclass(frozen=True)
class Capacity:
    """What was measured.

    Attributes:
        rps: the capacity at the SLO: the middle of what is left of the search, which ends where we cannot keep up.
        limited: by the server; else by this machine, before any load was too high: the server carries at least that.
        alone_s: median latency of a request alone.
        saturation_rps: answers per second where more wait at all times.
        probes: in order.
    """

    rps: float
    limited: bool
    alone_s: float
    saturation_rps: float
    probes: tuple[Probe, ...]


class NoCapacity(ValueError):
    """The service does not answer, or not within the SLO even under no load."""


async def measure(target: str, body: bytes | None, slo_s: float, *, clients: int = 8, probe_s: float = PROBE_S,
                  halvings: int = HALVINGS, seed: int = 0, tell: Callable[[str], None] = lambda _: None) -> Capacity:
    """Measures one replica that nobody else asks.

    Args:
        target: URL of its endpoint.
        body: JSON that is posted; None: GET.
        slo_s: limit of the P99 latency.
        clients: that ask at the same time, to find saturation; at least twice what the replica works on at once.
        probe_s: length of a probe.
        halvings: at most.
        seed: of the arrivals.
        tell: takes a line of progress.

    Raises:
        NoCapacity: see there.
    """
    rng = np.random.default_rng(seed)
    async with opened({}) as session:
        alone_s = await _alone_s(session, target, body)
        tell(f"alone {1e3 * alone_s:.1f} ms")
        if alone_s > slo_s:
            raise NoCapacity(f"{target}: a request alone takes {alone_s:.3g} s, more than the SLO of {slo_s:g} s")
        saturation_rps = await _saturation_rps(session, target, body, clients)
        tell(f"saturated {saturation_rps:.1f} req/s")
        low = LOWEST_RATIO * saturation_rps
        high = saturation_rps * (HIGHEST_RATIO_OVER_100 if saturation_rps > 100 else HIGHEST_RATIO)
        probes: list[Probe] = []
        for _ in range(halvings):
            if high < CLOSE * low:
                break
            load = 0.5 * (low + high)
            for _ in range(TRIES):
                probe = await _probe(session, target, body, load, probe_s, slo_s, rng)
                tell(f"{load:.1f} req/s: p99 {1e3 * probe.p99_s:.1f} ms" + ("" if probe.kept_up else ", sent late"))
                if probe.kept_up:
                    break
                await asyncio.sleep(REST_S)
            probes.append(probe)
            if not probe.kept_up:  # what was sent late says nothing about the server
                break
            low, high = (load, high) if probe.p99_s <= slo_s else (low, load)
            await asyncio.sleep(REST_S)
    if not any(probe.p99_s <= slo_s for probe in probes):
        raise NoCapacity(f"{target}: even {low:.3g} req/s have a P99 above the SLO of {slo_s:g} s; one measurement is noisy: "
                         "is somebody else asking it, or this machine?")  # fmt: skip
    limited = all(probe.kept_up for probe in probes) or any(probe.kept_up and probe.p99_s > slo_s for probe in probes)
    return Capacity(0.5 * (low + high) if limited else low, limited, alone_s, saturation_rps, tuple(probes))


async def _alone_s(session: aiohttp.ClientSession, target: str, body: bytes | None) -> float:
    taken = []
    for _ in range(ALONE + 1):
        played = await send(session, target, body, [0.0])
        if played.status[0] != 200:
            said = f"HTTP {played.status[0]}" if played.status[0] else "no answer"
            raise NoCapacity(f"{target}: {said} to a request alone; is it up, and is --body what it takes?")
        taken.append(float(played.done_s[0] - played.sent_s[0]))
    return float(np.median(taken[1:]))  # the first one opened the connection


async def _saturation_rps(session: aiohttp.ClientSession, target: str, body: bytes | None, clients: int) -> float:
    """Answers per second with so many clients that each ask again when they are answered."""
    answered = itertools.count()
    end_s = time.perf_counter() + SATURATE_S

    async def client() -> None:
        while time.perf_counter() < end_s:
            played = await send(session, target, body, [0.0])
            if played.status[0] == 200:
                next(answered)
            else:
                await asyncio.sleep(0.01)

    began_s = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    count = next(answered)
    if not count:
        raise NoCapacity(f"{target}: no answer to {clients} clients at the same time")
    return count / (time.perf_counter() - began_s)


async def _probe(session: aiohttp.ClientSession, target: str, body: bytes | None, rps: float, probe_s: float, slo_s: float,
                 rng: np.random.Generator) -> Probe:
    gaps = rng.exponential(1 / rps, int(2 * rps * probe_s) + 20)
    due = np.cumsum(gaps)
    played = await send(session, target, body, due[due < probe_s])
    late = played.sent_s - played.due_s > max(LATE_S, LATE_SLOS * slo_s)
    return Probe(rps, worst_p99_s(played), float(late.mean()) <= LATE_SHARE)


def worst_p99_s(played: Played, window_s: float = WINDOW_S) -> float:
    """The largest P99 latency of the windows of `window_s`; infinite where a request was not answered with 200."""
    if (played.status != 200).any():
        return math.inf
    latency_s, window = played.done_s - played.due_s, played.due_s // window_s
    return max((float(np.percentile(latency_s[window == w], PERCENTILE)) for w in np.unique(window)), default=math.inf)

"""The clients of a trial, as a process: `clients.py HOST PORT SEED SECONDS BEGIN_S FILE`, which gets all they asked and got.

Open loop, by arrivals that follow from the seed. Each try has a connection of its own, so that what comes on it is counted. A
request that was not answered is sent again under the same id until it is, or its client's patience is over.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from runtime.chaos.faults import BURST, drawn, on_ray
from runtime.chaos.history import Asked, Try
from runtime.chaos.problem import INPUT, RATE_RPS, SERVICE

BURST_RATIO = 10.0
TRY_S, PAUSE_S = 4.0, 0.2
PATIENCE_S, RAY_PATIENCE_S = 60.0, 180.0  # the latter: a worker of Ray imports all that it needs, for seconds
_HEAD = re.compile(rb"HTTP/1\.1 (\d{3}) ")


def arrivals(seed: int, seconds: float) -> Iterator[float]:
    """When requests are due, seconds from the beginning: Poisson, with the bursts of the seed's faults."""
    generator, at_s = np.random.default_rng((seed, 11)), 0.0
    bursts = [(fault.at_s, fault.at_s + fault.for_s) for fault in drawn(seed, seconds) if fault.name == BURST]
    while at_s < seconds:
        rate_rps = RATE_RPS * (BURST_RATIO if any(begin <= at_s < end for begin, end in bursts) else 1.0)
        at_s += generator.exponential(1 / rate_rps)
        yield at_s


def patience_s(seed: int) -> float:
    """For how long a trial's clients ask."""
    return RAY_PATIENCE_S if on_ray(seed) else PATIENCE_S


async def play(host: str, port: int, due_s: Iterator[float], begin_s: float, for_s: float) -> list[Asked]:
    """Sends a request at each of these times, again for so long as need be, and waits for all of them."""
    tasks = []
    for number, at_s in enumerate(due_s, 1):
        await asyncio.sleep(begin_s + at_s - time.time())
        tasks.append(asyncio.create_task(_ask(host, port, number, begin_s + at_s, for_s)))
    return list(await asyncio.gather(*tasks))


async def _ask(host: str, port: int, number: int, due_s: float, for_s: float) -> Asked:
    tries = [await _try(host, port, number)]
    while not tries[-1].right and tries[-1].status not in (200, 400) and time.time() < due_s + for_s:
        await asyncio.sleep(PAUSE_S)
        tries.append(await _try(host, port, number))
    return Asked(number, due_s, tuple(tries))


async def _try(host: str, port: int, number: int) -> Try:
    sent_s, said, problem = time.time(), bytearray(), ""
    try:
        async with asyncio.timeout(TRY_S):
            await _exchange(host, port, _request(number), said)
    except (OSError, TimeoutError) as error:
        problem = f"{type(error).__name__}: {error}"
    return judged(number, sent_s, time.time(), bytes(said), problem)


async def _exchange(host: str, port: int, request: bytes, said: bytearray) -> None:
    """Sends it, and reads all that comes until the other side hangs up."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request)
        while part := await reader.read(65536):
            said += part
    finally:
        writer.transport.abort()


def _request(number: int) -> bytes:
    tensor = {"name": INPUT, "datatype": "FP32", "shape": [1, 1], "data": [number]}
    body = json.dumps({"id": str(number), "inputs": [tensor]}).encode()
    return (b"POST /v2/models/%s/infer HTTP/1.1\r\nHost: chaos\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
            % (SERVICE.encode(), len(body), body))


def judged(number: int, sent_s: float, done_s: float, said: bytes, problem: str = "") -> Try:
    """What a try came to, by all the bytes that came back."""
    statuses = [int(status) for status in _HEAD.findall(said)]
    if len(statuses) != 1:
        return Try(sent_s, done_s, 0, len(statuses), told=problem or "hung up on without an answer")
    try:
        told: dict[str, Any] = json.loads(said.partition(b"\r\n\r\n")[2])
    except ValueError:  # torn
        return Try(sent_s, done_s, 0, told=problem or "half an answer")
    right = (statuses == [200] and told.get("id") == str(number)
             and told["outputs"][0]["data"] == [float(number)])
    return Try(sent_s, done_s, statuses[0], right=right, told="" if right else str(told.get("error", told)))


def to_json(asked: list[Asked]) -> list[Any]:
    """As they are written to the file."""
    return [[one.number, one.due_s, [list(vars(t).values()) for t in one.tries]] for one in asked]


def from_json(rows: list[Any]) -> list[Asked]:
    """Read back."""
    return [Asked(number, due_s, tuple(Try(*row) for row in tries)) for number, due_s, tries in rows]


def main(host: str, port: str, seed: str, seconds: str, begin_s: str, file: str) -> None:
    """See above."""
    due_s = arrivals(int(seed), float(seconds))
    found = asyncio.run(play(host, int(port), due_s, float(begin_s), patience_s(int(seed))))
    Path(file).write_text(json.dumps(to_json(found)), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])

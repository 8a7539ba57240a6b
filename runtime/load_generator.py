"""An open-loop client: every request is sent when it is due, whatever has become of those before it."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import numpy as np
import orjson

LATE_SHARE = 0.05  # of the requests that may be sent late, for the result to say anything about the server
LATE_S = 0.02
UNANSWERED = 0
TIMEOUT_S = 30.0
SPIN_S = 0.001
PATIENCE_S, LOOK_S = 60.0, 0.25  # with a service whose first replica is loading


@dataclass
class Played:
    """What became of the requests that were due.

    Attributes:
        due_s, sent_s, done_s: by request; seconds since the start; NaN: not sent, not answered.
        status: of HTTP; 0 where there was no answer.
        variant: that answered, "" where there was no answer.
        began_s: the start, Unix time.
        cpu_s: what this process computed meanwhile.
    """

    due_s: np.ndarray
    sent_s: np.ndarray
    done_s: np.ndarray
    status: np.ndarray
    variant: list[str]
    began_s: float = math.nan
    cpu_s: float = 0.0

    @property
    def late_share(self) -> float:
        """Share of the requests that were sent more than `LATE_S` after they were due: our fault, not the server's."""
        return float(np.mean(self.sent_s - self.due_s > LATE_S)) if len(self.due_s) else 0.0

    @property
    def served_by(self) -> Counter[str]:
        """Answers by variant."""
        return Counter(variant for variant, status in zip(self.variant, self.status.tolist()) if status == 200)

    @property
    def latency_s(self) -> np.ndarray:
        """From when it was due to its answer, of the requests that were answered."""
        return (self.done_s - self.due_s)[self.status == 200]


async def request_for(session: aiohttp.ClientSession, url: str, service: str) -> dict[str, Any]:
    """A request of ones, as the service's metadata asks for it.

    Raises:
        ValueError: no such service, or no replica of it is ready in `PATIENCE_S`.
    """
    end_s = time.perf_counter() + PATIENCE_S
    while not (metadata := await _metadata(session, url, service))["inputs"]:
        if time.perf_counter() > end_s:
            raise ValueError(f"{url}: no replica of '{service}' is ready after {PATIENCE_S:g} s; `tidal status` tells more")
        await asyncio.sleep(LOOK_S)
    inputs = []
    for spec in metadata["inputs"]:
        shape = [1, *(8 if size == -1 else size for size in spec["shape"][1:])]
        inputs.append({"name": spec["name"], "datatype": spec["datatype"], "shape": shape, "data": [1] * int(np.prod(shape))})
    return {"inputs": inputs}


async def _metadata(session: aiohttp.ClientSession, url: str, service: str) -> dict[str, Any]:
    """What the service says of itself; it knows no inputs until a replica was ready."""
    async with session.get(f"{url}/v2/models/{service}") as answer:
        metadata = await answer.json()
        if answer.status != 200:
            raise ValueError(f"{url}: service '{service}' does not say what it takes: {metadata.get('error', answer.status)}")
        return metadata


async def play(
    url: str, service: str, due_s: Sequence[float] | np.ndarray, token: str = "", begin_s: float | None = None
) -> Played:
    """Send a request to a gateway at each of the times, and wait for all answers. See `send`.

    Raises:
        ValueError: the service cannot be asked.
        aiohttp.ClientError: nobody answers there.
    """
    async with opened(bearer(token)) as session:
        body = orjson.dumps(await request_for(session, url, service))
        return await send(session, f"{url}/v2/models/{service}/infer", body, due_s, begin_s)


async def post(target: str, body: bytes, due_s: Sequence[float] | np.ndarray, token: str = "") -> Played:
    """Post a body to any HTTP endpoint at each of the times, and wait for all answers. See `send`."""
    async with opened(bearer(token)) as session:
        return await send(session, target, body, due_s)


def bearer(token: str) -> dict[str, str]:
    """The header that shows a token; none where there is no token."""
    return {"Authorization": f"Bearer {token}"} if token else {}


def opened(headers: Mapping[str, str]) -> aiohttp.ClientSession:
    """Connections, as many as are needed, for requests with a JSON body."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=False), timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
        headers={"Content-Type": "application/json", **headers})  # fmt: skip


async def send(session: aiohttp.ClientSession, target: str, body: bytes | None, due_s: Sequence[float] | np.ndarray,
               begin_s: float | None = None) -> Played:
    """Send a request to any HTTP server at each of the times, and wait for all answers.

    Args:
        session: see `opened`.
        target: its URL.
        body: that is posted; None: GET.
        due_s: seconds from now or, in Unix time, from `begin_s`; ascending.
        begin_s: Unix time.
    """
    due = np.asarray(due_s, float)
    sent_s, done_s, status = np.full(len(due), np.nan), np.full(len(due), np.nan), np.full(len(due), UNANSWERED)
    played = Played(due, sent_s, done_s, status, [""] * len(due))
    method = "GET" if body is None else "POST"
    start_s, cpu_s = time.perf_counter(), time.process_time()
    if begin_s is not None:
        start_s += begin_s - time.time()
    played.began_s = time.time() if begin_s is None else begin_s

    async def ask(number: int) -> None:
        played.sent_s[number] = time.perf_counter() - start_s
        try:
            async with session.request(method, target, data=body) as answer:
                read = await answer.read()
                played.status[number] = answer.status
                if answer.status == 200:
                    played.variant[number] = _variant(read)
        except (aiohttp.ClientError, TimeoutError):
            pass
        played.done_s[number] = time.perf_counter() - start_s

    under_way: set[asyncio.Task[None]] = set()
    for number, at_s in enumerate(due):
        while (left_s := at_s - (time.perf_counter() - start_s)) > SPIN_S:
            await asyncio.sleep(left_s)
        task = asyncio.create_task(ask(number))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        if number % 16 == 0:
            await asyncio.sleep(0)
    while under_way:
        await asyncio.wait(under_way)
    played.cpu_s = time.process_time() - cpu_s
    return played


def _variant(answer: bytes) -> str:
    """That an answer names, as the Open Inference Protocol has it; "" for others."""
    try:
        said = orjson.loads(answer)
    except ValueError:
        return ""
    return str(said.get("model_version", "")) if isinstance(said, dict) else ""

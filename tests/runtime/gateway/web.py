"""A gateway over emulated replicas at a free port, in real time, and a small client on raw sockets."""

import asyncio
import json
from contextlib import asynccontextmanager
from types import SimpleNamespace

from emulation import Live, made

from runtime.clock import SteadyClock
from runtime.gateway.access import Access
from runtime.gateway.limits import Limits
from runtime.gateway.page import Page
from runtime.gateway.server import Gateway
from runtime.gateway.traces import Traces

QUICK = made({"v": 0.005}, [{"variants": ["v"], "cores": [1]}], service_cv=0.0)
PAYLOAD = {"inputs": [{"name": "payload", "datatype": "FP32", "shape": [1, 1], "data": [2.5]}]}


class RealClock:
    """Unix time."""

    def __init__(self):
        self._steady = SteadyClock()
        self.now_s = self._steady.now_s

    async def sleep_until(self, t_s):
        while (left_s := t_s - self.now_s()) > 0:
            await asyncio.sleep(left_s)


class HandClock:
    """Time that passes only when it is told to, so that what is served stays so for as long as a test needs."""

    def __init__(self):
        self._t_s, self._moved = 0.0, asyncio.Event()

    def now_s(self):
        return self._t_s

    async def sleep_until(self, t_s):
        while self._t_s < t_s:
            await self._moved.wait()

    def go(self, seconds):
        self._t_s += seconds
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


class Lives:
    """What a cluster would know of its replicas."""

    def __init__(self, live):
        self._live, self.cold_start_s = live, {}

    def count(self, state):
        ready = {what: len(kind.ready) for what, kind in self._live.dispatcher.placement.kinds.items()}
        return ready if state == "ready" else {}

    def pending_since_s(self):
        return {}

    def held_ns(self, t_s):
        return {}


@asynccontextmanager
async def gateway(scenario=QUICK, tokens=None, scrape_token=None, clock=None, traces=Traces(), **limits):  # noqa: B008
    live = Live(scenario, clock or RealClock())
    access = Access(tokens, scenario.tenants, scrape_token)
    page = Page(live.dispatcher, Lives(live), lambda: 3)
    server = Gateway(live.dispatcher, access, page.text, Limits(**limits), traces)
    await live.begin()
    await server.start()
    try:
        port = int(server.url.rsplit(":", 1)[1])
        yield SimpleNamespace(live=live, dispatcher=live.dispatcher, server=server, port=port, page=page)
    finally:
        await server.close(patience_s=1.0)
        await live.dispatcher.close()


async def until(condition):
    while not condition():
        await asyncio.sleep(0.005)


async def raw(port, data, *, more=None):
    """Sends bytes, and gives all that comes back until the server hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in [data, *(more or ())]:
            writer.write(part)
            await writer.drain()
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def message(method, path, body=b"", headers=None):
    """The bytes of a request after which the connection is closed."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"Host": "here", "Connection": "close", "Content-Length": str(len(body)), **(headers or {})}
    return "\r\n".join([f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in lines.items()), "", ""]).encode() + body


def answer_of(data):
    """Status, headers and body of an answer."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    is_json = headers.get("Content-Type") == "application/json"
    return SimpleNamespace(status=int(first.split()[1]), headers=headers, body=json.loads(body) if is_json and body else body)


async def call(port, method, path, body=b"", headers=None):
    return answer_of(await raw(port, message(method, path, body, headers)))


async def infer(port, name="s", body=PAYLOAD, **headers):
    return await call(port, "POST", f"/v2/models/{name}/infer", body, {k.replace("_", "-"): v for k, v in headers.items()})

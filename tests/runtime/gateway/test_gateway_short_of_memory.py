"""No memory at any step of the gateway's work: its client is told, the next one is served, and nothing is left."""

import asyncio
import logging
from itertools import count

import pytest
from emulation import made
from shortage import EACH, OfMemory
from web import PAYLOAD, QUICK, gateway, message, raw, until

import runtime.gateway
from runtime.gateway.limits import Limits
from runtime.serving.rounds import rounds

BATCHES = made({"v": {1: 0.004, 2: 0.006}}, [{"variants": ["v"], "cores": [1], "batch": 2, "max_wait_s": 0.003}],
               service_cv=0.0)
TOLD = ([b"200"], [b"503"], [])  # answered, sent away, or hung up on: a client knows what to do


async def asked(port):
    """The statuses of all that is answered to one request."""
    said = await raw(port, message("POST", "/v2/models/s/infer", PAYLOAD))
    return [answer[:3] for answer in said.split(b"HTTP/1.1 ")[1:]]


def left(g):
    """Requests, connections, refusals, bytes of bodies, and requests of replicas."""
    served = g.server._served
    return (g.dispatcher.outstanding, len(served.connections), served.crowd.turned_away,
            Limits().bodies_bytes - served.crowd.left_bytes, sum(host.outstanding for host in g.dispatcher.hosts.values()))


def replace_hanging(g):
    """As the cluster does (`runtime.serving.lives`), only sooner."""
    for host in list(g.dispatcher.hosts.values()):
        if g.dispatcher.oldest(host.replica):
            g.dispatcher.lost(host.replica)
            g.dispatcher.add(host.replica)


@pytest.mark.parametrize("scenario", [QUICK, BATCHES], ids=["alone", "in batches"])
def test_no_memory_at_any_call_of_the_gateway(scenario, caplog, monkeypatch):
    caplog.set_level(logging.CRITICAL)
    monkeypatch.setattr("runtime.gateway.connection.LATE_S", 0.05)

    async def play():
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # it would show all of them
        async with gateway(scenario) as g:
            for n in count(1, EACH):
                assert await asked(g.port) == [b"200"]
                with OfMemory(runtime.gateway, n) as shortage:
                    asking = asyncio.create_task(asked(g.port))
                    mending = asyncio.create_task(rounds(0.01, lambda: shortage.where and g.server.mend()))
                    await asyncio.wait([asking], timeout=0.5)
                if not asking.done():
                    assert "Serving._answered " in shortage.where  # a replica brings answers once
                    replace_hanging(g)
                told = await asyncio.wait_for(asking, 5)
                assert told in TOLD, shortage.where
                assert await asyncio.wait_for(asked(g.port), 5) == [b"200"], shortage.where
                await asyncio.wait_for(until(lambda: left(g) == (0, 0, 0, 0, 0)), 5)
                mending.cancel()
                if not shortage.where:
                    return n

    calls = asyncio.run(play())
    print(f"no memory at each {EACH}th of {calls} calls of the gateway")
    assert calls > 200

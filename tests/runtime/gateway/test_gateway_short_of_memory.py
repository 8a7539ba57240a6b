"""No memory at any step of the gateway's work: its client is told, the next one is served, and nothing is left."""

import asyncio
import logging
from functools import partial
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


def left(dispatcher, crowd, connections):
    """Requests, refusals, bytes of bodies, requests of replicas, and connections."""
    return (dispatcher.outstanding, crowd.turned_away, Limits().bodies_bytes - crowd.left_bytes,
            sum(host.outstanding for host in dispatcher.hosts.values()), len(connections))


def replace_hanging(dispatcher):
    """As the cluster does (`runtime.serving.lives`), only sooner."""
    for host in list(dispatcher.hosts.values()):
        if dispatcher.oldest(host.replica):
            dispatcher.lost(host.replica)
            dispatcher.add(host.replica)


async def each_call_once(dispatcher, crowd, connections, ask, mend):
    """How many calls there are."""
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # it would show all of them
    for n in count(1, EACH):
        assert await ask() == [b"200"]
        with OfMemory(runtime.gateway, n) as shortage:
            asking = asyncio.create_task(ask())
            mending = asyncio.create_task(rounds(0.01, lambda: shortage.where and mend()))
            await asyncio.wait([asking], timeout=0.5)
        if "Serving._answered " in shortage.where:  # a replica brings answers once
            replace_hanging(dispatcher)
        try:
            async with asyncio.timeout(20):
                assert await asking in TOLD
                assert await ask() == [b"200"]
                await until(lambda: left(dispatcher, crowd, connections) == (0, 0, 0, 0, 0))
        except TimeoutError:
            pytest.fail(f"{shortage.where}: {left(dispatcher, crowd, connections)} is left")
        mending.cancel()
        if not shortage.where:
            print(f"no memory at each {EACH}th of {n} calls of the gateway")
            assert n > 150
            return


@pytest.mark.parametrize("scenario", [QUICK, BATCHES], ids=["alone", "in batches"])
def test_no_memory_at_any_call_of_the_gateway(scenario, caplog, monkeypatch):
    caplog.set_level(logging.CRITICAL)
    monkeypatch.setattr("runtime.gateway.connection.LATE_S", 0.05)

    async def play():
        async with gateway(scenario) as g:
            connections = g.server._served.connections
            await each_call_once(g.dispatcher, g.server.crowd, connections, partial(asked, g.port), g.server.mend)

    asyncio.run(play())


@pytest.mark.filterwarnings("ignore")  # of what was never begun
def test_no_memory_at_any_call_of_the_gateway_over_grpc(caplog):
    grpc = pytest.importorskip("grpc", reason="the extra grpc is not installed")
    from grpc_web import call, front, payload

    caplog.set_level(logging.CRITICAL)

    async def play():
        async with front() as f:
            async def ask():
                try:
                    await call(f.channel, "ModelInfer", payload())
                    return [b"200"]
                except grpc.aio.AioRpcError as error:
                    known = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN  # by us, or by the library when it had none
                    return [b"503" if error.code() in known else str(error).encode()]

            await each_call_once(f.dispatcher, f.server._crowd, (), ask, f.dispatcher.mend)

    asyncio.run(play())

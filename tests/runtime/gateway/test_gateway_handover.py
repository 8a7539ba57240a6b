"""One gateway hands its sockets over to another: no client is refused, hung up on, or answered twice."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from web import PAYLOAD, QUICK, answer_of, gateway, until

from runtime.gateway import server as module
from runtime.gateway.access import Access
from runtime.gateway.limits import Limits
from runtime.gateway.server import Gateway

LIMIT_S = 60.0
PATIENT = {"header_s": LIMIT_S, "body_s": LIMIT_S}


def message(number):
    """A request after which the connection stays."""
    body = json.dumps({"id": str(number), "inputs": [{**PAYLOAD["inputs"][0], "data": [number]}]}).encode()
    return b"POST /v2/models/s/infer HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def answered(reader):
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), LIMIT_S)
    length = int(head.lower().partition(b"content-length: ")[2].split()[0])
    return answer_of(head + await reader.readexactly(length))


async def asks(port, number, connection=None):
    reader, writer = connection or await asyncio.open_connection("127.0.0.1", port)
    writer.write(message(number))
    answer = await answered(reader)
    assert (answer.status, answer.body.get("id"), answer.body.get("outputs", [{}])[0].get("data")) == (
        200, str(number), [float(number)]), answer
    if connection is None:
        writer.close()


@asynccontextmanager
async def taken_over(old):
    """The next gateway, with what the old one has handed over."""
    async with gateway() as new:
        listening, clients = await old.server.hand_over()
        server = Gateway(new.dispatcher, Access(None, QUICK.tenants, None), new.page.text, Limits(**PATIENT))
        await server.start(listening=listening, clients=clients)
        try:
            yield server, new.dispatcher
        finally:
            await server.close()


def counted(dispatcher):
    return int(dispatcher.counters.app_count[0, 0])


def test_under_load_every_request_is_answered_once_and_connections_stay():
    async def play():
        asked, over = 0, False

        async def client(stays):
            nonlocal asked
            connection = await asyncio.open_connection("127.0.0.1", old.port) if stays else None
            while not over:
                asked += 1
                await asks(old.port, asked, connection)
            if connection:
                connection[1].close()

        async with gateway(**PATIENT) as old:
            idle = await asyncio.open_connection("127.0.0.1", old.port)
            async with asyncio.TaskGroup() as clients:
                for i in range(8):
                    clients.create_task(client(stays=i % 2 == 0))
                await until(lambda: asked > 100)
                async with taken_over(old) as (server, dispatcher):
                    assert server.url == f"http://127.0.0.1:{old.port}"
                    before = counted(old.dispatcher)
                    await until(lambda: counted(dispatcher) > 100)
                    over = True
                    await until(lambda: counted(old.dispatcher) + counted(dispatcher) == asked)
                    asked += 1
                    await asks(old.port, asked, idle)
                    assert counted(old.dispatcher) == before and counted(dispatcher) == asked - before
                    idle[1].close()

    asyncio.run(asyncio.wait_for(play(), LIMIT_S))


@pytest.mark.parametrize("comes", [True, False])
def test_a_request_that_has_come_in_part_is_waited_for_and_not_for_long(monkeypatch, comes):
    monkeypatch.setattr(module, "PART_S", LIMIT_S if comes else 0.1)

    async def play():
        async with gateway(**PATIENT) as old:
            reader, writer = await asyncio.open_connection("127.0.0.1", old.port)
            writer.write(message(7)[:-3])
            await until(lambda: any(c._reader.begun for c in old.server._served.connections))
            handing = asyncio.create_task(old.server.hand_over())
            if comes:
                await until(lambda: old.server._served.handed is not None)
                writer.write(message(7)[-3:])
            answer = await answered(reader)
            listening, clients = await handing
            assert (answer.status, len(clients)) == ((200, 1) if comes else (503, 0))
            assert comes or "takes over" in answer.body["error"]
            for one in (*listening, *clients):
                one.close()
            writer.close()

    asyncio.run(asyncio.wait_for(play(), LIMIT_S))

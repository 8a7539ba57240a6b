"""The open-loop client against a server that says what the test wants."""

import asyncio

import numpy as np
import pytest
from aiohttp import web

from runtime import load_generator

INPUTS = [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]


def played(metadata, due_s=()):
    """What `play` gives against a service whose metadata are, one after the other, these (the last one for ever)."""
    asked = []

    async def describe(request):
        asked.append(request)
        status, said = metadata[min(len(asked), len(metadata)) - 1]
        return web.json_response(said, status=status)

    async def infer(request):
        body = await request.json()
        return web.json_response({"model_version": "m", "outputs": [], "id": str(body["inputs"][0]["shape"])})

    async def main():
        application = web.Application()
        application.add_routes([web.get("/v2/models/s", describe), web.post("/v2/models/s/infer", infer)])
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            return await load_generator.play(f"http://127.0.0.1:{runner.addresses[0][1]}", "s", due_s)
        finally:
            await runner.cleanup()

    return asyncio.run(main()), len(asked)


def test_it_waits_for_the_first_replica(monkeypatch):
    monkeypatch.setattr(load_generator, "LOOK_S", 0.01)
    found, asked = played([(200, {"inputs": []})] * 3 + [(200, {"inputs": INPUTS})], [0.0, 0.001])
    assert asked == 4
    assert found.status.tolist() == [200, 200]
    assert found.served_by == {"m": 2}
    assert np.all(found.done_s > found.sent_s)


def test_a_service_that_never_gets_ready_is_told(monkeypatch):
    monkeypatch.setattr(load_generator, "LOOK_S", 0.01)
    monkeypatch.setattr(load_generator, "PATIENCE_S", 0.05)
    with pytest.raises(ValueError, match=r"no replica of 's' is ready after 0\.05 s"):
        played([(200, {"inputs": []})])


def test_a_service_that_is_not_there_is_told_at_once():
    with pytest.raises(ValueError, match="no model 's'"):
        played([(404, {"error": "no model 's'"})])

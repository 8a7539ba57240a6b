"""The base of added latency: the same protocol, parser and answers, with the model called by the process that clients ask."""

from __future__ import annotations

import asyncio
import sys

import torch
import uvloop

from benchmarks.measure_live import models
from runtime.gateway.connection import Connection, HttpAnswer, Reply, Served, Withdraw
from runtime.gateway.json_tensors import read_request, write_answer
from runtime.gateway.limits import Limits
from runtime.gateway.reader import HttpRequest
from runtime.models.model import FREE, TensorSpec

SPECS = (TensorSpec("x", "FP32", (FREE, models.VALUES)),)
NAME = "noop"


async def serve() -> None:
    """Says where it listens, and answers until it is ended."""
    loop, model = asyncio.get_running_loop(), models.noop().eval()

    def handle(http: HttpRequest, reply: Reply) -> Withdraw:
        said = read_request(http.body, None, SPECS, SPECS)
        answer = model(torch.from_numpy(said.tensors[0])).numpy()
        head = {"model_name": NAME, "model_version": NAME, "id": said.id, "parameters": {"variant": NAME}}
        loop.call_soon(reply, HttpAnswer(200, write_answer(head, SPECS, [answer], said)[0]))
        return lambda: None

    served = Served(handle, lambda status, text: HttpAnswer(status), Limits())
    server = await loop.create_server(lambda: Connection(served), "127.0.0.1", 0)
    print(f"in process: port {server.sockets[0].getsockname()[1]}", flush=True)
    with torch.inference_mode():
        await server.serve_forever()


if __name__ == "__main__":
    sys.exit(uvloop.run(serve()))

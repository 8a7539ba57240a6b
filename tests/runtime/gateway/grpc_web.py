"""A gateway over gRPC at a free port, over emulated replicas, in real time, and calls of it."""

from contextlib import asynccontextmanager
from types import SimpleNamespace

import grpc
import numpy as np
from emulation import Live
from web import QUICK, RealClock

from runtime.gateway import grpc_predict_v2_pb2 as pb
from runtime.gateway.access import Access
from runtime.gateway.grpc_front import GrpcFront
from runtime.gateway.limits import Limits

SERVICE = "/inference.GRPCInferenceService/"


@asynccontextmanager
async def front(scenario=QUICK, tokens=None, clock=None, **limits):
    live = Live(scenario, clock or RealClock())
    server = GrpcFront(live.dispatcher, Access(tokens, scenario.tenants), Limits(**limits))
    await live.begin()
    await server.start()
    try:
        async with grpc.aio.insecure_channel(server.address) as channel:
            yield SimpleNamespace(live=live, dispatcher=live.dispatcher, server=server, channel=channel)
    finally:
        await server.close(patience_s=1.0)
        await live.dispatcher.close()


def call(channel, method, request, **more):
    """A call under way; await it for the answer. By the generated messages, their bytes or none."""
    response = getattr(pb, f"{method}Response")
    ask = channel.unary_unary(SERVICE + method, lambda message: message.SerializeToString(), response.FromString)
    return ask(request, **more)


def payload(value=2.5, model="s", **more):
    """A request in raw form, for an emulated model."""
    tensor = pb.ModelInferRequest.InferInputTensor(name="payload", datatype="FP32", shape=[1, 1])
    return pb.ModelInferRequest(model_name=model, inputs=[tensor], raw_input_contents=[np.float32(value).tobytes()], **more)

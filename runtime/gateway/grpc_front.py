"""The gateway over gRPC: the Open Inference Protocol v2 (`grpc_predict_v2.proto`). Needs the extra `grpc`."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from runtime.certificate import Certificate
from runtime.gateway import grpc_predict_v2_pb2 as pb
from runtime.gateway.access import Access
from runtime.gateway.calls import NAME, VERSION, Calls, Unanswered
from runtime.gateway.crowd import NO_MEMORY, TOO_MUCH, Crowd
from runtime.gateway.dispatcher import Dispatcher
from runtime.gateway.grpc_tensors import read_request, write_answer
from runtime.gateway.limits import SHEDDING, Limits
from runtime.gateway.tensors import ProtocolError
from runtime.gateway.traces import Traces
from runtime.models.model import TensorSpec

SERVICE = "inference.GRPCInferenceService"
CODES = {
    HTTPStatus.BAD_REQUEST: grpc.StatusCode.INVALID_ARGUMENT, HTTPStatus.UNAUTHORIZED: grpc.StatusCode.UNAUTHENTICATED,
    HTTPStatus.NOT_FOUND: grpc.StatusCode.NOT_FOUND, HTTPStatus.REQUEST_TIMEOUT: grpc.StatusCode.DEADLINE_EXCEEDED,
    HTTPStatus.TOO_MANY_REQUESTS: grpc.StatusCode.RESOURCE_EXHAUSTED,
    HTTPStatus.SERVICE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
}  # fmt: skip
"""All others are INTERNAL: also requests that were lost with their replicas, which must not be sent again and again."""
TEXT_CHARACTERS = 500  # an error travels in headers, which clients bound
PROMPT_S = 0.1  # how much of a message is there cannot be seen; one that takes longer to come may be as large as any
IDENTITY_ONLY = 1  # of compression: what a few bytes unpack to has no limit

Context = Any  # grpc.aio.ServicerContext, which has no types
Asked = TypeVar("Asked", bound=Message)

log = logging.getLogger(__name__)


class GrpcFront:
    """A gRPC server on the running event loop.

    Args:
        dispatcher: serves the requests.
        access: who may call what.
        limits: as over HTTP; `connections` bounds connections, and calls at once.
        traces: that requests are part of.
        crowd: its clients and those over HTTP, where they share the limits; None: its own.

    Attributes:
        address: where it listens, `host:port`, once started.
    """

    def __init__(self, dispatcher: Dispatcher, access: Access, limits: Limits = Limits(),  # noqa: B008  (immutable)
                 traces: Traces = Traces(), crowd: Crowd | None = None) -> None:  # noqa: B008
        self._calls, self._limits, self._crowd = Calls(dispatcher, access, traces), limits, crowd or Crowd(limits)
        self.address = ""

    async def start(self, host: str = "127.0.0.1", port: int = 0, certificate: Certificate | None = None) -> None:
        """Listens; port 0 is any free one. `certificate`: over TLS.

        Raises:
            OSError: the address cannot be had.
        """
        self._server = grpc.aio.server(maximum_concurrent_rpcs=self._limits.connections, options=_options(self._limits))
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, {
            "ServerLive": self._method(pb.ServerLiveRequest, self._server_live),
            "ServerReady": self._method(pb.ServerReadyRequest, self._server_ready),
            "ServerMetadata": self._method(pb.ServerMetadataRequest, self._server_metadata),
            "ModelReady": self._method(pb.ModelReadyRequest, self._model_ready),
            "ModelMetadata": self._method(pb.ModelMetadataRequest, self._model_metadata),
            "ModelInfer": self._method(pb.ModelInferRequest, self._model_infer),
        })])
        place = f"[{host}]" if ":" in host else host
        try:
            if certificate:
                port = self._server.add_secure_port(f"{place}:{port}", _credentials(certificate))
            else:
                port = self._server.add_insecure_port(f"{place}:{port}")
        except RuntimeError as error:
            raise OSError(f"{place}:{port} cannot be had for gRPC: {error}") from error
        await self._server.start()
        self.address = f"{place}:{port}"

    async def close(self, patience_s: float = 30.0) -> None:
        """Takes no more calls, answers what is under way for so long, and hangs up."""
        await self._server.stop(patience_s)

    def _method(self, takes: type[Asked], answer: Callable[[Asked, Context], Awaitable[Message]]) -> grpc.RpcMethodHandler:
        """One call in, one out. It is taken as a stream of one, so that whoever is slow to send it can be told so."""
        async def handle(_: object, context: Context) -> Message:
            try:
                body = _Body(self._crowd)
                try:
                    return await answer(await self._asked(takes, context, body), context)
                finally:  # no call, which might fail
                    self._crowd.left_bytes += body.held_bytes
            except Unanswered as error:
                failure = error.with_traceback(None)  # which would keep the body
            except ProtocolError as error:
                failure = Unanswered(HTTPStatus.BAD_REQUEST, str(error))
            except MemoryError:
                failure = Unanswered(HTTPStatus.SERVICE_UNAVAILABLE, NO_MEMORY, 1)
            except Exception:
                log.exception("%s", takes.DESCRIPTOR.name)
                failure = Unanswered(HTTPStatus.INTERNAL_SERVER_ERROR, "an error in the gateway; its log says more")
            return await self._fail(failure, context)

        return grpc.stream_unary_rpc_method_handler(handle, response_serializer=lambda message: message.SerializeToString())

    async def _asked(self, takes: type[Asked], context: Context, body: _Body) -> Asked:
        reading = asyncio.ensure_future(context.read())
        try:
            async with asyncio.timeout(self._limits.body_s):
                if not (await asyncio.wait([reading], timeout=PROMPT_S))[0]:
                    body.holds(self._limits.body_bytes)
                data = await reading
        except TimeoutError:
            raise Unanswered(HTTPStatus.REQUEST_TIMEOUT, "the request took too long to come") from None
        finally:
            reading.cancel()
        data = b"" if data is grpc.aio.EOF else data
        body.holds(len(data))
        try:
            return takes.FromString(data)
        except DecodeError as error:
            raise ProtocolError(f"it is no {takes.DESCRIPTOR.name}: {error}") from error

    def _called(self, name: str, version: str, context: Context) -> str:
        authorization = dict(context.invocation_metadata()).get("authorization", "")
        name = self._calls.called(name, authorization)
        if version:
            raise Unanswered(HTTPStatus.NOT_FOUND, f"no version '{version}' of '{name}' can be asked for: ask for none")
        return name

    async def _fail(self, failure: Unanswered, context: Context) -> Message:
        """Who is turned away is told so after a time, the longer the more there are like it."""
        if failure.status in SHEDDING:
            pause_s = self._crowd.pause_s
            self._crowd.turned_away += 1
            try:
                await asyncio.sleep(pause_s)
            finally:
                self._crowd.turned_away -= 1
        advice = () if failure.retry_after_s is None else (("retry-after", str(failure.retry_after_s)),)
        told = (*(context.trailing_metadata() or ()), *advice)
        await context.abort(CODES.get(failure.status, grpc.StatusCode.INTERNAL), str(failure)[:TEXT_CHARACTERS], told)
        raise AssertionError("abort raises")

    # ---- the methods of the protocol

    async def _server_live(self, request: pb.ServerLiveRequest, context: Context) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    async def _server_ready(self, request: pb.ServerReadyRequest, context: Context) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._calls.ready)

    async def _server_metadata(self, request: pb.ServerMetadataRequest, context: Context) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(name=NAME, version=VERSION)

    async def _model_ready(self, request: pb.ModelReadyRequest, context: Context) -> pb.ModelReadyResponse:
        name = self._called(request.name, request.version, context)
        return pb.ModelReadyResponse(ready=self._calls.dispatcher.ready(name))

    async def _model_metadata(self, request: pb.ModelMetadataRequest, context: Context) -> pb.ModelMetadataResponse:
        model = self._calls.metadata(self._called(request.name, request.version, context))
        return pb.ModelMetadataResponse(name=model.name, versions=model.versions, platform=model.platform,
                                        inputs=map(_said, model.inputs), outputs=map(_said, model.outputs))

    async def _model_infer(self, request: pb.ModelInferRequest, context: Context) -> pb.ModelInferResponse:
        name = self._called(request.model_name, request.model_version, context)
        model = self._calls.metadata(name)
        tensors = read_request(request, model.inputs, model.outputs)
        asked = self._calls.submit(name, tensors, _patience_s(context), dict(context.invocation_metadata()))
        if asked.trace:
            context.set_trailing_metadata(tuple(asked.trace.headers.items()))
        outcome = await self._calls.answer(name, asked)
        response = pb.ModelInferResponse(model_name=name, model_version=outcome.variant, id=request.id)
        response.parameters["variant"].string_param = outcome.variant
        write_answer(response, self._calls.dispatcher.outputs[outcome.variant], outcome.answer, request)
        return response


class _Body:
    """The room that one call's message takes until the call is answered, `held_bytes`; who made it gives it back."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd, self.held_bytes = crowd, 0

    def holds(self, size_bytes: int) -> None:
        """It takes so much.

        Raises:
            Unanswered: all together take too much.
        """
        self._crowd.left_bytes -= size_bytes - self.held_bytes
        self.held_bytes = size_bytes
        if self._crowd.left_bytes < 0:
            raise Unanswered(HTTPStatus.SERVICE_UNAVAILABLE, TOO_MUCH)


def _credentials(certificate: Certificate) -> grpc.ServerCredentials:
    """Those of a server whose every new connection sees what was read last."""
    def now() -> grpc.ServerCertificateConfiguration:
        shown, key = certificate.pem
        return grpc.ssl_server_certificate_configuration([(key, shown)])

    return grpc.dynamic_ssl_server_credentials(now(), now)


def _options(limits: Limits) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 0),  # an address that is taken is an error
        ("grpc.max_receive_message_length", limits.body_bytes),
        ("grpc.max_metadata_size", limits.header_bytes),
        ("grpc.absolute_max_metadata_size", limits.header_bytes),
        ("grpc.compression_enabled_algorithms_bitset", IDENTITY_ONLY),
        ("grpc.max_allowed_incoming_connections", limits.connections),
        ("grpc.max_concurrent_streams", limits.connections),
        ("grpc.server_handshake_timeout_ms", int(limits.header_s * 1000)),
        ("grpc.max_connection_idle_ms", int(limits.header_s * 1000)),
        ("grpc.max_connection_age_ms", int(limits.connection_s * 1000)),
        ("grpc.max_connection_age_grace_ms", int(limits.call_s * 1000)),
    ]


def _patience_s(context: Context) -> float:
    left_s = context.time_remaining()
    return math.inf if left_s is None else max(0.0, left_s)


def _said(spec: TensorSpec) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(name=spec.name, datatype=spec.datatype, shape=spec.shape)

"""KEDA's external scaler over gRPC: what is offered, as the metric that KEDA scales by. Needs the extra `grpc`.

The metric is the number of replicas wanted and its target is 1, so that with `metricType: AverageValue` the autoscaler that
KEDA makes wants just so many. `IsActive` is whether any are wanted: KEDA itself takes a workload from 0 to 1 and back. A
trigger names its kind in its metadata, `kind: large`; it may be left out where there is one only.

While nobody stands by a number each call ends with UNAVAILABLE, so that KEDA leaves the workload alone; streams are silent.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import grpc

from envs.contract import ReplicaKind
from runtime.actuators import external_scaler_pb2 as pb
from runtime.actuators.kind_names import kind_named
from runtime.actuators.offer import Offer

SERVICE = "externalscaler.ExternalScaler"
METRIC = "tidal-desired-replicas"
TARGET = 1
RECHECK_S = 1.0  # of a stream: that nobody stands by a number any longer is told by no decision
CLOSES_S = 1.0

Context = Any  # grpc.aio.ServicerContext, which has no types


class ExternalScaler:
    """Serves in a thread of its own until closed.

    Args:
        offer: what is answered from.
        host: to listen at.
        port: 0: any free one.

    Attributes:
        address: where it listens, `host:port`.

    Raises:
        OSError: the address cannot be had.
    """

    def __init__(self, offer: Offer, host: str = "127.0.0.1", port: int = 0) -> None:
        self._offer = offer
        self._loop = asyncio.new_event_loop()
        self._news = asyncio.Event()  # set, and replaced, with each decision
        self._thread = threading.Thread(target=self._loop.run_forever, name="keda", daemon=True)
        self._thread.start()
        try:
            self.address = self._do(self._start(f"[{host}]" if ":" in host else host, port))
        except RuntimeError as error:
            self._end()
            raise OSError(f"{host}:{port} cannot be had for gRPC: {error}") from error
        offer.on_change(self._on_change)

    def close(self) -> None:
        """Hangs up."""
        self._do(self._server.stop(CLOSES_S))
        self._end()

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self, host: str, port: int) -> str:
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])  # a port that is taken is told
        one, many = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        ref = pb.ScaledObjectRef.FromString
        handlers = {
            "IsActive": one(self._is_active, ref, pb.IsActiveResponse.SerializeToString),
            "StreamIsActive": many(self._stream_is_active, ref, pb.IsActiveResponse.SerializeToString),
            "GetMetricSpec": one(self._metric_spec, ref, pb.GetMetricSpecResponse.SerializeToString),
            "StreamMetricSpec": many(self._stream_metric_spec, ref, pb.GetMetricSpecResponse.SerializeToString),
            "GetMetrics": one(self._metrics, pb.GetMetricsRequest.FromString, pb.GetMetricsResponse.SerializeToString),
        }
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
        port = self._server.add_insecure_port(f"{host}:{port}")
        await self._server.start()
        return f"{host}:{port}"

    def _on_change(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _is_active(self, ref: pb.ScaledObjectRef, context: Context) -> pb.IsActiveResponse:
        return pb.IsActiveResponse(result=await self._wanted(ref, context) > 0)

    async def _stream_is_active(self, ref: pb.ScaledObjectRef, context: Context) -> AsyncIterator[pb.IsActiveResponse]:
        kind, told = await self._kind(ref, context), None
        while True:
            news, wanted = self._news, self._offer.replicas(kind)
            if wanted is not None and (wanted > 0) != told:
                told = wanted > 0
                yield pb.IsActiveResponse(result=told)
            try:
                await asyncio.wait_for(news.wait(), RECHECK_S)
            except TimeoutError:
                told = None if wanted is None else told  # once somebody stands by one again, it is told again

    async def _metric_spec(self, ref: pb.ScaledObjectRef, context: Context) -> pb.GetMetricSpecResponse:
        await self._kind(ref, context)
        return _SPEC

    async def _stream_metric_spec(self, ref: pb.ScaledObjectRef, context: Context) -> AsyncIterator[pb.GetMetricSpecResponse]:
        """The target never changes: it is told at once, and then no more."""
        await self._kind(ref, context)
        yield _SPEC
        await asyncio.Event().wait()

    async def _metrics(self, request: pb.GetMetricsRequest, context: Context) -> pb.GetMetricsResponse:
        wanted = await self._wanted(request.scaledObjectRef, context)
        value = pb.MetricValue(metricName=METRIC, metricValue=wanted, metricValueFloat=wanted)
        return pb.GetMetricsResponse(metricValues=[value])

    async def _kind(self, ref: pb.ScaledObjectRef, context: Context) -> ReplicaKind:
        try:
            return kind_named(ref.scalerMetadata.get("kind", ""), self._offer.kinds)
        except ValueError as error:
            return await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"metadata of {ref.namespace}/{ref.name}: {error}")

    async def _wanted(self, ref: pb.ScaledObjectRef, context: Context) -> int:
        wanted = self._offer.replicas(await self._kind(ref, context))
        if wanted is None:
            return await context.abort(grpc.StatusCode.UNAVAILABLE, "no decision stands now; leave the replicas as they are")
        return wanted


_SPEC = pb.GetMetricSpecResponse(metricSpecs=[pb.MetricSpec(metricName=METRIC, targetSize=TARGET, targetSizeFloat=TARGET)])

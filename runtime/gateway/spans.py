"""A span for each request, as OpenTelemetry has it, exported in batches and off the event loop. Needs the extra `otel`."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from envs import state as st
from runtime.gateway.calls import VERSION
from runtime.gateway.request import Outcome
from runtime.gateway.traces import TRACEPARENT, TRACESTATE, Trace, Traces

TIMEOUT_S = 5.0  # for a batch of spans; they are dropped then


def exported(url: str) -> Spans:
    """Spans that go to a collector, `http://127.0.0.1:4318/v1/traces` say."""
    return Spans(BatchSpanProcessor(OTLPSpanExporter(url, timeout=TIMEOUT_S)))


class Spans(Traces):
    """Makes a span of each request whose client wants one (its `sampled` flag), or that begins a trace.

    Args:
        processor: what becomes of spans that have ended.
    """

    def __init__(self, processor: SpanProcessor) -> None:
        self._provider = TracerProvider(resource=Resource.create({"service.name": "tidal", "service.version": VERSION}),
                                        shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("tidal.gateway", VERSION)
        self._wire = TraceContextTextMapPropagator()
        self._open: dict[str, Span] = {}  # by traceparent

    def begin(self, application: str, headers: Mapping[str, str]) -> Trace | None:
        """See `Traces`. The trace goes on with our span as its parent."""
        came = super().begin(application, headers)
        context = self._wire.extract({TRACEPARENT: came.parent, TRACESTATE: came.state}) if came else None
        span = self._tracer.start_span(f"infer {application}", context, SpanKind.SERVER, {"tidal.application": application})
        if not span.is_recording():
            return came
        told: dict[str, str] = {}
        self._wire.inject(told, set_span_in_context(span))
        self._open[told[TRACEPARENT]] = span
        return Trace(told[TRACEPARENT], told.get(TRACESTATE, ""))

    def end(self, trace: Trace, outcome: Outcome) -> None:
        """See `Traces`."""
        if (span := self._open.pop(trace.parent, None)) is None:
            return
        span.set_attributes({"tidal.fate": st.FATES[outcome.fate], "tidal.variant": outcome.variant})
        if outcome.cause:
            span.set_status(StatusCode.ERROR, str(outcome.cause))
        span.end()

    def close(self) -> None:
        """See `Traces`. Exports what has ended."""
        self._provider.shutdown()

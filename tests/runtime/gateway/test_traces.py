"""Trace ids on their way: from the client to the worker and back, over HTTP and gRPC; spans only where they are made."""

import asyncio
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from web import gateway, infer

from runtime.gateway.traces import Trace, Traces, read

ID, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"  # the specification's own example
CAME = f"00-{ID}-{PARENT}-01"


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 30))


def state_of(text):
    return read({"traceparent": CAME, "tracestate": text}).state


@pytest.mark.parametrize("text", [
    "", "x", CAME.upper(), CAME[:-1], f"{CAME}-", f"{CAME}-more", f"ff-{ID}-{PARENT}-01", f"00-{'0' * 32}-{PARENT}-01",
    f"00-{ID}-{'0' * 16}-01", f"00-{ID[:-1]}-{PARENT}-01", f"00-{ID}-{PARENT}-0x", f"{CAME}, {CAME}",
    f"cc-{ID}-{PARENT}-01.more"])
def test_what_the_specification_calls_invalid_counts_as_none(text):
    assert read({"traceparent": text, "tracestate": "a=1"}) is None


def test_what_it_calls_valid_goes_on_as_it_came():
    assert read({"traceparent": f" {CAME}\t"}) == Trace(CAME) and Trace(CAME).id == ID
    for later in (f"cc-{ID}-{PARENT}-01", f"cc-{ID}-{PARENT}-01-what-the-future-will-be-like"):
        assert read({"traceparent": later}) == Trace(later)
    assert read({"tracestate": "a=1"}) is None


def test_a_tracestate_is_kept_or_dropped_whole():
    assert state_of("rojo=00f067aa0ba902b7, congo=t61rcWkgMzE") == "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
    assert state_of("t@v=1, ,a/b*c_d-e= x!y") == "t@v=1,a/b*c_d-e= x!y"
    most = ",".join(f"k{i}=v" for i in range(32))
    assert state_of(most) == most
    for wrong in (f"{most},k32=v", "a=1,a=2", "A=1", "a", "a=", "a=b=c", "a=é", f"{'k' * 257}=1", "@v=1", "t@=1"):
        assert state_of(wrong) == "", wrong


def test_over_http_it_reaches_the_replica_and_comes_back():
    async def play():
        async with gateway() as g:
            answer = await infer(g.port, traceparent=CAME, tracestate="a=1")
            (replica,) = g.live.replicas
            assert answer.status == 200 and answer.headers["traceparent"] == CAME and replica.traces == [CAME]
            for headers in ({}, {"traceparent": "rubbish"}):
                answer = await infer(g.port, **headers)
                assert answer.status == 200 and "traceparent" not in answer.headers and replica.traces == [""]
            replica.fenced = True  # lost: there is no other
            answer = await infer(g.port, traceparent=CAME)
            assert answer.status >= 500 and answer.headers["traceparent"] == CAME

    run(play())


def test_what_cannot_be_served_is_logged_with_its_trace(caplog):
    async def play():
        async with gateway() as g:
            async def fails(*_):
                raise ValueError("no")

            g.live.replicas[0].answers = fails
            with caplog.at_level(logging.ERROR):
                assert (await infer(g.port, traceparent=CAME)).status == 500
            assert f"traces: {ID}" in caplog.text

    run(play())


def test_over_grpc():
    pytest.importorskip("grpc", reason="the extra grpc is not installed")
    import grpc
    from grpc_web import call, front, payload

    async def play():
        async with front() as g:
            (replica,) = g.live.replicas
            for came, back in ((CAME, CAME), ("rubbish", None)):
                asked = call(g.channel, "ModelInfer", payload(), metadata=(("traceparent", came),))
                await asked
                assert dict(await asked.trailing_metadata()).get("traceparent") == back and replica.traces == [back or ""]
            replica.fenced = True
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(g.channel, "ModelInfer", payload(), metadata=(("traceparent", CAME),))
            assert dict(caught.value.trailing_metadata())["traceparent"] == CAME

    run(play())


@pytest.fixture
def spans():
    for name in ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http"):
        pytest.importorskip(name, reason="the extra otel is not installed")
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from runtime.gateway.spans import Spans

    kept = InMemorySpanExporter()
    made = Spans(SimpleSpanProcessor(kept))
    yield made, kept
    made.close()


def test_a_span_is_the_childs_of_the_clients_and_the_parent_of_what_follows(spans):
    made, kept = spans

    async def play():
        async with gateway(traces=made) as g:
            answer = await infer(g.port, traceparent=CAME, tracestate="a=1")
            (span,) = kept.get_finished_spans()
            own = f"00-{ID}-{span.context.span_id:016x}-01"
            assert answer.headers["traceparent"] == own != CAME and g.live.replicas[0].traces == [own]
            assert span.parent.span_id == int(PARENT, 16) and span.parent.is_remote and span.name == "infer s"
            assert span.attributes == {"tidal.application": "s", "tidal.fate": "good", "tidal.variant": "v"}
            await infer(g.port)
            assert kept.get_finished_spans()[1].parent is None  # begins a trace of its own

            not_sampled = CAME[:-1] + "0"
            assert (await infer(g.port, traceparent=not_sampled)).headers["traceparent"] == not_sampled
            g.live.replicas[0].fenced = True
            await infer(g.port, traceparent=CAME)
            _, _, failed = kept.get_finished_spans()
            assert failed.attributes["tidal.fate"] == "failed" and failed.status.description
            assert not made._open

    run(play())


@pytest.fixture
def collector():
    """What a collector must do by the protocol: it takes protobuf over HTTP and answers with protobuf."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel is not installed")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
        ExportTraceServiceRequest,
        ExportTraceServiceResponse,
    )

    taken = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.append((self.path, self.headers["Content-Type"], ExportTraceServiceRequest.FromString(body)))
            told = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/traces", taken
    server.shutdown()
    thread.join()
    server.server_close()


def test_spans_reach_a_collector_in_its_own_protocol(collector):
    from runtime.gateway.spans import exported

    url, taken = collector
    made = exported(url)

    async def play():
        async with gateway(traces=made) as g:
            await infer(g.port, traceparent=CAME)

    run(play())
    made.close()  # what has ended goes out
    ((path, content, request),) = taken
    assert (path, content) == ("/v1/traces", "application/x-protobuf")
    (resource,) = request.resource_spans
    assert ("service.name", "tidal") in [(a.key, a.value.string_value) for a in resource.resource.attributes]
    (span,) = resource.scope_spans[0].spans
    assert (span.trace_id.hex(), span.parent_span_id.hex(), span.name) == (ID, PARENT, "infer s")
    assert span.kind == span.SPAN_KIND_SERVER and 0 < span.start_time_unix_nano < span.end_time_unix_nano
    assert {a.key: a.value.string_value for a in span.attributes} == {
        "tidal.application": "s", "tidal.fate": "good", "tidal.variant": "v"}


def test_without_spans_nothing_of_opentelemetry_is_needed():
    assert Traces().begin("s", {"traceparent": CAME}) == Trace(CAME) and Traces().begin("s", {}) is None

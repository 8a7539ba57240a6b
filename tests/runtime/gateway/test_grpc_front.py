"""The gateway over gRPC: the protocol on the wire, tenants, deadlines, clients that go or misbehave, and shedding."""

import asyncio
import struct
import time

import numpy as np
import pytest

pytest.importorskip("grpc", reason="the extra grpc is not installed")

import grpc
from emulation import made
from grpc_web import SERVICE, call, front, payload
from test_server import SLOW, TENANTS, TOKENS
from web import QUICK, HandClock, until

from runtime.gateway import grpc_predict_v2_pb2 as pb
from runtime.gateway.grpc_front import GrpcFront
from runtime.serving.replica import RequestRefused
from runtime.serving.service import Service

APART = [("grpc.use_local_subchannel_pool", 1)]  # on a connection of its own
FP32, INFER = pb.ModelInferRequest.InferInputTensor, SERVICE + "ModelInfer"


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 30))


async def fails(awaitable):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await awaitable
    return caught.value


def retry_after(error):
    return dict(error.trailing_metadata()).get("retry-after")


# ---- the wire, by the public specification: (field number, what it holds), coded here by hand


def varint(n):
    return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + varint(n >> 7)


def coded(*fields):
    parts = [what if isinstance(what, bytes) else what.encode() if isinstance(what, str) else None for _, what in fields]
    return b"".join(varint(number << 3) + varint(what) if part is None else varint(number << 3 | 2) + varint(len(part)) + part
                    for (number, what), part in zip(fields, parts))


def decoded(data):
    fields, at = [], 0

    def number():
        nonlocal at
        n = shift = 0
        while True:
            byte, at = data[at], at + 1
            n, shift = n | (byte & 127) << shift, shift + 7
            if byte < 128:
                return n

    while at < len(data):
        tag = number()
        assert tag & 7 in (0, 2)
        what = number()
        if tag & 7:
            at, what = at + what, data[at : at + what]
        fields.append((tag >> 3, what))
    return fields


@pytest.mark.parametrize("raw", [True, False])
def test_the_wire_is_the_specifications(raw):
    data, shape = struct.pack("<f", 2.5), bytes([1, 1])  # repeated numbers are packed
    tensor = [(1, "payload"), (2, "FP32"), (3, shape)]
    request = [(1, "s"), (3, "n7"), (5, coded(*tensor, *([] if raw else [(5, coded((6, data)))])))] + [(7, data)] * raw
    variant = coded((1, "variant"), (2, coded((3, "v"))))
    answer = [(1, b"s"), (2, b"v"), (3, b"n7"), (4, variant)]
    answer += [(5, coded(*tensor)), (6, data)] if raw else [(5, coded(*tensor, (5, coded((6, data)))))]
    metadata = coded((1, "payload"), (2, "FP32"), (3, bytes([255] * 9 + [1, 1])))  # -1 and 1

    async def play():
        async with front() as f:
            async def said(method, *fields):
                return decoded(await f.channel.unary_unary(SERVICE + method)(coded(*fields)))

            assert await said("ServerLive") == await said("ServerReady") == [(1, 1)]
            assert (await said("ServerMetadata"))[0] == (1, b"tidal")
            assert await said("ModelReady", (1, "s")) == [(1, 1)]
            assert await said("ModelMetadata", (1, "s")) == [(1, b"s"), (2, b"v"), (3, b"tidal"), (4, metadata), (5, metadata)]
            assert await said("ModelInfer", *request) == answer
            assert f.dispatcher.counters.app_count[0, 0] == 1

    run(play())


def test_many_at_once_are_each_answered_with_their_own():
    async def play():
        async with front() as f:
            answers = await asyncio.gather(*(call(f.channel, "ModelInfer", payload(i, id=str(i))) for i in range(50)))
            assert [answer.id for answer in answers] == [str(i) for i in range(50)]
            values = [np.frombuffer(answer.raw_output_contents[0], np.float32)[0] for answer in answers]
            assert values == list(range(50))
            assert f.dispatcher.counters.app_count[0, 0] == 50

    run(play())


def test_a_client_of_another_thread_and_library_surface():
    def talk(address):
        with grpc.insecure_channel(address) as channel:  # the blocking client
            infer = channel.unary_unary(INFER, pb.ModelInferRequest.SerializeToString, pb.ModelInferResponse.FromString)
            typed = pb.InferTensorContents(fp32_contents=[1.5])
            tensor = FP32(name="payload", datatype="FP32", shape=[1, 1], contents=typed)
            answer = infer(pb.ModelInferRequest(model_name="s", inputs=[tensor]), timeout=5)
            assert answer.outputs[0].contents == typed
            assert (answer.model_version, answer.parameters["variant"].string_param) == ("v", "v")

    async def play():
        async with front() as f:
            await asyncio.to_thread(talk, f.server.address)

    run(play())


@pytest.mark.parametrize("request_, code, says", [
    (payload(model="none"), "NOT_FOUND", "no model 'none'"), (payload(model_version="v"), "NOT_FOUND", "no version 'v'"),
    (pb.ModelInferRequest(model_name="s"), "INVALID_ARGUMENT", "inputs are none; this model takes payload FP32 [-1, 1]"),
    (pb.ModelInferRequest(model_name="s", inputs=[FP32(name="x" * 100_000)]), "INVALID_ARGUMENT", "inputs are xxx"),
    (pb.ModelInferRequest(model_name="s", inputs=[FP32(name="é" * 9_000)]), "INVALID_ARGUMENT", "inputs are éé")])
def test_calls_that_are_wrong(request_, code, says):
    async def play():
        async with front() as f:
            error = await fails(call(f.channel, "ModelInfer", request_))
            assert error.code().name == code and says in error.details() and retry_after(error) is None
            assert f.dispatcher.counters.app_count.sum() == 0
            await call(f.channel, "ModelInfer", payload())

    run(play())


def test_what_is_no_message_and_no_method():
    async def play():
        async with front() as f:
            for sent in (b"\xff\xff", coded((1, b"\xff"))):  # no protobuf; a name that is no text
                error = await fails(f.channel.unary_unary(INFER)(sent))
                assert error.code() == grpc.StatusCode.INVALID_ARGUMENT and "ModelInferRequest" in error.details()
            assert (await fails(f.channel.unary_unary(SERVICE + "Nothing")(b""))).code() == grpc.StatusCode.UNIMPLEMENTED

    run(play())


def test_tenants_see_and_call_only_what_is_theirs():
    async def play():
        async with front(TENANTS, TOKENS) as f:
            def ask(method, request, *said):
                return call(f.channel, method, request, metadata=[("authorization", text) for text in said])

            for said in ((), ("Bearer wrong",), ("Basic alpha",), ("Bearer ",)):
                for method, request in (("ModelReady", pb.ModelReadyRequest(name="s")), ("ModelInfer", payload()),
                                        ("ModelMetadata", pb.ModelMetadataRequest(name="s"))):
                    error = await fails(ask(method, request, *said))
                    assert error.code() == grpc.StatusCode.UNAUTHENTICATED
            others = await fails(ask("ModelInfer", payload(model="z"), "Bearer alpha"))
            nobodys = await fails(ask("ModelInfer", payload(model="q"), "Bearer alpha"))
            assert others.code() == nobodys.code() == grpc.StatusCode.NOT_FOUND
            assert others.details().replace("z", "q") == nobodys.details()
            assert (await ask("ModelInfer", payload(), "Bearer alpha")).model_version == "v"
            assert (await ask("ServerLive", pb.ServerLiveRequest())).live
            assert f.dispatcher.counters.app_count[:, 0].tolist() == [1, 0]

    run(play())


def test_a_quota_is_told_apart():
    async def play():
        async with front(TENANTS) as f:
            await call(f.channel, "ModelInfer", payload(model="z"))
            error = await fails(call(f.channel, "ModelInfer", payload(model="z")))
            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert retry_after(error) == "2" and "quota" in error.details()

    run(play())


def test_shedding_says_when_to_come_back():
    async def play():
        async with front(SLOW.with_(admission={"queue_limit_s": 0.4}), clock=(clock := HandClock())) as f:
            calls = [call(f.channel, "ModelInfer", payload()) for _ in range(6)]
            await until(lambda: fates(f) == (0, 4, 0, 0))
            clock.go(9.0)
            said = await asyncio.gather(*calls, return_exceptions=True)
            errors = [one for one in said if isinstance(one, Exception)]
            assert len(errors) == 4 and {error.code() for error in errors} == {grpc.StatusCode.UNAVAILABLE}
            assert {retry_after(error) for error in errors} == {"1"} and "waiting" in errors[0].details()

    run(play())


def test_without_replicas():
    async def play():
        async with front(QUICK.with_(initial=())) as f:
            assert (await call(f.channel, "ServerLive", pb.ServerLiveRequest())).live
            assert not (await call(f.channel, "ServerReady", pb.ServerReadyRequest())).ready
            assert not (await call(f.channel, "ModelReady", pb.ModelReadyRequest(name="s"))).ready
            error = await fails(call(f.channel, "ModelInfer", payload()))
            assert error.code() == grpc.StatusCode.UNAVAILABLE and "no replica" in error.details()

    run(play())


@pytest.mark.parametrize("raised, code", [(RequestRefused("odd"), "INVALID_ARGUMENT"), (RuntimeError("odd"), "INTERNAL")])
def test_what_the_replica_says(raised, code):
    async def play():
        async with front() as f:
            def serve(variant, requests, head, traces, freed, answered):
                asyncio.get_running_loop().call_soon(answered, [raised] if isinstance(raised, RequestRefused) else raised)

            f.live.replicas[0].serve = serve
            error = await fails(call(f.channel, "ModelInfer", payload()))
            assert error.code().name == code and retry_after(error) is None

    run(play())


def fates(f):
    """Answered, rejected, dropped, failed."""
    _, good, late, rejected, dropped, failed, _ = f.dispatcher.counters.app_count[0].tolist()
    return good + late, rejected, dropped, failed


@pytest.mark.parametrize("timeout_s", [2.0, None])
def test_a_client_that_goes_leaves_its_queue(timeout_s):
    async def play():
        async with front(SLOW, clock=(clock := HandClock())) as f:
            kept = [call(f.channel, "ModelInfer", payload()) for _ in range(2)]
            await until(lambda: f.dispatcher.outstanding == 2)
            gone = call(f.channel, "ModelInfer", payload(), timeout=timeout_s)
            await until(lambda: f.dispatcher.outstanding == 3)
            if timeout_s is None:
                gone.cancel()
            assert await gone.code() == (grpc.StatusCode.CANCELLED if timeout_s is None else grpc.StatusCode.DEADLINE_EXCEEDED)
            await until(lambda: f.dispatcher.outstanding == 2)
            clock.go(9.0)
            await asyncio.gather(*kept)
            assert fates(f) == (2, 0, 1, 0)
            assert len(f.live.replicas[0].batches) == 2  # the third was never computed

    run(play())


def test_the_deadline_of_a_call_is_the_requests():
    async def play():
        async with front() as f:
            seen, submit = [], f.dispatcher.submit
            f.dispatcher.submit = lambda *a, **more: seen.append(more["patience_s"]) or submit(*a, **more)
            await call(f.channel, "ModelInfer", payload(), timeout=20)
            await call(f.channel, "ModelInfer", payload())
            assert 15 < seen[0] < 25 and seen[1] == np.inf

    run(play())


def test_a_message_that_is_too_large():
    async def play():
        async with front(body_bytes=1000) as f:
            error = await fails(call(f.channel, "ModelInfer", payload(id="x" * 2000)))
            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            await call(f.channel, "ModelInfer", payload())

    run(play())


def test_a_compressed_message_is_not_unpacked():
    async def play():
        async with front() as f:
            error = await fails(call(f.channel, "ModelInfer", payload(id="x" * 10_000), compression=grpc.Compression.Gzip))
            assert error.code() == grpc.StatusCode.UNIMPLEMENTED and not f.dispatcher.counters.app_count.sum()

    run(play())


def test_more_calls_than_allowed():
    async def play():
        async with front(SLOW, clock=(clock := HandClock()), connections=2) as f:
            kept = [call(f.channel, "ModelInfer", payload()) for _ in range(2)]
            await until(lambda: f.dispatcher.outstanding == 2)
            waits = call(f.channel, "ModelInfer", payload())  # in its client: a connection carries no more at once
            async with grpc.aio.insecure_channel(f.server.address, options=APART) as other:
                error = await fails(call(other, "ModelInfer", payload()))
                assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            clock.go(9.0)
            await asyncio.gather(*kept)
            await until(lambda: f.dispatcher.outstanding)
            clock.go(9.0)
            await waits
            assert fates(f) == (3, 0, 0, 0)

    run(play())


def test_more_connections_than_allowed():
    async def play():
        async with front(connections=1) as f:
            await call(f.channel, "ServerLive", pb.ServerLiveRequest())
            async with grpc.aio.insecure_channel(f.server.address, options=APART) as other:
                error = await fails(call(other, "ServerLive", pb.ServerLiveRequest()))
                assert error.code() == grpc.StatusCode.UNAVAILABLE
            await call(f.channel, "ModelInfer", payload())

    run(play())


def test_a_client_that_is_slow_to_send_is_told():
    async def play():
        async with front(body_s=0.1) as f:
            silent = f.channel.stream_unary(INFER)()  # the headers, and nothing more
            error = await fails(silent)
            assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED and "too long to come" in error.details()
            await call(f.channel, "ModelInfer", payload())

    run(play())


def test_all_bodies_together_have_a_limit():
    async def play():
        async with front(SLOW, clock=(clock := HandClock()), bodies_bytes=1500) as f:
            crowd, large = f.server._crowd, payload(id="x" * 1000)
            kept = call(f.channel, "ModelInfer", large)
            await until(lambda: f.dispatcher.outstanding)
            error = await fails(call(f.channel, "ModelInfer", large))
            assert error.code() == grpc.StatusCode.UNAVAILABLE and "by all clients together" in error.details()
            small = call(f.channel, "ModelInfer", payload())
            await until(lambda: f.dispatcher.outstanding == 2)
            clock.go(9.0)
            await asyncio.gather(kept, small)
            await until(lambda: crowd.left_bytes == 1500)
            assert fates(f) == (2, 0, 0, 0)

    run(play())


def test_a_message_that_is_slow_to_come_may_be_as_large_as_any():
    async def play():
        async with front(body_bytes=1000, bodies_bytes=1500) as f:
            crowd, silent = f.server._crowd, f.channel.stream_unary(INFER)()
            await until(lambda: crowd.left_bytes == 500)
            error = await fails(call(f.channel, "ModelInfer", payload(id="x" * 600)))
            assert error.code() == grpc.StatusCode.UNAVAILABLE and "by all clients together" in error.details()
            await call(f.channel, "ModelInfer", payload())
            silent.cancel()
            await until(lambda: crowd.left_bytes == 1500)

    run(play())


def test_who_is_turned_away_is_told_so_at_a_pace():
    """The last of eight is told so after eight times the pause; one that does not wait for it is not counted any more."""
    async def play():
        async with front(SLOW.with_(admission={"queue_limit_s": 0.4}), clock=(clock := HandClock()), refusals_per_s=20.0) as f:
            kept = [call(f.channel, "ModelInfer", payload()) for _ in range(2)]
            await until(lambda: f.dispatcher.outstanding == 2)
            begun_s = time.monotonic()
            errors = await asyncio.gather(*(fails(call(f.channel, "ModelInfer", payload())) for _ in range(8)))
            assert {(error.code(), retry_after(error)) for error in errors} == {(grpc.StatusCode.UNAVAILABLE, "1")}
            assert time.monotonic() - begun_s >= 8 / 20.0
            gone = call(f.channel, "ModelInfer", payload())
            await until(lambda: f.server._crowd.turned_away)
            gone.cancel()
            await until(lambda: not f.server._crowd.turned_away)
            clock.go(9.0)
            await asyncio.gather(*kept)

    run(play())


def test_clients_over_http_and_grpc_share_the_limits():
    async def play():
        service, here = Service(QUICK), ("127.0.0.1", 0)
        await service.start(here, here, here)
        try:
            assert service.grpc._crowd is service.gateway.crowd
        finally:
            await service.close()

    run(play())


def frame(kind, flags, stream, payload=b""):
    """Of HTTP/2, by RFC 9113, section 4.1."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def headers(**named):
    """Literal and not indexed, by RFC 7541, section 6.2.2."""
    fields = [(name.replace("__", ":").replace("_", "-").encode(), value.encode()) for name, value in named.items()]
    return b"".join(b"\0" + varint(len(name)) + name + varint(len(value)) + value for name, value in fields)


def test_a_client_that_never_takes_its_answer_does_not_keep_it_forever():
    async def play():
        async with front(connection_s=0.3, call_s=0.3) as f:
            message = payload().SerializeToString()
            asked = headers(__method="POST", __scheme="http", __path=INFER, __authority="x", te="trailers",
                            content_type="application/grpc")
            reader, writer = await asyncio.open_connection(*f.server.address.split(":"))
            writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, struct.pack(">HI", 4, 0))  # no room for data
                         + frame(1, 4, 1, asked) + frame(0, 1, 1, b"\0" + struct.pack(">I", len(message)) + message))
            await until(lambda: fates(f)[0] == 1)  # it is answered
            async with asyncio.timeout(10):  # it takes 20 s until gRPC misses what this client never says
                await reader.read()  # the connection ends
            writer.close()
            await call(f.channel, "ModelInfer", payload())

    run(play())


def test_it_closes_in_good_order():
    async def play():
        async with front(SLOW, clock=(clock := HandClock())) as f:
            under_way = call(f.channel, "ModelInfer", payload())
            await until(lambda: f.dispatcher.outstanding)
            closing = asyncio.ensure_future(f.server.close(patience_s=20))
            await asyncio.sleep(0.1)
            clock.go(9.0)
            await closing
            assert (await under_way).model_version == "v"
            assert (await fails(call(f.channel, "ModelInfer", payload()))).code() == grpc.StatusCode.UNAVAILABLE

    run(play())


def test_an_address_that_is_taken():
    async def play():
        async with front() as f:
            host, port = f.server.address.split(":")
            with pytest.raises(OSError, match=f"{host}:{port} cannot be had"):
                await GrpcFront(f.dispatcher, None).start(host, int(port))

    run(play())


def test_a_chain_answers_with_its_last_variant():
    services = {name: {"variants": [variant], "slo_s": 1.0} for name, variant in (("one", "a"), ("two", "b"))}
    scenario = made({"a": 0.002, "b": 0.002}, [{"variants": [variant], "cores": [1]} for variant in "ab"], service_cv=0.0,
                    services=services, applications={"both": {"services": ["one", "two"], "slo_s": 2.0}})

    async def play():
        async with front(scenario) as f:
            assert (await call(f.channel, "ModelInfer", payload(model="both"))).model_version == "b"

    run(play())

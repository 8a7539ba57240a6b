"""The gateway over HTTP: the protocol, tenants, limits, clients that misbehave, and shedding."""

import asyncio
import gc
import json
import shutil
import socket
import subprocess
import time

import numpy as np
import pytest
import requests
import uvloop
from emulation import made
from prometheus_client.parser import text_string_to_metric_families
from web import PAYLOAD, QUICK, HandClock, answer_of, call, gateway, infer, message, raw, until

from runtime import metrics as m
from runtime.gateway import connection
from runtime.gateway.request import Request

SLOW = made({"v": 0.3}, [{"variants": ["v"], "cores": [1]}], service_cv=0.0)
TENANTS = QUICK.with_(tenants={"a": {}, "b": {"quota_rps": 0.5}}, applications={}, services={
    "s": {"variants": ["v"], "slo_s": 1.0, "tenant": "a"}, "z": {"variants": ["v"], "slo_s": 1.0, "tenant": "b"}})
TOKENS = {"a": "alpha", "b": "beta"}


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 30))


def tensor(**changes):
    return {"inputs": [{**PAYLOAD["inputs"][0], **changes}]}


def test_the_protocol_with_a_real_client():
    def talk(url):
        with requests.Session() as session:
            said = {path: session.get(url + path, timeout=5) for path in (
                "/v2/health/live", "/v2/health/ready", "/v2", "/v2/models/s", "/v2/models/s/ready")}
            assert all(answer.status_code == 200 for answer in said.values())
            assert said["/v2"].json()["extensions"] == ["binary_tensor_data"]
            wanted = {"name": "payload", "datatype": "FP32", "shape": [-1, 1]}
            assert said["/v2/models/s"].json() == {
                "name": "s", "versions": ["v"], "platform": "tidal", "inputs": [wanted], "outputs": [wanted]}
            assert said["/v2/models/s/ready"].json() == {"name": "s", "ready": True}
            for i in range(3):  # on one connection
                answer = session.post(f"{url}/v2/models/s/infer", json={**tensor(data=[[i]]), "id": f"n{i}"}, timeout=5)
                assert answer.json() == {
                    "model_name": "s", "model_version": "v", "id": f"n{i}", "parameters": {"variant": "v"},
                    "outputs": [{"name": "payload", "datatype": "FP32", "shape": [1, 1], "data": [float(i)]}]}

    async def play():
        async with gateway() as g:
            await asyncio.to_thread(talk, g.server.url)
            assert g.dispatcher.counters.app_count[0, 0] == 3

    run(play())


def requests_held():
    return [one for one in gc.get_objects() if type(one) is Request]


def test_a_request_is_let_go_of_once_it_is_answered():
    """Not only when somebody looks for cycles, which holds up all others."""

    async def play():
        async with gateway() as g:
            await infer(g.port)
            gc.collect()
            gc.disable()
            others = requests_held()  # by earlier tests
            try:
                for headers in ({}, {"traceparent": f"00-{1:032x}-{1:016x}-01"}):
                    assert (await infer(g.port, **headers)).status == 200
                assert (await infer(g.port, Tidal_Timeout_Seconds="1e-9")).status == 503
                await until(lambda: len(requests_held()) == len(others))
            finally:
                gc.enable()

    run(play())


def test_binary_tensors_both_ways():
    data = np.array([[-1.25]], np.float32).tobytes()
    row = {"name": "payload", "datatype": "FP32", "shape": [1, 1], "parameters": {"binary_data_size": 4}}

    async def play():
        async with gateway() as g:
            for more, binary in (({"outputs": [{"name": "payload", "parameters": {"binary_data": True}}]}, True),
                                 ({"parameters": {"binary_data_output": True}}, True), ({}, False)):
                head = json.dumps({"inputs": [row], **more}).encode()
                answer = await infer(g.port, body=head + data, Inference_Header_Content_Length=str(len(head)))
                assert answer.status == 200
                if binary:
                    n = int(answer.headers["Inference-Header-Content-Length"])
                    assert json.loads(answer.body[:n])["outputs"][0]["parameters"] == {"binary_data_size": 4}
                    assert answer.body[n:] == data
                else:
                    assert answer.body["outputs"][0]["data"] == [-1.25]
            for wrong in (head, head + data[:3], head + data + b"x"):
                assert (await infer(g.port, body=wrong, Inference_Header_Content_Length=str(len(head)))).status == 400

    run(play())


@pytest.mark.parametrize("body, says", [
    (b"{", "not JSON"), (b"[1]", "JSON object"), ({}, "'inputs' must be a list"), ({"inputs": [1]}, "'inputs' must be a list"),
    ({"inputs": []}, "inputs are none"), ({"inputs": PAYLOAD["inputs"] * 2}, "given twice"),
    (tensor(name="x"), "inputs are x"), (tensor(datatype="FP99"), "datatype FP99"),
    (tensor(datatype="INT64"), "this model takes"), (tensor(shape=[1]), "takes payload"),
    (tensor(shape=[2, 1], data=[1, 2]), "begin with 1"), (tensor(shape=[-1, 1]), "'shape' must"),
    (tensor(data=[1, 2]), "2 values"), (tensor(data=["a"]), "does not fit"),
    (tensor(data=[[1], [2, 3]]), "does not fit"), (tensor(data=None), "needs 'data'"), (tensor(data=[True]), "does not fit"),
    ({**PAYLOAD, "id": 7}, "id must"), ({**PAYLOAD, "parameters": 1}, "'parameters' must"),
    ({**PAYLOAD, "outputs": [{"name": "y"}]}, "no output 'y'"), (b"[" * 100000, "not JSON"),
    (tensor(parameters={"binary_data_size": 4}), "bytes are left")])
def test_bodies_that_are_wrong(body, says):
    async def play():
        async with gateway() as g:
            answer = await infer(g.port, body=body)
            assert answer.status == 400 and says in answer.body["error"]
            assert g.dispatcher.counters.app_count.sum() == 0
            assert (await infer(g.port)).status == 200

    run(play())


@pytest.mark.parametrize("sent, status", [
    (b"nonsense\r\n\r\n", 400), (b"GET /v2 HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
    (b"POST /v2 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST /v2 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    (b"GET /v2 HTTP/1.1\r\nHost: x\r\nBad Header: y\r\n\r\n", 400), (b"GET /" + b"a" * 20000, 431),
    (b"GET /v2 HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 3000, 431),
    (b"GET /v2 HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20000 + b"\r\n\r\n", 431),
    (b"GET /nowhere HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", 404),
    (message("GET", "/nowhere"), 404), (message("GET", "/v2/models/none"), 404), (message("GET", "/v2/models/s/infer"), 405),
    (message("POST", "/v2"), 405), (message("POST", "/v2/models/s/infer", PAYLOAD, {"Content-Encoding": "gzip"}), 415),
    (message("POST", "/v2/models/s/infer", PAYLOAD, {"Tidal-Timeout-Seconds": "soon"}), 400),
    (message("POST", "/v2/models/s/infer", PAYLOAD, {"Inference-Header-Content-Length": "x"}), 400),
    (message("POST", "/v2/models/s/infer", PAYLOAD, {"Inference-Header-Content-Length": "9999"}), 400)])
def test_requests_that_are_wrong(sent, status):
    async def play():
        async with gateway() as g:
            answer = answer_of(await raw(g.port, sent))
            assert answer.status == status and answer.body["error"]
            assert (await infer(g.port)).status == 200

    run(play())


def test_bodies_that_are_too_large():
    async def play():
        async with gateway(body_bytes=1000) as g:
            head = b"POST /v2/models/s/infer HTTP/1.1\r\nHost: x\r\n"
            said = answer_of(await raw(g.port, head + b"Content-Length: 1001\r\n\r\n"))  # before any of it is sent
            chunks = [b"100\r\n" + b" " * 256 + b"\r\n"] * 4
            grown = answer_of(await raw(g.port, head + b"Transfer-Encoding: chunked\r\n\r\n", more=chunks))
            assert said.status == grown.status == 413
            assert (await infer(g.port)).status == 200

    run(play())


def test_bodies_that_are_too_large_together():
    """Each is small enough; when clients have gone, or have their answers, there is room again."""
    async def play():
        async with gateway(bodies_bytes=1500) as g:
            head = b"POST /v2/models/s/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
            room = g.server.crowd
            _, first = await asyncio.open_connection("127.0.0.1", g.port)
            first.write(head + b" " * 900)
            await until(lambda: room.left_bytes == 600)
            refused = answer_of(await raw(g.port, head, more=[b" " * 900]))
            assert refused.status == 503 and "together" in refused.body["error"]
            assert (await infer(g.port)).status == 200
            first.close()
            await until(lambda: room.left_bytes == 1500)
            for _ in range(30):  # more than there is room for, one after the other
                assert (await infer(g.port)).status == 200
            await until(lambda: room.left_bytes == 1500)

    run(play())


def test_clients_that_are_slow_are_hung_up_on():
    async def play():
        async with gateway(header_s=0.6, body_s=0.6) as g:
            begun_s = time.monotonic()
            silent, header, body = await asyncio.gather(
                raw(g.port, b""), raw(g.port, b"GET /v2 HTTP/1.1\r\nHost"),
                raw(g.port, b"POST /v2/models/s/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"))
            assert time.monotonic() - begun_s < 10
            assert silent == b"" and answer_of(header).status == answer_of(body).status == 408
            assert not g.server._served.connections

    run(play())


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("after_s", [0.0, 0.6], ids=["in time", "at the last look"])
def test_a_request_that_came_in_time_is_answered_though_the_loop_was_held_up(loop, after_s, monkeypatch):
    """It comes in the midst of a turn, at whose end the time for it is over, or that for looking once more."""
    monkeypatch.setattr(connection, "LOOK_S", 0.2)

    async def play():
        async with gateway(header_s=0.5) as g:
            request = message("POST", "/v2/models/s/infer", json.dumps(PAYLOAD).encode())
            with socket.create_connection(("127.0.0.1", g.port), 20) as client:
                await until(lambda: g.server._served.connections)

                def hold():
                    running.remove_reader(ear)
                    client.sendall(request)
                    time.sleep(0.8)

                running, (ear, mouth) = asyncio.get_running_loop(), socket.socketpair()
                with ear, mouth:
                    running.add_reader(ear, hold)
                    running.call_later(after_s, mouth.send, b"!")
                    client.setblocking(False)
                    assert answer_of(await running.sock_recv(client, 4096)).status == 200

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(asyncio.wait_for(play(), 30))


def test_a_header_that_trickles_gains_no_time():
    async def play():
        async with gateway(header_s=0.6) as g:
            reader, writer = await asyncio.open_connection("127.0.0.1", g.port)
            writer.write(b"GET /v2 HTTP/1.1\r\n")
            answer = asyncio.ensure_future(reader.read())
            for _ in range(100):
                if answer.done():
                    break
                writer.write(b"X: y\r\n")
                await asyncio.sleep(0.05)
            assert answer.done()
            if not answer.exception():  # else what it still sent crossed the answer
                assert answer_of(answer.result()).status == 408
            writer.close()

    run(play())


def test_more_connections_than_allowed():
    async def play():
        async with gateway(connections=2) as g:
            held = [await asyncio.open_connection("127.0.0.1", g.port) for _ in range(2)]
            assert answer_of(await raw(g.port, b"")).status == 503
            for _, writer in held:
                writer.close()
            await until(lambda: not g.server._served.connections)
            assert (await infer(g.port)).status == 200

    run(play())


def test_requests_sent_ahead_are_answered_in_order():
    async def play():
        async with gateway() as g:
            stay = {"Connection": "keep-alive"}
            parts = [message("POST", "/v2/models/s/infer", {**PAYLOAD, "id": str(i)}, stay) for i in range(3)]
            data = await raw(g.port, b"".join(parts) + message("GET", "/v2/health/live"))
            assert [data.find(b'"id":"%d"' % i) > 0 for i in range(3)] == [True] * 3
            assert data.find(b'"id":"0"') < data.find(b'"id":"1"') < data.find(b'"id":"2"') < data.find(b'"live":true')

    run(play())


def test_a_client_that_goes_away_leaves_its_queue():
    async def play():
        async with gateway(SLOW, clock=(clock := HandClock())) as g:
            first, second = [asyncio.ensure_future(infer(g.port)) for _ in range(2)]
            await until(lambda: g.dispatcher.outstanding == 2)
            _, writer = await asyncio.open_connection("127.0.0.1", g.port)
            writer.write(message("POST", "/v2/models/s/infer", PAYLOAD))
            await until(lambda: g.dispatcher.outstanding == 3)
            writer.close()
            await until(lambda: g.dispatcher.outstanding == 2)
            clock.go(1.0)
            assert (await first).status == (await second).status == 200
            _, good, late, rejected, dropped, failed, _ = g.dispatcher.counters.app_count[0]
            assert (good + late, rejected, dropped, failed) == (2, 0, 1, 0)
            assert len(g.live.replicas[0].batches) == 2  # the third was never computed

    run(play())


def test_a_deadline_of_the_clients_own():
    async def play():
        async with gateway(SLOW, clock=(clock := HandClock())) as g:
            first = asyncio.ensure_future(infer(g.port))
            await until(lambda: g.dispatcher.outstanding == 1)
            late = asyncio.ensure_future(infer(g.port, Tidal_Timeout_Seconds="0.1"))
            await until(lambda: g.dispatcher.outstanding == 2)
            clock.go(1.0)  # now a server is free, and nobody waits any more
            hurried = await late
            assert hurried.status == 503 and "waited too long" in hurried.body["error"]
            assert (await first).status == 200

    run(play())


def test_shedding_says_when_to_come_back():
    scenario = SLOW.with_(admission={"queue_limit_s": 0.4})  # one may wait, and one ahead of the server is one of those

    async def play():
        async with gateway(scenario, clock=(clock := HandClock())) as g:
            asking = [asyncio.ensure_future(infer(g.port)) for _ in range(6)]
            await until(lambda: sum(one.done() for one in asking) == 4)
            clock.go(1.0)
            answers = await asyncio.gather(*asking)
            by_status = sorted(answer.status for answer in answers)
            assert by_status == [200] * 2 + [503] * 4
            shed = next(answer for answer in answers if answer.status == 503)
            assert shed.headers["Retry-After"] == "1" and "waiting" in shed.body["error"]

    run(play())


def test_those_who_ask_again_at_once_are_turned_away_at_a_pace():
    """Twenty clients without patience, for a second: so many refusals, and not thousands. One alone hardly waits."""
    scenario, each_s = SLOW.with_(admission={"queue_limit_s": 0.4}), 100.0
    sent = message("POST", "/v2/models/s/infer", PAYLOAD, {"Connection": "keep-alive"})

    async def ask_until(port, end_s):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        count = 0
        while time.monotonic() < end_s:
            writer.write(sent)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
            assert head.startswith(b"HTTP/1.1 503 ")
            count += 1
        writer.close()
        return count

    async def play():
        async with gateway(scenario, clock=(clock := HandClock()), refusals_per_s=each_s) as g:
            waiting = [asyncio.ensure_future(infer(g.port)) for _ in range(2)]
            await until(lambda: g.dispatcher.outstanding == 2)
            begun_s = time.monotonic()
            counts = await asyncio.gather(*(ask_until(g.port, begun_s + 1.0) for _ in range(20)))
            took_s = time.monotonic() - begun_s
            assert 20 <= sum(counts) <= 2 * each_s * took_s + 40
            await until(lambda: not g.server.crowd.turned_away)
            begun_s = time.monotonic()
            assert await ask_until(g.port, begun_s + 0.5) >= 3
            clock.go(1.0)
            assert {answer.status for answer in await asyncio.gather(*waiting)} == {200}

    run(play())


def test_without_replicas():
    async def play():
        async with gateway(QUICK.with_(initial=())) as g:
            answers = {path: await call(g.port, "GET", path) for path in (
                "/v2/health/live", "/v2/health/ready", "/v2/models/s/ready")}
            assert [answer.status for answer in answers.values()] == [200, 503, 503]
            answer = await infer(g.port)
            assert answer.status == 503 and "no replica" in answer.body["error"]
            assert g.dispatcher.counters.app_count[0, 0] == 1  # offered, though nobody could serve it

    run(play())


def test_tenants_see_and_call_only_what_is_theirs():
    async def play():
        async with gateway(TENANTS, TOKENS, "scraper") as g:
            for headers in ({}, *({"Authorization": said} for said in ("Bearer wrong", "Basic alpha", "Bearer "))):
                for method, path, body in (("GET", "/v2/models/s", b""), ("POST", "/v2/models/s/infer", PAYLOAD),
                                           ("GET", "/metrics", b"")):
                    answer = await call(g.port, method, path, body, headers)
                    assert answer.status == 401 and answer.headers["WWW-Authenticate"] == "Bearer"
            alpha = {"Authorization": "Bearer alpha"}
            others = await call(g.port, "GET", "/v2/models/z", headers=alpha)
            nobodys = await call(g.port, "GET", "/v2/models/q", headers=alpha)
            assert others.status == nobodys.status == 404
            assert others.body["error"].replace("z", "q") == nobodys.body["error"]
            assert (await infer(g.port, "z", **alpha)).status == 404
            assert (await infer(g.port, "s", **alpha)).status == 200
            assert (await call(g.port, "GET", "/metrics", headers=alpha)).status == 401
            assert (await call(g.port, "GET", "/metrics", headers={"Authorization": "Bearer scraper"})).status == 200
            assert g.dispatcher.counters.app_count[:, 0].tolist() == [1, 0]

    run(play())


def test_a_quota_is_told_apart():
    async def play():
        async with gateway(TENANTS) as g:
            first, second = [await infer(g.port, "z") for _ in range(2)]
            assert (first.status, second.status) == (200, 429)
            assert second.headers["Retry-After"] == "2" and "quota" in second.body["error"]

    run(play())


def test_the_gateway_closes_in_good_order():
    async def play():
        async with gateway(SLOW, clock=(clock := HandClock())) as g:
            under_way = asyncio.ensure_future(infer(g.port))
            _, idle = await asyncio.open_connection("127.0.0.1", g.port)
            await until(lambda: g.dispatcher.outstanding == 1)
            closing = asyncio.ensure_future(g.server.close(patience_s=20))
            await until(lambda: len(g.server._served.connections) == 1)  # the idle one
            clock.go(1.0)
            await closing
            assert (await under_way).status == 200
            idle.close()
            with pytest.raises(OSError):
                await asyncio.open_connection("127.0.0.1", g.port)

    run(play())


def page_of(coroutine):
    async def play():
        async with gateway(TENANTS) as g:
            await coroutine(g)
            return (await call(g.port, "GET", "/metrics")).body

    return run(play())


async def some_requests(g):
    await asyncio.gather(*(infer(g.port, "s") for _ in range(5)))
    await infer(g.port, "z")
    await infer(g.port, "z")


def test_the_page_holds_the_whole_contract():
    page = page_of(some_requests).decode()
    families = {family.name: family for family in text_string_to_metric_families(page)}
    for series in m.CONTRACT:
        family = families[series.name.removesuffix("_total")]
        assert family.type == series.type
        assert all(set(sample.labels) - {"le"} == set(series.labels) for sample in family.samples)
    value = {(s.name, *sorted(s.labels.values())): s.value for f in families.values() for s in f.samples}
    assert value["tidal_requests_settled_total", "answered", "s"] == 5
    assert value["tidal_requests_settled_total", "rejected", "z"] == 1
    assert value["tidal_service_answers_total", "a", "s", "v"] == 5
    assert value["tidal_request_latency_seconds_count", "s"] == 5
    assert value["tidal_request_latency_seconds_sum", "s"] >= 5 * 0.005
    assert value["tidal_deployment_version",] == 3
    busy = next(s.value for s in families["tidal_kind_busy_server_seconds"].samples)
    assert 6 * 0.005 <= busy <= next(s.value for s in families["tidal_kind_ready_server_seconds"].samples)
    assert abs(value["tidal_exposition_timestamp_seconds",] - time.time()) < 10


def test_promtool_finds_nothing_to_say():
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian package prometheus)")
    checked = subprocess.run([promtool, "check", "metrics"], input=page_of(some_requests), capture_output=True, timeout=30)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")

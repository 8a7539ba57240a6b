"""Clients that lie, dawdle, send rubbish or have the wrong token: refused in time, and nobody else notices.

All against one `tidal serve` with tokens, while a tenant's clients go on asking it from another process.
"""

import json
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live_system import HERE
from running import Standstill, until

TENANTS = HERE / "scenarios" / "tenants.yaml"
TOKENS = {"operator": "operator" * 2, "scrape": "scrape" * 3, "tenants": {name: name * 4 for name in ("gold", "flood")}}
GOLD = b"Authorization: Bearer goldgoldgoldgold\r\n"
SLO_S = 1.0
SLOW_CLIENTS = 60
HEADER_S = 10.0  # `runtime.gateway.limits.Limits`
REFUSED = {400, 401, 404, 405, 408, 413, 415, 417, 431}


def body(data=(2.5,), shape=(1, 1), datatype="FP32", name="payload", **more):
    return {"inputs": [{"name": name, "datatype": datatype, "shape": list(shape), "data": list(data), **more}]}


def message(payload=b"", start=b"POST /v2/models/gold/infer HTTP/1.1", headers=b"", length=None, token=GOLD):
    """The bytes of a request."""
    payload = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    length = b"Content-Length: %d\r\n" % (len(payload) if length is None else length)
    return start + b"\r\nHost: here\r\n" + token + headers + length + b"\r\n" + payload


class Gateway:
    """The gateway under abuse."""

    def __init__(self, cluster):
        self.cluster, address = cluster, urlsplit(cluster.gateway)
        self._address = address.hostname, address.port

    def connect(self):
        return socket.create_connection(self._address, 10)

    def statuses(self, *parts, wait_s=5.0):
        """Statuses of all answers to what is sent, until the gateway hangs up or is silent for so long."""
        with self.connect() as connection:
            connection.settimeout(wait_s)
            said = b""
            try:
                for part in parts:
                    connection.sendall(part)
                while found := connection.recv(65536):
                    said += found
                    connection.settimeout(min(wait_s, 0.2))
            except (TimeoutError, ConnectionError):
                pass
        return [int(answer.split(b" ", 1)[0]) for answer in said.split(b"HTTP/1.1 ")[1:]]

    @property
    def files(self):
        """How many it has open."""
        return len(list(Path(f"/proc/{self.cluster.running.process.pid}/fd").iterdir()))

    @property
    def memory_bytes(self):
        status = Path(f"/proc/{self.cluster.running.process.pid}/status").read_text()
        return 1024 * int(status.partition("VmRSS:")[2].split()[0])


@pytest.fixture(scope="module")
def gateway(shared_system):
    """With slow clients from the beginning to the end, and good ones, who must not notice anything."""
    cluster = shared_system.cluster(scenario=TENANTS, tokens=TOKENS)
    gateway = Gateway(cluster)
    files, memory_bytes = gateway.files, gateway.memory_bytes
    with Standstill() as standstill:
        load = shared_system.load(cluster, 40, "gold", "goldgoldgoldgold")
        slow, began_s = [gateway.connect() for _ in range(SLOW_CLIENTS)], time.monotonic()
        for i, connection in enumerate(slow):
            connection.sendall(message(b"{", length=100) if i % 2 else b"POST /v2/models/gold/infer HTTP/1.1\r\nX-")
        yield gateway
        trickle(slow)
        assert time.monotonic() - began_s < HEADER_S + 20 + standstill.total_s
        assert load.end().all_right().within(SLO_S + standstill.total_s) > 0.99
    until(lambda: gateway.files < files + 5, "all files are closed")
    assert gateway.memory_bytes < memory_bytes + 100 * 2**20


def trickle(slow):
    """A byte now and then gains no time: all are hung up on."""
    while slow:
        for connection in list(slow):
            try:
                connection.setblocking(False)
                connection.send(b"a")
                ended = connection.recv(65536) == b""
            except BlockingIOError:
                ended = False
            except OSError:
                ended = True
            if ended:
                connection.close()
                slow.remove(connection)
        time.sleep(0.1)


def test_a_good_request_is_answered(gateway):
    assert gateway.statuses(message(body())) == [200]


@pytest.mark.parametrize("sent, statuses", [
    ([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200], [400]),  # TLS
    ([b"rubbish\r\n\r\n"], [400]),
    ([message(body(), start=b"POST /v2/models/gold/infer HTTP/3.7")], [400]),
    ([message(body()).replace(b"Host: here\r\n", b"")], [400]),
    ([message(body(), start=b"GET /v2/models/gold/infer HTTP/1.1")], [405]),
    ([message(body(), start=b"POST /v2/models/nobody/infer HTTP/1.1")], [404]),
    ([message(b"", headers=b"X-Long: " + b"x" * 20_000 + b"\r\n")], [431]),
    ([message(b"", headers=b"X-Many: x\r\n" * 20_000)], [431]),
    ([message(b"", length=10**9)], [413]),
    ([message(b"", length=10**30)], [400]),
    ([message(b"", length=-1)], [400]),
    ([message(body(), headers=b"Content-Length: 3\r\n")], [400]),
    ([message(body(), headers=b"Transfer-Encoding: chunked\r\n")], [400]),
    ([message(b"zzz\r\n", headers=b"Transfer-Encoding: chunked\r\n").replace(b"Content-Length: 5\r\n", b"")], [400]),
    ([message(body(), headers=b"Content-Encoding: gzip\r\n")], [415]),
    ([message(b"{")], [400]),
    ([message(b"[" * 100_000)], [400]),
    ([message(b'{"inputs": [{"a":' * 10_000)], [400]),
    ([message(b"\xff\xfe\x00")], [400]),
    ([message({"inputs": 3})], [400]),
    ([message(body(data=["x"]))], [400]),
    ([message(body(data=[1, 2]))], [400]),
    ([message(body(shape=[1, 10**12]))], [400]),
    ([message(body(shape=[-1, 1]))], [400]),
    ([message(body(datatype="BYTES"))], [400]),
    ([message(body(name="other"))], [400]),
    ([message(b'{"inputs": [{"name": "payload", "datatype": "FP32", "shape": [1, 1], "data": [1e999]}]}')], [400]),
    ([message(body(), headers=b"Inference-Header-Content-Length: 999999\r\n")], [400]),
    ([message(body(), headers=b"Inference-Header-Content-Length: -1\r\n")], [400]),
    ([message(body(), headers=b"Inference-Header-Content-Length: 1e3\r\n")], [400]),
    ([message(body(parameters={"binary_data_size": 10**9}))], [400]),
    ([message(body(parameters={"binary_data_size": -4}))], [400]),
    ([message(body(parameters={"binary_data_size": True}))], [400]),
    ([message(body(), headers=b"Tidal-Timeout-Seconds: nan\r\n")], [400]),
    ([message(body()) * 3], [200, 200, 200]),
    ([message(body()) * 2 + b"\x00\x01rubbish\r\n\r\n"], [200, 200, 400]),  # what came before is answered before
    ([message(body()) + message(b"", length=10**9)], [200, 413]),
    ([message(body(), token=b"")], [401]),
    ([message(body(), token=b"Authorization: Bearer wrong\r\n")], [401]),
    ([message(body(), token=b"Authorization: Basic goldgoldgoldgold\r\n")], [401]),
    ([message(body(), token=b"Authorization: Bearer " + TOKENS["operator"].encode() + b"\r\n")], [401]),
    ([message(body(), start=b"POST /v2/models/flood/infer HTTP/1.1")], [404]),  # another tenant's is not there for it
    ([message(start=b"GET /metrics HTTP/1.1")], [401]),
])
def test_what_is_wrong_is_refused_with_its_status(gateway, sent, statuses):
    assert gateway.statuses(*sent) == statuses


def test_a_body_that_is_shorter_than_it_says_or_half_of_it_is_nobody_s(gateway):
    before = gateway.cluster.sums("tidal_requests_offered_total", application="flood")
    for part in (message(body(), length=1_000), message(body())[:-5]):
        with gateway.connect() as connection:
            connection.sendall(part.replace(b"goldgoldgoldgold", b"floodfloodfloodflood").replace(b"gold", b"flood"))
    assert gateway.cluster.sums("tidal_requests_offered_total", application="flood") == before
    assert gateway.statuses(message(body())) == [200]


@pytest.mark.parametrize("method, path, token, status", [
    ("GET", "/v1/deployment", None, 401),
    ("GET", "/v1/deployment", "wrong" * 4, 401),
    ("GET", "/v1/events", TOKENS["scrape"], 401),
    ("GET", "/v1/deployment", "goldgoldgoldgold", 200),
    ("PUT", "/v1/deployment", "goldgoldgoldgold", 403),
    ("POST", "/v1/rollback", "goldgoldgoldgold", 403),
    ("POST", "/v1/pause", "goldgoldgoldgold", 403),
    ("PUT", "/v1/deployment", TOKENS["operator"], 400),
    ("GET", "/v1/../etc/passwd", TOKENS["operator"], 404),
    ("DELETE", "/v1/deployment", TOKENS["operator"], 405),
])
def test_the_control_api_refuses_who_may_not(gateway, method, path, token, status):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    asked = requests.Request(method, gateway.cluster.control, headers=headers | {"Content-Type": "application/json"},
                             data=b"{" if method == "PUT" else b"{}" if method == "POST" else None).prepare()
    asked.url = gateway.cluster.control + path
    version = gateway.cluster.version
    with requests.Session() as session:
        assert session.send(asked, timeout=20).status_code == status
    assert gateway.cluster.version == version


def test_a_tenant_sees_its_own_only(gateway):
    own = requests.get(f"{gateway.cluster.control}/v1/observation", timeout=20,
                       headers={"Authorization": "Bearer goldgoldgoldgold"}).json()
    assert set(own["applications"]) == set(own["services"]) == {"gold"} and not own["devices"]


# ---- rubbish at random

GOOD = message(body())
HEADERS = st.lists(st.tuples(st.from_regex(rb"[!-~]{1,20}", fullmatch=True), st.binary(max_size=40)), max_size=8).map(
    lambda rows: b"".join(name + b": " + value + b"\r\n" for name, value in rows))
JSON = st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4))
LIKE_OURS = st.fixed_dictionaries({"inputs": st.lists(st.fixed_dictionaries(
    {"name": st.sampled_from(["payload", "x"]), "datatype": st.sampled_from(["FP32", "INT8", "BOOL", "FP16"]), "data": JSON,
     "shape": st.lists(st.integers(-2, 2**70), max_size=3) | JSON, "parameters": JSON}), max_size=3)}) | JSON


@st.composite
def damaged(draw):
    """A good request of which some bytes are others, too many, or not there."""
    said = bytearray(GOOD)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(said) - 1))
        said[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(said)


ANYTHING = (damaged() | st.binary(max_size=300) | st.builds(message, LIKE_OURS.map(lambda v: json.dumps(v).encode()))
            | st.builds(lambda more, rest: message(rest, headers=more), HEADERS, st.binary(max_size=60)))


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(said=ANYTHING, cut=st.integers(0, 10**6))
def test_whatever_comes_is_answered_as_the_client_s_mistake(gateway, said, cut):
    cut %= len(said) + 1
    statuses = gateway.statuses(said[:cut], said[cut:], wait_s=0.03)
    assert set(statuses) <= REFUSED | {200}
    assert gateway.cluster.running.running

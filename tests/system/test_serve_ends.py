"""`tidal serve` told to end under load answers what is under way and leaves; an address that is taken is one line."""

import json
import signal
import socket
from urllib.parse import urlsplit

import pytest
from live_system import ECHO, MODELS
from running import until

UNDER_WAY = 15


def request(number):
    """The bytes of a request for an answer with this number."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [number]}
    body = json.dumps({"id": str(number), "inputs": [tensor]}).encode()
    return b"POST /v2/models/classify/infer HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def read_all(connection):
    connection.settimeout(30)
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_what_is_under_way_is_answered_and_then_it_ends(system, number):
    """When the signal comes, most of what the gateway has taken still waits, new workers load and an old one drains."""
    cluster = system.cluster(models=MODELS | {"quick": "echo_models:slow"})  # 0.1 s a request
    load = system.load(cluster, 5)
    address = urlsplit(cluster.gateway)
    connections = [socket.create_connection((address.hostname, address.port)) for _ in range(UNDER_WAY)]
    before = cluster.sums("tidal_requests_offered_total")
    for i, connection in enumerate(connections):
        connection.sendall(request(i + 1))
    until(lambda: cluster.sums("tidal_requests_offered_total") >= before + UNDER_WAY, "all have come")
    cluster.want(0, 1, 2, 0, 0)
    cluster.running.send(number)
    for i, connection in enumerate(connections):
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), (head, body, cluster.running.text)
        assert json.loads(body)["id"] == str(i + 1) and json.loads(body)["outputs"][0]["data"] == [i + 1]
        connection.close()
    assert cluster.running.wait() == 0, cluster.running.text
    assert "Traceback" not in cluster.running.text and "ERROR" not in cluster.running.text, cluster.running.text
    answers = load.end()
    assert answers.statuses[200] > 0 and all(row["right"] for row in answers.rows if row["status"] == 200)
    assert set(answers.statuses) <= {0, 200, 503}  # 0: nobody took it


def test_an_address_that_is_taken_is_one_line(system):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        commands = []
        for taken in ("gateway", "control"):
            addresses = {"gateway": "127.0.0.1:0", "control": "127.0.0.1:0", taken: f"127.0.0.1:{port}"}
            options = [word for name, where in addresses.items() for word in (f"--{name}", where)]
            commands.append(system.processes.tidal("serve", "--scenario", ECHO, *options))
        for command in commands:
            assert command.wait() == 1
            assert len(command.lines) == 1 and command.text.startswith("tidal: ")
            assert port in command.text and "address already in use" in command.text

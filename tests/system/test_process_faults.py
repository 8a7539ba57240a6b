"""The cluster process killed while it serves, out of disk, out of descriptors: what its clients and its workers see of it."""

import contextlib
import json
import os
import resource
import signal
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from live_system import MODELS
from running import free_port, until

pytestmark = pytest.mark.slow
INFER = "/v2/models/classify/infer"


def serve(system, *arguments, **more):
    """A cluster at addresses that are the same in its next life."""
    ports = [free_port(), free_port()]
    addresses = [word for name, port in zip(("--gateway", "--control"), ports) for word in (name, f"127.0.0.1:{port}")]
    state = ("--state", system.folder / "state.json")
    return lambda: system.cluster(*state, *addresses, *arguments, **more)


def request(number):
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [float(number)]}
    return {"id": str(number), "inputs": [tensor]}


def infer(cluster, number):
    return requests.post(cluster.gateway + INFER, json=request(number), timeout=30.0)


def test_after_a_kill_of_the_gateway_a_retry_with_the_same_id_is_executed_once_more_at_most_and_answered_once(system):
    log = system.folder / "echo.log"
    log.touch()
    start = serve(system, models=MODELS | {"quick": "echo_models:slow"}, ECHO_LOG=str(log))
    cluster = start()
    address = urlsplit(cluster.gateway)
    body = json.dumps(request(7)).encode()
    with socket.create_connection((address.hostname, address.port)) as client:
        client.sendall(b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (INFER.encode(), len(body), body))
        until(lambda: "begin" in log.read_text(), "a worker computes it")
        cluster.running.kill()
        with contextlib.suppress(ConnectionError):
            assert client.recv(65536) == b""  # not answered there, ever
    again = start()
    answer = infer(again, 7)
    assert answer.status_code == 200 and answer.json()["id"] == "7" and answer.json()["outputs"][0]["data"] == [7.0]
    begun = [line.split() for line in log.read_text().splitlines() if line.startswith("begin")]
    assert [numbers for _, _, *numbers in begun] == [["7"], ["7"]]  # once for each time that it was sent
    assert {pid for _, pid, *_ in begun} == {begun[0][1]}  # by the worker of before
    assert again.running.end() == 0, again.running.text


@contextlib.contextmanager
def limited(cluster, which, soft):
    """A limit of the running process, lowered."""
    pid = cluster.running.process.pid
    before = resource.prlimit(pid, which)
    resource.prlimit(pid, which, (soft, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, which, before)


def test_with_a_full_disk_it_serves_on_replaces_what_failed_and_refuses_changes(system):
    cluster = serve(system, models=MODELS)()
    cluster.want(2, 0, 0, 0, 0)
    cluster.settles()
    before = cluster.version
    worker, _ = [part["process"]["pid"] for row in json.loads((system.folder / "state.json").read_text())["replicas"]
                for part in row["whereabouts"]["parts"]]
    load = system.load(cluster, 20)
    with limited(cluster, resource.RLIMIT_FSIZE, 1):
        with pytest.raises(AssertionError, match=r"state\.json|too large"):
            cluster.want(3, 0, 0, 0, 0)
        assert cluster.version == before
        last = cluster.events()[-1]["number"]
        os.kill(worker, signal.SIGKILL)
        until(lambda: cluster.events("ready", last), lambda: f"it is replaced:\n{cluster.running.text}")
        assert cluster.events("not remembered", last)
    load.end().all_right()
    cluster.want(3, 0, 0, 0, 0)
    cluster.settles()
    remembered = json.loads((system.folder / "state.json").read_text())
    assert len(remembered["replicas"]) == 3 and remembered["versions"][-1]["number"] == cluster.version


def test_without_descriptors_connections_that_are_there_go_on_and_afterwards_new_ones_are_taken(system):
    cluster = serve(system, models=MODELS)()
    pid = cluster.running.process.pid
    with requests.Session() as session:
        assert session.get(f"{cluster.gateway}/v2").ok
        highest = max(int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir())
        with limited(cluster, resource.RLIMIT_NOFILE, highest + 1):
            for _ in range(20):
                with contextlib.suppress(OSError):
                    requests.get(f"{cluster.gateway}/v2", timeout=0.05)
            assert session.get(f"{cluster.gateway}/v2").ok
    assert infer(cluster, 3).status_code == 200
    assert cluster.running.running

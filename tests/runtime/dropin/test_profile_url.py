"""`tidal profile URL`: the search against InfAdapter's recipe as it is simulated, and a real server, whole."""

import asyncio
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from envs.capacity import capacity_rps
from envs.contract import Shape
from envs.profiles import Profile
from runtime import measured_capacity
from runtime.__main__ import main
from runtime.load_generator import Played
from runtime.measured_capacity import NoCapacity, measure, worst_p99_s

SERVICE_S, SLO_S = 0.02, 0.1


def played(due_s, latency_s, status=200, late_s=0.0):
    due = np.asarray(due_s, float)
    return Played(due, due + late_s, due + latency_s, np.full(len(due), status), [""] * len(due))


def a_server_that(monkeypatch, answers, alone_s=SERVICE_S, saturation_rps=1 / SERVICE_S):
    """A service whose answers are worked out, not waited for."""
    async def known(value):
        return value

    async def send(session, target, body, due_s, begin_s=None):
        return answers(np.asarray(due_s, float))

    monkeypatch.setattr(measured_capacity, "send", send)
    monkeypatch.setattr(measured_capacity, "_alone_s", lambda *_: known(alone_s))
    monkeypatch.setattr(measured_capacity, "_saturation_rps", lambda *_: known(saturation_rps))
    monkeypatch.setattr(measured_capacity, "REST_S", 0.0)


def first_come_first_served(due_s):
    """One server, a fixed service time."""
    done = np.empty(len(due_s))
    free_s = 0.0
    for i, t in enumerate(due_s):
        done[i] = free_s = max(t, free_s) + SERVICE_S
    return played(due_s, done - due_s)


def test_the_capacity_of_a_queue_is_the_one_that_the_simulated_recipe_gives(monkeypatch):
    a_server_that(monkeypatch, first_come_first_served)
    found = [asyncio.run(measure("http://x", None, SLO_S, seed=seed)) for seed in range(8)]
    assert all(one.limited and len(one.probes) > 3 for one in found)
    expected = capacity_rps(1, SERVICE_S, SLO_S)
    assert np.mean([one.rps for one in found]) == pytest.approx(expected, rel=0.1)  # one measurement is noisy


def test_a_client_that_cannot_keep_up_says_so_and_gives_a_lower_limit(monkeypatch):
    a_server_that(monkeypatch, lambda due: played(due, 0.01, late_s=0.0 if len(due) < 16 * 30 else 1.0))
    found = asyncio.run(measure("http://x", None, SLO_S))
    assert not found.limited and found.rps < 33


def test_errors_are_no_capacity(monkeypatch):
    a_server_that(monkeypatch, lambda due: played(due, 0.01, status=503))
    with pytest.raises(NoCapacity, match="have a P99 above the SLO"):
        asyncio.run(measure("http://x", None, SLO_S))
    a_server_that(monkeypatch, first_come_first_served, alone_s=0.2)
    with pytest.raises(NoCapacity, match="a request alone takes"):
        asyncio.run(measure("http://x", None, SLO_S))


def test_the_worst_window_counts():
    due = np.arange(0, 8, 0.01)
    latency = np.where(due // 2 == 2, 0.3, 0.1)
    assert worst_p99_s(played(due, latency)) == pytest.approx(0.3)
    one = played(due, latency)
    one.status[5] = 500
    assert worst_p99_s(one) == np.inf


@contextmanager
def serving_one_at_a_time(service_s):
    lock = threading.Lock()

    class Model(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                time.sleep(service_s)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/predict"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.slow
def test_a_real_server_is_measured_and_its_profile_can_be_used(tmp_path, capsys):
    body, latencies, capacities = tmp_path / "body.json", tmp_path / "latency.csv", tmp_path / "capacity.csv"
    body.write_text('{"x": 1}')
    cells = "variant,device,cores,inter_op,intra_op,batch,stage,latency_s"
    latencies.write_text(f"{cells}\nsmall,cpu,1,1,1,1,0,7\nlarge,cpu,1,1,1,1,0,8\n")
    with serving_one_at_a_time(0.03) as url:
        assert main(["profile", url, "--slo", "2", "--probe", "4", "--body", str(body), "--variant", "small",
                     "--out", str(latencies), "--capacities", str(capacities)]) == 0, capsys.readouterr().err
    assert [line.split(",")[0] for line in latencies.read_text().splitlines()] == ["variant", "large", "small"]
    assert capacities.read_text().splitlines()[0] == "variant,device,cores,inter_op,intra_op,batch,capacity_rps"
    profile = Profile.read(latencies, capacities)
    service_s = sum(profile.latency_s("small", Shape(1), 1))
    assert 0.02 < service_s < 0.12  # 30 ms, and what a machine under load adds


def test_what_cannot_be_measured_is_told_in_one_line(tmp_path, capsys):
    assert main(["profile", "http://127.0.0.1:9/", "--slo", "1"]) == 1
    assert "no answer to a request alone" in capsys.readouterr().err
    assert main(["profile", "http://127.0.0.1:9/", "--slo", "0"]) == 1
    assert "give --slo > 0" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["profile", "http://127.0.0.1:9/"])
    assert caught.value.code == 2 and "--slo" in capsys.readouterr().err

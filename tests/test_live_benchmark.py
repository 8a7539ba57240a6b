"""The load tool of `benchmarks/live.py` sees what a server does wrong, and its parts write the rows that they promise."""

import socket
import threading
from contextlib import contextmanager

import numpy as np
import pytest

from benchmarks.measure_live import changes, deciding, watching
from benchmarks.measure_live.load import Target, closed_loop, open_loop, poisson
from benchmarks.measure_live.processes import Server


def answer(number, status=200, more=b""):
    body = b'{"id":"%d","outputs":[{"data":[%d.0,0.0]}]}' % (number, number)
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%s%s" % (status, len(body), body, more)


@contextmanager
def serving(reply):
    """A server that sends what `reply(number)` says to each request, None: hangs up. Gives its port."""

    def serve(connection):
        with connection:
            while data := connection.recv(65536):
                number = int(data.partition(b'"id":"')[2].partition(b'"')[0])
                said = reply(number)
                if said is None:
                    return
                for part in (said[:20], said[20:]):  # in two pieces, as networks do
                    connection.sendall(part)

    def accept():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


DUE_S = np.arange(40) * 0.002


@pytest.mark.parametrize("reply, failed, statuses", [
    (answer, 0, {200}),
    (lambda n: answer(n, 503 if n % 4 == 0 else 200), 10, {200, 503}),
    (lambda n: answer(n + 1 if n % 4 == 0 else n), 10, {200}),                       # another's answer
    (lambda n: answer(n, more=answer(n) if n % 4 == 0 else b""), 10, {200}),         # the same one twice
    (lambda n: None if n % 4 == 0 else answer(n), 10, {200, 0}),                     # no answer
])  # fmt: skip
def test_open_loop_counts_what_is_not_answered_as_it_should_be(reply, failed, statuses):
    with serving(reply) as port:
        played = open_loop(Target(port, values=2), DUE_S)
    assert len(played.status) == len(DUE_S) and set(played.status) == statuses
    assert played.failed == failed


def test_an_open_loop_s_latency_counts_from_when_a_request_was_due():
    gate = threading.Event()

    def reply(number):
        if number == 0:
            gate.wait(0.3)  # all the others are due meanwhile, on the one connection that there is
        return answer(number)

    with serving(reply) as port:
        played = open_loop(Target(port, values=2), DUE_S, 16)
        assert played.failed == 0 and played.latency_s[0] >= 0.3
    assert (played.done_s >= played.due_s).all() and (played.sent_s >= played.due_s).all()


def test_a_closed_loop_has_one_request_under_way_on_each_connection():
    under_way, most, lock = 0, 0, threading.Lock()

    def reply(number):
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        threading.Event().wait(0.001)
        with lock:
            under_way -= 1
        return answer(number)

    with serving(reply) as port:
        played = closed_loop(Target(port, values=2), 3, 0.2)
    assert played.failed == 0 and played.answered == len(played.status) > 3
    assert most <= 3


def test_arrivals_have_the_rate_that_was_asked_for():
    due_s = poisson(1000.0, 20.0, 0)
    assert len(due_s) == 20_000 and due_s[-1] == pytest.approx(20.0, rel=5 / np.sqrt(20_000))
    assert (np.diff(due_s) > 0).all()


def test_a_server_s_processes_are_found_and_ended_also_those_that_it_detached():
    sleeps = "[sys.executable, '-c', 'import time; time.sleep(60)']"
    code = f"import subprocess, sys, time; subprocess.Popen({sleeps}, start_new_session=True)"
    server = Server("timeit", "-n", "1", "-r", "1", f"{code}; print('up', flush=True); time.sleep(60)")
    try:
        server.waits_for("up")
        assert len(server.processes()) == 2 and server.cpu_s() > 0
        server.kill()
        assert len([pid for pid in server.processes() if pid != server.pid]) == 1
    finally:
        server.end(5.0)
    assert [pid for pid in server.processes() if pid != server.pid] == []


def test_the_notes_of_models_tell_which_requests_were_begun_again_and_where(tmp_path):
    notes = tmp_path / "notes"
    notes.write_text("7 1.0 -1\n7 1.1 0 1\n8 1.2 2\n8 1.3 1\n9 1.4 1\n")
    begun = changes._begun(notes)
    assert {number: [pid for pid, _ in times] for number, times in begun.items()} == {0: [7], 1: [7, 8, 9], 2: [8]}
    again = {number: times for number, times in begun.items() if len(times) > 1}
    assert changes._per_kill(again) == {7: 1, 8: 1}


def test_decisions_are_timed_up_to_the_actuator():
    cached, read = deciding.rows(8)
    assert cached["unit"] == read["unit"] == "s" and cached["value"] > 0 and read["value"] > 0
    assert cached["target"] == 0.050


@pytest.mark.slow
def test_open_pages_cost_something_to_tell(monkeypatch):
    monkeypatch.setattr(watching, "SETTLE_S", 0.2)
    monkeypatch.setattr(watching, "MOST_LISTENERS", 2)
    found = {row["figure"]: row for row in watching.rows(1.5)}
    assert [row["unit"] for row in found.values()] == ["cores"] * 3 + ["bytes/s"]
    assert all(0 <= row["value"] < 2 for row in found.values() if row["unit"] == "cores")
    assert found["told to one page"]["value"] > 50

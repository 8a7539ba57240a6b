"""The actuator of Ray Serve against a real Ray Serve: what is wanted becomes so, and no request is lost over it."""

import shutil
import tempfile
import threading
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="the extra ray is not installed")

import requests
from live_system import HERE, TIMEOUT_S
from running import until

from envs.contract import Deployment, ReplicaKind, Shape
from runtime.actuators.actuator import ActuatorError
from runtime.actuators.ray_serve import RayServeWorkload
from runtime.actuators.workloads import Workloads

pytestmark = pytest.mark.slow

STARTS_S, CHANGES_S = 180.0, 60.0
KIND = ReplicaKind(("model",), Shape(1), 4)
LEVELS = (3, 1, 2, 4, 1, 3, 2, 1, 4, 1)
REQUESTS, CLIENTS = 1000, 8


@pytest.fixture(scope="module")
def served(shared_system):
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # paths of sockets must be short
    token = folder / "token"
    token.write_text("a" * 32)
    running = shared_system.processes.python(
        HERE / "ray_serve_app.py", PYTHONPATH=f"{HERE.parent / 'runtime'}:{HERE.parents[1]}", RAY_TMPDIR=str(folder),
        RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(token), RAY_USAGE_STATS_ENABLED="0")
    yield *running.waits_for(r"^serving (\S+) (\S+)", STARTS_S), token
    running.process.stdin.close()
    try:
        assert running.wait() == 0, running.text
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def workload(served):
    _, dashboard, token = served
    return lambda place="app/model": RayServeWorkload(dashboard, place, token)


@pytest.fixture
def actuator(workload):
    made = Workloads({KIND: workload()}, timeout_s=TIMEOUT_S)
    yield made
    made.close()


def states(served):
    """Of the replicas, as Ray says."""
    _, dashboard, token = served
    headers = {"Authorization": f"Bearer {token.read_text()}"}
    found = requests.get(f"{dashboard}/api/serve/applications/", headers=headers, timeout=TIMEOUT_S).json()
    return [replica["state"] for replica in found["applications"]["app"]["deployments"]["model"]["replicas"]]


class Clients:
    """Ask all the time, so many times at least, until told to end; by thread, the statuses of what was answered."""

    def __init__(self, url, count):
        self.statuses, self._end = [], threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(url,), daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _ask(self, url):
        with requests.Session() as session:
            while not self._end.is_set():
                try:
                    self.statuses.append(session.get(url, timeout=TIMEOUT_S).status_code)
                except requests.RequestException as error:
                    self.statuses.append(error)

    def end(self):
        self._end.set()
        for thread in self._threads:
            thread.join(2 * TIMEOUT_S)
        return self.statuses


def test_a_thousand_requests_over_ten_changes_and_none_is_lost(served, actuator):
    clients = Clients(served[0], CLIENTS)
    try:
        for number, level in enumerate(LEVELS):
            asked = len(clients.statuses)
            found = actuator.apply(Deployment({KIND: level}), actuator.current().version, f"j/{number}")
            assert found.status == "applied", found
            until(lambda: states(served) == ["RUNNING"] * level, lambda: str(states(served)), CHANGES_S)  # noqa: B023
            assert actuator.current().deployment == Deployment({KIND: level})
            until(lambda: len(clients.statuses) >= asked + REQUESTS / len(LEVELS), "requests", CHANGES_S)  # noqa: B023
    finally:
        statuses = clients.end()
    assert len(statuses) >= REQUESTS and set(statuses) == {200}
    print(f"{len(statuses)} requests, {len(LEVELS)} changes")


def test_another_writer_is_a_conflict_and_what_is_not_there_is_told(actuator, workload):
    version, other = actuator.current().version, workload()
    before = other.replicas()
    assert other.scale(before + 1, before).status == "applied"
    assert actuator.apply(Deployment({KIND: 1}), version, "k/1").status == "conflict"
    assert other.replicas() == before + 1
    assert other.scale(-1, before + 1).status == "refused"
    absent = workload("app/nothing")
    with pytest.raises(ActuatorError, match="there is no app/nothing"):
        absent.replicas()
    assert absent.scale(1, 1).status == "refused"


def test_without_the_token_nothing_can_be_read_or_done(served):
    stranger = RayServeWorkload(served[1], "app/model")
    with pytest.raises(ActuatorError, match="HTTP 401"):
        stranger.replicas()
    assert stranger.scale(1, 1).status == "refused"

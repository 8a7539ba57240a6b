"""Actuators: conditional on the version, idempotent by decision, in time, with a reason for what was not done."""

import contextlib
import time
from http.server import BaseHTTPRequestHandler

import pytest
from autoscaling import PATIENCE_S
from simulated_service import TOKEN, SimulatedService, serve, serving

from envs.scenario_file import load
from runtime.account import Account, Grounds
from runtime.actuators.actuator import ActuatorError, Outcome
from runtime.actuators.cluster import ClusterActuator
from runtime.actuators.dry_run import DryRun
from runtime.control_reader import ControlReader, ControlUnreachable

SCENARIO = load("live-demo")
FIRST, SECOND, THIRD = SCENARIO.initial_deployment, SCENARIO.deployment((2, 0, 0)), SCENARIO.deployment((0, 2, 0))


@pytest.fixture
def service():
    return SimulatedService(SCENARIO, {})


@pytest.fixture(params=["cluster", "dry-run"])
def actuator(request, service, tmp_path):
    if request.param == "dry-run":
        yield DryRun(FIRST)
        return
    (tmp_path / "token").write_text(TOKEN)
    with serve(service) as url:
        client = ClusterActuator(url, tmp_path / "token", PATIENCE_S)
        yield client
        client.close()


def test_what_is_applied_is_in_force(actuator):
    before = actuator.current()
    assert (before.deployment, before.decision_id) == (FIRST, "")
    found = actuator.apply(SECOND, before.version, "j/1")
    after = actuator.current()
    assert found == Outcome("applied", after.version) and after.version != before.version
    assert (after.deployment, after.decision_id) == (SECOND, "j/1")


def test_the_same_decision_twice_is_done_once(actuator):
    version = actuator.current().version
    first = actuator.apply(SECOND, version, "j/1")
    assert actuator.apply(SECOND, version, "j/1") == first
    assert actuator.apply(THIRD, version, "j/1") == first  # whatever it says the second time
    assert actuator.current().deployment == SECOND


def test_another_version_in_force_is_a_conflict_and_nothing_is_done(actuator):
    version = actuator.current().version
    actuator.apply(SECOND, version, "somebody else's")
    found = actuator.apply(THIRD, version, "j/1")
    assert (found.status, found.version) == ("conflict", actuator.current().version)
    assert actuator.current().deployment == SECOND


def test_without_the_token_nothing_can_be_read_or_done(service, tmp_path):
    with serve(service) as url:
        (tmp_path / "token").write_text("a guess")
        for token_file in (None, tmp_path / "token"):
            client = ClusterActuator(url, token_file, PATIENCE_S)
            with pytest.raises(ActuatorError, match="HTTP 401 a bearer token is needed"):
                client.current()
            assert client.apply(SECOND, "1", "j/1") == Outcome("refused", "1", "HTTP 401 a bearer token is needed")
            client.close()
    assert service.accepted == []


def test_a_token_may_be_changed_while_it_runs(service, tmp_path):
    with serve(service) as url:
        (tmp_path / "token").write_text("an old one")
        client = ClusterActuator(url, tmp_path / "token", PATIENCE_S)
        with pytest.raises(ActuatorError):
            client.current()
        (tmp_path / "token").write_text(TOKEN)
        assert client.current().deployment == FIRST
        (tmp_path / "token").unlink()
        assert client.apply(SECOND, "1", "j/1").status == "unknown"
        client.close()


def test_a_decision_is_told(service, tmp_path):
    (tmp_path / "token").write_text(TOKEN)
    with serve(service) as url:
        client = ClusterActuator(url, tmp_path / "token", PATIENCE_S)
        grounds = Grounds("ppo", "load", ("a bound",))
        client.tell(Account("j/1", 5.0, 10.0, "act", "applied", "1 x large @1c", grounds, "trouble"))
        client.close()
    assert service.told == [{"decision_id": "j/1", "t_s": 5.0, "interval_s": 10.0, "mode": "act", "status": "applied",
                             "deployment": "1 x large @1c",
                             "policy": "ppo", "reason": "load", "bounds": ["a bound"], "trouble": "trouble"}]


def test_one_who_does_not_answer_is_not_waited_for_twice():
    account = Account("j/1", 5.0, 10.0, "act", "unknown", "nothing", Grounds())
    with serving(Stub, pause_s=0.6) as url:
        client = ClusterActuator(url, timeout_s=0.2)
        with pytest.raises(ActuatorError):
            client.current()
        began = time.monotonic()
        client.tell(account)
        assert time.monotonic() - began < 0.1
        client.close()
    with serving(Stub, status=500) as url:
        client = ClusterActuator(url)
        client.tell(account)  # what goes wrong is nobody's trouble
        client.close()


class Stub(BaseHTTPRequestHandler):
    status, body, pause_s = 200, b"{}", 0.0

    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep(self.pause_s)
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        with contextlib.suppress(OSError):  # the client may have gone
            self.wfile.write(self.body)

    do_PUT = do_GET

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("answer, status", [
    ({"status": 500}, "unknown"),
    ({"status": 400, "body": b'{"error": "no such kind"}'}, "refused"),
    ({"status": 412, "body": b"<html>"}, "unknown"),
    ({"status": 200, "body": b"[]"}, "unknown"),
    ({"status": 200, "body": b'{"version": "2", "deployment": {}}'}, "unknown"),
    ({"status": 302}, "unknown"),
    ({"pause_s": 0.6}, "unknown"),
])
def test_odd_answers_are_no_success(answer, status):
    with serving(Stub, **answer) as url:
        client = ClusterActuator(url, timeout_s=0.2)
        began = time.monotonic()
        found = client.apply(SECOND, "1", "j/1")
        assert time.monotonic() - began < 0.5
        assert found.status == status and found.detail
        with pytest.raises(ActuatorError):
            client.current()
    client.close()


def test_a_cluster_of_another_version_of_the_control_api():
    with serving(Stub, status=404, body=b'{"error": "GET /v1/deployment: Not Found"}') as url:
        client, reader = ClusterActuator(url), ControlReader(url)
        for ask, error in ((client.current, ActuatorError), (lambda: reader.get("/v1/deployment"), ControlUnreachable)):
            with pytest.raises(error, match="Not Found; this Tidal speaks version 1 of the control API: use the one that"):
                ask()
        client.close()
        reader.close()


def test_nobody_there():
    with serving(Stub) as url:
        pass
    client = ClusterActuator(url, timeout_s=0.5)
    assert client.apply(SECOND, "1", "j/1").status == "unknown"
    with pytest.raises(ActuatorError):
        client.current()
    client.close()

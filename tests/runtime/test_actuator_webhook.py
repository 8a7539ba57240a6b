"""A webhook is posted each deployment; and what is in force where nobody can be asked is what the journal knows."""

import json
from http.server import BaseHTTPRequestHandler

import pytest
from simulated_service import serving

from envs.scenario_file import load
from runtime.account import Grounds
from runtime.actuators.accepted import last_applied
from runtime.actuators.webhook import Webhook
from runtime.autoscaler.journal import Journal
from runtime.deployment_json import to_json

SCENARIO = load("live-demo")
FIRST, SECOND = SCENARIO.initial_deployment, SCENARIO.deployment((2, 0, 0))


class Hook(BaseHTTPRequestHandler):
    status, posted = 200, None

    def do_POST(self):
        self.posted.append((self.headers, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
        self.send_response(self.status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def hook(tmp_path):
    (tmp_path / "token").write_text("a secret\n")

    def call(status):
        posted = []
        with serving(Hook, status=status, posted=posted) as url:
            actuator = Webhook(FIRST, "", url, tmp_path / "token", timeout_s=10.0)
            version = actuator.current().version
            found = [actuator.apply(SECOND, version, "j/1", Grounds("hpa", "load", ("a bound",))) for _ in range(2)]
            actuator.close()
        return found, actuator.current(), posted

    return call


def test_a_deployment_is_posted_once(hook):
    found, in_force, posted = hook(204)
    assert [f.status for f in found] == ["applied", "applied"]
    assert (in_force.deployment, in_force.decision_id) == (SECOND, "j/1")
    ((headers, body),) = posted
    assert (headers["Authorization"], headers["Idempotency-Key"]) == ("Bearer a secret", "j/1")
    assert body == {"deployment": to_json(SECOND), "before": to_json(FIRST), "decision_id": "j/1", "policy": "hpa",
                    "reason": "load", "bounds": ["a bound"]}


@pytest.mark.parametrize("status, told", [(409, "conflict"), (412, "conflict"), (400, "refused"), (500, "unknown"),
                                          (302, "unknown")])
def test_what_is_not_accepted_is_not_in_force_and_is_posted_again(hook, status, told):
    found, in_force, posted = hook(status)
    assert {f.status for f in found} == {told} and found[0].detail
    assert in_force.deployment == FIRST and len(posted) == 2


def test_the_journal_knows_what_was_applied_last(tmp_path):
    assert last_applied(tmp_path / "none", SCENARIO) is None
    journal = Journal(tmp_path)
    for number, (deployment, status) in enumerate([(FIRST, "applied"), (SECOND, "applied"), (FIRST, "unknown")]):
        journal.append({"type": "intent", "decision_id": f"j/{number}", "scenario": SCENARIO.name,
                        "deployment": to_json(deployment)})
        journal.append({"type": "outcome", "decision_id": f"j/{number}", "status": status})
    journal.close()
    assert last_applied(tmp_path, SCENARIO) == (SECOND, "j/1")
    assert last_applied(tmp_path, load("video")) is None

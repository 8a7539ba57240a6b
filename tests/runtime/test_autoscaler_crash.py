"""A real autoscaler process killed at every point of a decision: the next one goes on, and nothing is done twice."""

import subprocess
import sys

import crash_driver
import numpy as np
import pytest
from autoscaling import journaled
from simulated_service import TOKEN, SimulatedService, serve

from envs.scenario_file import load
from runtime.deployment_json import from_json
from traces.samplers import POISSON, make_load

LAST_S = 60.0
POINTS = ("before-intent", "torn-intent", "after-intent", "after-action", "torn-outcome", "after-outcome")


def die(url, folder, crash):
    """A process that dies."""
    command = [sys.executable, crash_driver.__file__, url, str(folder), str(LAST_S), crash]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 9, done.stderr


def go_on(url, folder):
    """Whoever leads next."""
    crash_driver.main(url, folder, LAST_S, "never")


def new_service(folder):
    folder.mkdir()
    (folder / "token").write_text(TOKEN)
    return SimulatedService(load("live-demo"), {"classify": make_load(POISSON, np.tile([15.0, 15, 130, 130], 4), 5.0)}, seed=5)


@pytest.fixture(scope="module")
def through(tmp_path_factory):
    """What a process does that does not die: its decisions and the changes it made."""
    folder = tmp_path_factory.mktemp("through") / "run"
    service = new_service(folder)
    with serve(service) as url:
        go_on(url, folder)
    return journaled(folder / "journal"), service.accepted


@pytest.mark.parametrize("point", POINTS)
def test_the_next_process_goes_on_as_if_nothing_had_happened(point, through, tmp_path):
    intents, changes = through
    time_s = next(i["t_s"] for i in intents if i["acts"] and i["t_s"] >= 20)  # a decision that changes something
    service = new_service(tmp_path / "run")
    with serve(service) as url:
        die(url, tmp_path / "run", f"{point}@{time_s}")
        assert service.cluster.t_s == time_s
        before = len(service.accepted)
        assert before == sum(i["acts"] and i["t_s"] < time_s for i in intents) + (POINTS.index(point) >= 3)
        go_on(url, tmp_path / "run")

    again, outcomes = journaled(tmp_path / "run" / "journal"), journaled(tmp_path / "run" / "journal", "outcome")
    assert len({id_ for id_, _ in service.accepted}) == len(service.accepted)  # no decision was accepted twice
    assert [deployment for _, deployment in service.accepted] == [deployment for _, deployment in changes]
    assert [from_json(i["deployment"]) for i in again] == [from_json(i["deployment"]) for i in intents]
    assert [i["t_s"] for i in again] == [i["t_s"] for i in intents]  # each time was decided on, and once
    assert [o["decision_id"] for o in outcomes] == [i["decision_id"] for i in again if i["acts"]]  # none is left open
    assert {o["status"] for o in outcomes} == {"applied"}
    first, second = journaled(tmp_path / "run" / "journal", "start")
    assert first["remembered"] == 0 and second["remembered"] > 0


@pytest.mark.parametrize("point, status", [("after-intent", "abandoned"), ("after-action", "applied")])
def test_a_decision_left_open_for_longer_than_its_interval(point, status, through, tmp_path):
    intents, _ = through
    time_s = next(i["t_s"] for i in intents if i["acts"] and i["t_s"] >= 20)
    service = new_service(tmp_path / "run")
    with serve(service) as url:
        die(url, tmp_path / "run", f"{point}@{time_s}")
        service.advance_to(time_s + 15)
        go_on(url, tmp_path / "run")
    outcomes = {o["decision_id"]: o for o in journaled(tmp_path / "run" / "journal", "outcome")}
    [late] = [i for i in journaled(tmp_path / "run" / "journal") if i["t_s"] == time_s]
    assert outcomes[late["decision_id"]]["status"] == status
    accepted = [id_ for id_, _ in service.accepted]
    assert accepted.count(late["decision_id"]) == (status == "applied")
    assert accepted[-1].endswith("/12")  # it goes on acting until 60 s

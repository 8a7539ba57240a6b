"""A live cluster as a process: requests, an autoscaler that moves it, workers that die, and an end in good order."""

import json
import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest
import requests
from running import Processes, until

from envs.scenario import Device
from envs.scenario_file import load
from envs.scenario_written import write
from runtime.__main__ import main
from runtime.serving.desired import Desired
from runtime.serving.state_file import Remembered, StateFile

MODELS = "variants: {small: bert-tiny, medium: bert-tiny, large: bert-tiny}\n"
SCENARIO = ["--scenario", "live-demo"]


@pytest.fixture
def run():
    """Starts commands, and ends those that still run."""
    processes = Processes()
    yield processes.tidal
    processes.close()


def serve(run, *arguments):
    """A cluster, and where its gateway and its control API are."""
    cluster = run("serve", *SCENARIO, "--gateway", "127.0.0.1:0", "--control", "127.0.0.1:0", *arguments)
    gateway, control = cluster.waits_for(r"requests (\S+), control (\S+)")
    cluster.waits_for(r"ready: after")
    return cluster, gateway, control


def one_request(gateway, session):
    """A request as the service's metadata asks for it."""
    wanted = session.get(f"{gateway}/v2/models/classify", timeout=10).json()["inputs"]
    inputs = []
    for spec in wanted:
        shape = [1] + [8 if size == -1 else size for size in spec["shape"][1:]]
        count = 1
        for size in shape:
            count *= size
        inputs.append({"name": spec["name"], "datatype": spec["datatype"], "shape": shape, "data": [1] * count})
    return {"inputs": inputs}


class Load:
    """Clients that ask one request after the other."""

    def __init__(self, gateway, clients, pause_s):
        self.statuses, self._stop, self._pause_s = [], threading.Event(), pause_s
        self._threads = [threading.Thread(target=self._ask, args=(gateway,), daemon=True) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self, gateway):
        with requests.Session() as session:
            body = one_request(gateway, session)
            while not self._stop.is_set():
                self.statuses.append(session.post(f"{gateway}/v2/models/classify/infer", json=body, timeout=30).status_code)
                time.sleep(self._pause_s)

    def end(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return self.statuses


def workers_of(process):
    """Processes that the fork server of a process has started: pids."""
    found = []
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            if "forkserver" in Path(f"/proc/{child}/cmdline").read_text():
                found += Path(f"/proc/{child}/task/{child}/children").read_text().split()
    return [int(pid) for pid in found if b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def measured(gateway, what):
    """A number of the CPU's on the gateway's page; 0 where it is missing."""
    page = requests.get(f"{gateway}/metrics", timeout=10).text
    assert "tidal_replicas_emulated 0.0" in page
    found = re.search(rf'^tidal_device_{what}{{device="cpu"}} (\S+)', page, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_an_autoscaler_moves_a_live_cluster_under_load_and_no_request_is_lost(run, tmp_path):
    cluster, gateway, control = serve(run)
    load = Load(gateway, clients=6, pause_s=0.03)
    scaler = run(
        *("autoscale", *SCENARIO, "--policy", "infadapter", "--source", "scrape", "--url", f"{gateway}/metrics"),
        *("--actuator", "cluster", "--control", control, "--interval", "1", "--journal", str(tmp_path)),
    )
    scaler.waits_for(r"infadapter every 1 s")
    until(lambda: requests.get(f"{control}/v1/deployment", timeout=10).json()["version"] != "1",
          lambda: f"the autoscaler changes something:\n{scaler.text}")
    time.sleep(3)
    statuses = load.end()
    assert scaler.end() == 0, scaler.text
    lines = [json.loads(line) for file in tmp_path.glob("*.jsonl") for line in file.read_text().splitlines()]
    assert any("infadapter" in json.dumps(line) or "load" in json.dumps(line) for line in lines)
    assert set(statuses) == {200} and len(statuses) > 50
    assert cluster.end() == 0, cluster.text


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_is_killed_or_frozen_costs_no_request_and_is_replaced(run, tmp_path, number):
    (tmp_path / "models.yaml").write_text(MODELS)
    cluster, gateway, control = serve(run, "--models", str(tmp_path / "models.yaml"))
    shape = {"cores": 1, "inter_op": 1, "intra_op": 1, "device": "cpu"}
    kind = {"variants": ["small"], "shape": shape, "batch": 1, "max_wait_s": 0.0}
    two = {"replicas": [{"kind": kind, "count": 2}], "routes": [], "thresholds": []}
    answer = requests.put(f"{control}/v1/deployment", json={"deployment": two}, headers={"If-Match": '"1"'}, timeout=10)
    assert answer.status_code in (200, 202), answer.text
    cluster.waits_for(r"replica 2, small.*ready")
    cluster.waits_for(r"replica 0, large.*gone")
    load = Load(gateway, clients=2, pause_s=0.005)
    time.sleep(1)
    os.kill(workers_of(cluster.process)[0], number)
    cluster.waits_for(r"replica 3, small.*ready")
    until(lambda: measured(gateway, "used_unit_seconds_total") > 0.05 and 20e6 < measured(gateway, "memory_held_bytes") < 4e9,
          "what the workers use was measured")
    assert set(load.end()) == {200}
    workers = workers_of(cluster.process)
    assert len(workers) == 2
    assert cluster.end() == 0, cluster.text
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_a_replayed_trace_is_answered_and_told(run, tmp_path):
    _, gateway, _ = serve(run)
    options = ["--scenario", "live-demo", "--url", gateway, "--seconds", "4", "--json", str(tmp_path / "told.json")]
    replay = run("replay", *options)
    assert replay.wait() in (0, 1)
    if replay.process.returncode:  # a machine with too much to do: then it says so, and nothing else
        assert "nothing is said about the service" in replay.lines[-1]
    else:
        told = json.loads((tmp_path / "told.json").read_text())
        assert told["requests"] == told["answered"] + sum(told["other_statuses"].values()) > 20
        assert sum(told["served_by"].values()) == told["answered"]


def test_replaying_at_nobody_or_nothing_is_told_in_one_line(run):
    for options, said in ((["--url", "http://127.0.0.1:9"], "127.0.0.1:9"), (["--service", "nothing"], "it has classify")):
        command = run("replay", "--scenario", "live-demo", "--seconds", "1", *options)
        assert command.wait() == 1
        assert command.lines[-1].startswith("tidal: ") and said in command.lines[-1]


@pytest.mark.parametrize(
    "models, said",
    [
        ("variants: {small: bert-tiny}", "no model is given for large, medium"),
        ("[1]", "give a mapping, not list"),
        ("variants: {}\nsize: 3", "unknown size; known: variants, device, dtype"),
        ("variants: 3", "`variants` is a mapping"),
    ],
)
def test_a_models_file_that_cannot_be_used_is_told_in_one_line(run, tmp_path, models, said):
    (tmp_path / "models.yaml").write_text(models)
    command = run("serve", *SCENARIO, "--models", str(tmp_path / "models.yaml"), "--gateway", "127.0.0.1:0")
    assert command.wait() == 1
    assert command.lines[-1].startswith("tidal: ") and said in command.lines[-1] and len(command.lines) == 1


def test_an_address_that_others_can_reach_needs_tokens(run):
    command = run("serve", *SCENARIO, "--gateway", "127.0.0.1:0", "--control", "0.0.0.0:0")
    assert command.wait() == 1
    assert "give the control API tokens" in command.lines[-1]


def test_a_gateway_that_others_can_reach_needs_tokens_too(run):
    command = run("serve", *SCENARIO, "--gateway", "0.0.0.0:0", "--control", "127.0.0.1:0")
    assert command.wait() == 1
    assert "give the tenants tokens" in command.lines[-1]


def test_an_address_that_is_none_is_told_with_its_option(run):
    command = run("serve", *SCENARIO, "--gateway", "127.0.0.1:99999")
    assert command.wait() == 2
    assert "--gateway 127.0.0.1:99999: give HOST:PORT" in command.lines[-1]


def test_a_scenario_that_what_runs_does_not_fit_takes_nothing_over(tmp_path, capsys):
    """Told before the process that serves is asked to hand over: there is none here, and nobody is waited for."""
    state = StateFile(tmp_path / "state.json")  # held, as by the process that serves
    two = Desired.first(load("live-demo").deployment((2, 0, 0)))
    state.write(Remembered(two, 2, ()))
    smaller = write(load("live-demo").with_(devices={"cpu": Device(budget=1)}), tmp_path, "")
    assert main(["serve", "--scenario", str(smaller), "--state", str(tmp_path / "state.json"), "--take-over"]) == 1
    assert "over budget: the deployment holds 2 of cpu, of which there are 1" in capsys.readouterr().err
    state.close()

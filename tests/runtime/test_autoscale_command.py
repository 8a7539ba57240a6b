"""`tidal autoscale` as a process, and what it says to a user who is mistaken."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from autoscaling import autoscaler, journaled, run
from simulated_service import TOKEN, FakeClock, SimulatedService, serve, swelling_load
from test_autoscaler_process import Steady

from baselines.static import Static
from envs.scenario_file import load
from runtime.__main__ import main
from runtime.actuators.dry_run import DryRun

ROOT = Path(__file__).parents[2]
GOOD = {"--scenario": "live-demo", "--policy": "static", "--fallback": "static", "--source": "scrape",
        "--url": "http://127.0.0.1:9/metrics", "--actuator": "dry-run", "--journal": "unused"}


def argv(**changes):
    options = {**GOOD, **{f"--{name.replace('_', '-')}": value for name, value in changes.items()}}
    return ["autoscale", *(word for option, value in options.items() if value is not None for word in (option, str(value)))]


@pytest.mark.parametrize("changes, told", [
    ({"source": "carrier-pigeon"}, "invalid choice: 'carrier-pigeon'"),
    ({"url": "localhost:9090"}, "localhost:9090: give a URL that begins with http:// or https://"),
    ({"actuator": "cluster"}, "--control URL goes with --actuator cluster"),
    ({"control": "http://127.0.0.1:9"}, "--control URL goes with --actuator cluster"),
    ({"actuator": "ray-serve", "target": "app/model"}, "--control URL goes with --actuator cluster, ray-serve and webhook"),
    ({"actuator": "kubernetes"}, "--target goes with --actuator kubernetes and ray-serve"),
    ({"target": "small"}, "--target goes with --actuator kubernetes and ray-serve"),
    ({"actuator": "keda"}, "--keda-listen HOST:PORT goes with --actuator keda"),
    ({"kube_config": "file"}, "--kube-config goes with --actuator kubernetes"),
    ({"token_file": "file"}, "--token-file goes with --control"),
    ({"canary_share": 1.5}, "--canary-share 1.5: give a ratio in [0, 1]"),
    ({"canary": "model.zip"}, "model.zip: loading it runs the code"),
    ({"mode": "shadow"}, "--shadow goes with --mode shadow"),
    ({"shadow": "hpa"}, "--shadow goes with --mode shadow"),
    ({"interval": 0}, "--interval: give seconds > 0"),
    ({"interval": "nan"}, "--interval: give seconds > 0"),
    ({"listen": "9464"}, "--listen 9464: give HOST:PORT"),
    ({"policy": "model.zip"}, "model.zip: loading it runs the code that is pickled in it; export the agent"),
    ({"journal": None}, "the following arguments are required: --journal"),
])
def test_a_wrong_call_is_exit_code_2(changes, told, capsys):
    with pytest.raises(SystemExit) as caught:
        main(argv(**changes))
    assert caught.value.code == 2 and told in capsys.readouterr().err


@pytest.mark.parametrize("changes, told", [
    ({"scenario": "nowhere"}, "nowhere"),
    ({"policy": "nobody"}, "no policy 'nobody'; there are static, "),
    ({"policy": "no.such:Thing"}, "No module named 'no'"),
    ({"fallback": "nobody"}, "no policy 'nobody'"),
    ({"policy": "ppo"}, "no pretrained ppo for 'live-demo'"),
    ({"limits": "none.yaml"}, "none.yaml"),
    ({"actuator": "gauge", "target": "huge"}, "no kind named 'huge'; there are "),
    ({"actuator": "ray-serve", "control": "http://127.0.0.1:9", "target": "app/model"}, "name one of several kinds"),
    ({"actuator": "ray-serve", "control": "http://127.0.0.1:9", "target": "small=model"}, "give APPLICATION/DEPLOYMENT"),
])
def test_a_user_s_mistake_is_one_line(changes, told, tmp_path, capsys):
    assert main(argv(journal=tmp_path / "journal", **changes)) == 1
    err = capsys.readouterr().err
    assert err.startswith("tidal: ") and told in err and err.count("\n") == 1


@pytest.mark.parametrize("text, told", [
    ("max_raise: 1", "max_raise: Extra inputs are not permitted"),
    ("max_rise: often", "max_rise: Input should be a valid integer"),
    ("min_levels: [1]", "min_levels: give 3 levels, one for each candidate of live-demo, not 1"),
    ("{min_levels: [0, 2, 0], max_levels: [2, 1, 2]}", "candidate 1: min_levels 2 is above max_levels 1"),
    ("fall_cooldown_s: -1", "fall_cooldown_s: -1.0 is below 0"),
    ("max_age_s: .nan", "max_age_s: Input should be a finite number"),
    ("[1", "not YAML: "),
    ("just words", "Input should be a valid dictionary"),
])
def test_wrong_limits_are_refused(text, told, tmp_path, capsys):
    path = tmp_path / "limits.yaml"
    path.write_text(text)
    assert main(argv(journal=tmp_path / "journal", limits=path)) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"tidal: {path}: ") and told in err and err.count("\n") == 1
    assert not (tmp_path / "journal").exists()


class Process:
    """The command in a process of its own."""

    def __init__(self, *arguments):
        self._process = subprocess.Popen([sys.executable, "-m", "runtime", *arguments], cwd=ROOT, stdout=subprocess.PIPE,
                                         stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
        self.url = self._process.stdout.readline().rpartition(" ")[2].strip().removesuffix("/metrics")

    def __enter__(self):
        return self

    def end(self, number=signal.SIGTERM):
        self._process.send_signal(number)
        _, err = self._process.communicate(timeout=30)
        return self._process.returncode, err

    def __exit__(self, *_):
        self._process.kill()
        self._process.communicate(timeout=30)


def until(holds):
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end, "it never came to pass"
        time.sleep(0.02)


def test_it_acts_on_a_cluster_says_how_it_is_and_ends_in_good_order(tmp_path):
    scenario = load("live-demo")
    service, folder = SimulatedService(scenario, swelling_load(scenario, 10, 50)), tmp_path / "journal"
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "limits.yaml").write_text("{min_levels: [0, 0, 1], panic_violation_ratio: 0.2}")
    with serve(service) as url, Process(*argv(
            url=f"{url}/metrics", actuator="cluster", control=url, token_file=tmp_path / "token", journal=folder,
            interval=0.25, limits=tmp_path / "limits.yaml", policy="hpa")) as process:
        until(lambda: len(journaled(folder)) >= 3)
        health = requests.get(f"{process.url}/healthz", timeout=5)
        assert (health.status_code, health.json()["alive"], health.json()["leading"]) == (200, True, True)
        page = requests.get(f"{process.url}/metrics", timeout=5).text
        assert requests.get(f"{process.url}/else", timeout=5).status_code == 404

        with Process(*argv(url=f"{url}/metrics", journal=folder, interval=0.25)) as standby:
            assert requests.get(f"{standby.url}/healthz", timeout=5).json()["leading"] is False
            assert standby.end() == (0, "")
        code, err = process.end()
    assert code == 0 and "Traceback" not in err
    intents = journaled(folder)
    assert all(abs(i["t_s"] / 0.25 - round(i["t_s"] / 0.25)) < 1e-9 for i in intents)  # on the grid
    assert all(0 <= i["at_s"] - i["t_s"] < 5 for i in intents) and abs(time.time() - intents[-1]["t_s"]) < 60
    assert [r["type"] for r in (journaled(folder, "start") + journaled(folder, "stop"))] == ["start", "stop"]
    assert "tidal_autoscaler_leading 1.0" in page
    promtool = shutil.which("promtool")
    if promtool:
        done = subprocess.run([promtool, "check", "metrics"], input=page.encode(), capture_output=True)
        assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_an_address_that_is_taken_is_one_line(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        assert main(argv(journal=tmp_path / "journal", listen=listen)) == 1
    assert capsys.readouterr().err == f"tidal: --listen {listen}: Address already in use; give another address\n"


def test_a_signal_ends_it_in_the_middle_of_a_long_interval(tmp_path):
    with Process(*argv(journal=tmp_path, interval=1000)) as process:
        until(lambda: journaled(tmp_path, "start"))
        assert process.end(signal.SIGINT)[0] == 0
    assert [r["type"] for r in journaled(tmp_path, "stop")] == ["stop"]


def test_it_resumes_from_a_long_journal_in_time(tmp_path):
    scenario = load("live-demo")

    def play(start_s, last_s):
        actuator, clock = DryRun(scenario.initial_deployment), FakeClock(start_s, last_s)
        run(autoscaler(scenario, Static(), Steady(), actuator, tmp_path, clock))

    play(0.0, 10.0)
    intent = journaled(tmp_path)[-1] | {"pad": "x" * 5000}
    with (tmp_path / "journal-00000001.jsonl").open("a") as file:  # 16 MB: as long as a segment becomes
        for number in range(3, 3003):
            file.write(json.dumps(intent | {"t_s": 5.0 * number, "decision_id": f"long/{number}"}) + "\n")
    began = time.monotonic()
    play(15015.0, 15015.0)
    assert time.monotonic() - began < 2.0
    assert journaled(tmp_path, "start")[-1]["remembered"] == 1

"""`tidal status`: against a cluster in a process of its own, in a terminal, and on states made by hand."""

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
import requests
import yaml
from rich.console import Console
from running import ROOT
from test_serve_command import run, serve  # noqa: F401 - run is a fixture

from runtime.__main__ import main
from runtime.control import api
from runtime.status.snapshot import Snapshot
from runtime.status.view import screen

SPEC = yaml.safe_load((Path(api.__file__).parent / "openapi.yaml").read_text())
SHAPE = {"cores": 1, "inter_op": 1, "intra_op": 1, "device": "cpu"}
KIND = {"variants": ["large"], "shape": SHAPE, "batch": 1, "max_wait_s": 0.0}
NO_CHANGE = dict.fromkeys(("version", "decision_id", "policy", "reason", "bounds"))
CHANGE = {"version": 2, "decision_id": "j/1", "policy": "infadapter", "reason": "load 93 -> 140 req/s", "bounds": []}


def state(**changes):
    """A snapshot, as the control API's answers make it."""
    scenario = {"name": "s", "interval_s": 5.0, "currency": None,
                "applications": {"classify": {"slo_s": 0.25, "services": ["classify"]}},
                "services": {"classify": {"variants": ["large"], "tenant": "default"}},
                "devices": {"cpu": {"budget": 2, "price": 1.0}}}
    observation = {"t_s": time.time(), "interval_s": 5.0, "age_s": 0.0,
                   "deployment": {"replicas": [], "routes": [], "thresholds": []},
                   "applications": {"classify": [12.5, 0.25, 0.25, 0.0, 0.0, 0.0, 0.8, 0.031, 0.2, 0.4]},
                   "services": {"classify": [12.5, 3.0]}, "kinds": [[KIND, 1.0, 1.0, 0.0, 3.0, 0.625, [1.0]]],
                   "devices": {"cpu": [2.0, 0.6, 0.0, 4e8, 1e9]}, "load_s": {"large": 1.0}}
    replicas = [{"number": 3, "kind": KIND, "state": s, "age_s": 1.0} for s in ("ready", "pending")]
    events = [{"number": 1, "t_s": 0.0, "what": "ready", "why": "after 1 s", "replica": 3, "kind": KIND, **NO_CHANGE}]
    made = {"control": "http://c", "ready": True, "version": "7", "scenario": scenario, "observation": observation,
            "replicas": replicas, "events": events}
    for name, value in (("Scenario", scenario), ("Observation", observation), ("Events", {"events": events}),
                        ("Replicas", {"replicas": replicas, "settled": False, "pin": None, "pause": None})):
        valid(name, value)
    return Snapshot(**made | changes)


def valid(schema, value):
    """It is what the page of the control API says."""
    reference = {"$ref": f"#/components/schemas/{schema}", "components": SPEC["components"]}
    jsonschema.Draft202012Validator(reference).validate(value)


def shown(snapshot):
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(screen(snapshot))
    return console.export_text()


def words(text, first):
    """The words of the line that begins so."""
    return next(" ".join(line.split()) for line in text.splitlines() if line.startswith(first))


def test_what_the_control_api_tells_is_on_the_screen():
    text = shown(state())
    assert words(text, "classify") == "classify 12.5 req/s 75.0 % 31 ms 400 ms 250 ms 80.0 % 3"
    assert words(text, "large @1c") == "large @1c 1 1 · · 62.5 % 3"
    assert "cpu: 2 of 2 held" in text and "ready, changing, version 7" in text and "replica 3, large @1c: after 1 s" in text


def test_what_is_held_is_told_in_money_where_there_is_a_currency():
    seen = state()
    priced = {**seen.scenario, "currency": "USD", "devices": {"cpu": {"budget": 2, "price": 0.0425}}}
    assert "cpu: 2 of 2 held, 0.085 USD/h" in shown(state(scenario=priced))
    assert "/h" not in shown(seen)


def test_missing_is_never_zero():
    nothing = {**state().observation, "age_s": None, "applications": {}, "services": {}, "kinds": [], "devices": {}}
    text = shown(state(observation=nothing))
    assert words(text, "classify") == "classify missing missing missing missing 250 ms missing missing"
    assert "all numbers are missing" in text and "cpu: missing of 2 held" in text


def test_what_holds_changes_back_is_said_and_names_are_text():
    text = shown(state(ready=False, pin={"left_s": 61.2, "why": "a sale"}, pause={"left_s": 3.0, "why": "[red]x[/red]"},
                       events=[{**state().events[0], "why": "[bold]as it is[/bold]"}]))
    assert "NOT READY" in text and "pinned for another 61 s: a sale" in text
    assert "paused for another 3 s: [red]x[/red]" in text and "[bold]as it is[/bold]" in text


def test_who_decided_and_why_is_said_where_it_is_known():
    event = {"number": 2, "t_s": 0.0, "what": "deployment", "why": "version 2: 2 x large @1c", "replica": None, "kind": None}
    text = shown(state(events=[event | CHANGE]))
    assert "version 2: 2 x large @1c (infadapter: load 93 -> 140 req/s)" in text
    assert shown(state(events=[event | CHANGE | {"policy": "", "reason": ""}])).rstrip().endswith("version 2: 2 x large @1c")


def test_a_cluster_that_is_not_there(capsys):
    assert main(["status", "--control", "http://127.0.0.1:9", "--once"]) == 1
    assert capsys.readouterr().err == "tidal: http://127.0.0.1:9: nobody answers there\n"
    assert main(["status", "--control", "http://127.0.0.1:9", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["reachable"], told["ready"], told["error"]) == (False, False, "http://127.0.0.1:9: nobody answers there")


@pytest.mark.parametrize("arguments", [["--control", "localhost:1"], ["--once", "--json"]])
def test_wrong_arguments(arguments):
    with pytest.raises(SystemExit) as caught:
        main(["status", *arguments])
    assert caught.value.code == 2


def test_a_cluster_that_runs(run, capsys):  # noqa: F811
    cluster, _, control = serve(run)
    assert main(["status", "--control", control, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["reachable"], told["ready"], told["version"], told["settled"]) == (True, True, "1", True)
    for schema in ("Scenario", "Observation"):
        valid(schema, told[schema.lower()])
    valid("Events", {"events": told["events"]})
    valid("Replicas", {name: told[name] for name in ("replicas", "settled", "pin", "pause")})
    requests.post(f"{control}/v1/pin", json={"for_s": 60, "why": "a sale"}, timeout=10)
    assert main(["status", "--control", control]) == 0  # no terminal: once
    assert "a sale" in capsys.readouterr().out
    _in_a_terminal(control)
    assert cluster.end() == 0
    assert main(["status", "--control", control, "--json"]) == 1


def _in_a_terminal(control):
    """It shows, shows again, and ends with the keyboard's interruption as if nothing had been on the screen."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "runtime", "status", "--control", control]
    process = subprocess.Popen(command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs,
                               env={**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"})
    os.close(theirs)
    text = b""
    try:
        until_s = time.monotonic() + 60
        while text.count(b"classify") < 3 and time.monotonic() < until_s:
            text += _read(ours)
        process.send_signal(signal.SIGINT)
        while process.poll() is None and time.monotonic() < until_s:
            text += _read(ours)
        assert process.wait(1) == 0 and text.count(b"classify") >= 3
        assert b"\x1b[?1049h" in text and b"\x1b[?1049l" in text + _read(ours) and b"Traceback" not in text
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _read(terminal):
    if select.select([terminal], [], [], 0.2)[0]:
        try:
            return os.read(terminal, 65536)
        except OSError:  # nobody writes to it any more
            pass
    return b""

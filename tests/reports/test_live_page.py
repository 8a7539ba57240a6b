"""The page of a live run, and the run itself as one command."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import asdict, replace
from pathlib import Path

import pytest

import evaluate
from reports.live_chart import chart
from reports.live_page import page
from reports.record import record

sys.path.append(str(Path(__file__).parents[1] / "runtime" / "demo"))
from made_run import KILL, made, moment, run

ROOT = Path(__file__).parents[2]


def made_page(**changes):
    one = run(**changes)
    return page(one, record([], ["evaluate.py", "--live", "10"], live=asdict(one)))


def test_the_page_needs_nothing_else_and_holds_its_record():
    text = made_page()
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?!#)""", text) and "://" not in text
    assert json.loads(re.search(r'id="data">(.*?)</script>', text, re.S).group(1))["live"]["kill"]["pid"] == KILL.pid
    assert "200 requests, 1 changes of the replicas, one worker killed on the way: every request was answered" in text


def test_a_failed_request_is_in_the_headline():
    assert "3 requests failed" in made_page(clients={**run().clients, "answered": 197})


def test_reasons_are_text():
    text = made_page(decisions=(made(reason="<script>alert(1)</script>"),))
    assert "<script>alert" not in text and "&lt;script&gt;alert(1)" in text


def test_the_chart_is_well_formed_and_leaves_gaps():
    svg = ElementTree.fromstring(chart(run()))
    by_class = {element.get("class"): element for element in svg.iter() if element.get("class")}
    assert by_class["load"].get("d").count("M") == 2  # the second in between is missing
    assert len([e for e in svg.iter("path") if e.get("class") == "mark"]) == 1
    assert len(list(svg.iter("rect"))) == 6  # one ready and one loading in each of three seconds


@pytest.mark.parametrize("changes", [
    {"moments": ()}, {"kill": None}, {"kill": replace(KILL, seen_s=None, replaced_s=None)}, {"decisions": ()},
    {"moments": (moment(1.0, None, None, None),)}, {"moments": (moment(1.0, 0.0, 0.0, 0.0),)}])
def test_a_run_in_which_little_happened_can_be_drawn(changes):
    ElementTree.fromstring(chart(run(**changes)))
    assert made_page(**changes)


@pytest.mark.parametrize("options, said", [
    (["--trace", "x"], "--trace does not go with --live"),
    (["--speed", "2"], "--speed does not go with --live"),
    (["--cases", "cascade", "--seeds", "2"], "--seeds does not go with --live"),
    (["--cases", "x"], "no case x; there are all, "),
    (["--policies", "hpa"], "give at least two intervals of resnet-variants-hpa, 60 s")])
def test_what_does_not_go_together_is_told_in_one_line(options, said, capsys):
    assert evaluate.main(["--live", "30", *options]) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1


@pytest.fixture
def copy(tmp_path):
    """The checkout, writing into a folder of its own."""
    for entry in ROOT.iterdir():
        if entry.name != "out":
            (tmp_path / entry.name).symlink_to(entry)
    return tmp_path


def marked():
    """Processes that the demonstration has started, and what they have."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if b"TIDAL_DEMO=" in environment.read_bytes():
                found.append(int(environment.parent.name))
        except OSError:
            pass
    return set(found)


def live(folder, seconds):
    environment = {name: value for name, value in os.environ.items() if name != "TIDAL_TRACES"}
    return subprocess.Popen([sys.executable, "evaluate.py", "--live", str(seconds)], cwd=folder, env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)


@pytest.mark.slow
def test_a_run_answers_everything_and_leaves_nothing(copy):
    before = marked()
    process = live(copy, 25)
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 0, text
    told = json.loads((copy / "out" / "live" / "record.json").read_text())["live"]
    assert told["clients"]["requests"] == told["clients"]["answered"] > 20  # few on a machine with much to do
    assert told["kill"]["replaced_s"] is not None and any("→" in one["changes"] for one in told["decisions"])
    assert "0 failed" in text and "kill -9" in text and (copy / "out" / "live" / "report.html").is_file()
    assert marked() <= before


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(copy, number):
    before = marked()
    process = live(copy, 120)
    until_s = time.monotonic() + 200
    log = copy / "out" / "live" / "replay.log"
    while not (log.is_file() and log.stat().st_size) and time.monotonic() < until_s:
        time.sleep(0.1)
    assert marked() - before
    process.send_signal(number)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 1 and "interrupted: all processes are ended" in text and "Traceback" not in text
    assert marked() <= before

"""`tidal serve` stands still, hands over to the next one, or ends suddenly and is started again: its workers serve on, and
nothing of before is answered after.
"""

import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from runtime.serving.local_launcher import LocalLauncher, LocalProcess
from runtime.worlds.links import SILENCE_S

ROOT = Path(__file__).resolve().parents[3]
LIMIT_S = 300.0  # of a machine that has much else to do

SCENARIO = """
name: cut
source: made here
interval_s: 5
binding: early
dispatch: shortest-queue
devices: {gpu: {budget: 4}}
variants: {double: {accuracy: 0.9, load_s: 1}}
services: {answer: {variants: [double], slo_s: 5.0}}
workload: {}
profile: cut.csv
candidates: [{variants: [double], device: gpu, inter_op: 2, max_count: 2}]
initial: [{candidate: 0, level: 1}]
"""
PROFILE = """variant,device,cores,inter_op,intra_op,batch,stage,latency_s
double,gpu,,2,1,1,0,0.01
double,gpu,,2,1,1,1,0.01
"""
MODEL = """
import time
import torch

class First(torch.nn.Module):
    def forward(self, x):
        return x + 1

class Second(torch.nn.Module):
    def forward(self, x):
        if bool((x < 0).any()):
            time.sleep(2)
        return 2 * x

def make():
    module = torch.nn.Sequential(First(), Second())
    module.example_inputs = {"x": torch.ones(1, 1)}
    return module
"""
DRIVER = """
import asyncio, os, signal
from envs.contract import ReplicaKind, Shape
from runtime.serving.local_launcher import LocalLauncher
from runtime.serving.crew import Crew, Models
from runtime.serving.worker_replica import WorkerReplica
from runtime.worlds import WorldManager

async def main():
    manager, launcher = WorldManager(token="t"), LocalLauncher()
    for number, patience_s in enumerate((0.0, 1.5)):
        crew = Crew(Models({"tiny": "bert-tiny"}), manager, "t", launcher, patience_s)
        replica = WorkerReplica(number, ReplicaKind(("tiny",), Shape(inter_op=2, device="gpu")), crew)
        await replica.load()
        print(*(part["process"]["pid"] for part in replica.whereabouts["parts"]), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    asyncio.run(main())
"""


def until(condition, otherwise, going):
    """What the condition returns once it is true."""
    until_s = time.monotonic() + LIMIT_S
    while not (found := condition()):
        assert time.monotonic() < until_s and going(), otherwise()
        time.sleep(0.05)
    return found


class Serving:
    """A `tidal serve` of worker processes with a state file."""

    def __init__(self, folder, name, *more):
        self.log, self.folder = folder / name, folder
        command = [sys.executable, "-m", "runtime", "serve", "--scenario", str(folder / "cut.yaml"), "--models",
                   str(folder / "models.yaml"), "--state", str(folder / "state.json"), "--gateway", "127.0.0.1:0",
                   "--control", "127.0.0.1:0", *more]
        path = f"{ROOT}:{folder}"
        with self.log.open("w") as out:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out, env={**os.environ, "PYTHONPATH": path})
        self.url, self.control = re.search(r"requests (\S+), control (\S+)", self.waits_for("requests ")).groups()

    def waits_for(self, said):
        """The first line of its log that says this."""
        return until(lambda: next((line for line in self.log.read_text().splitlines() if said in line), None),
                     lambda: f"no {said!r} in:\n{self.log.read_text()}", lambda: self.process.poll() is None)

    def replicas(self):
        rows = requests.get(f"{self.control}/v1/replicas", timeout=10).json()["replicas"]
        return [(row["number"], row["state"]) for row in rows]

    def workers(self):
        """Processes of the replicas, as the state file tells of them."""
        rows = json.loads((self.folder / "state.json").read_text())["replicas"]
        return [part["process"] for row in rows for part in row["whereabouts"].get("parts", [])]

    def answer(self, value, by=requests):
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [value]}]}
        answer = by.post(f"{self.url}/v2/models/answer/infer", json=body, timeout=LIMIT_S)
        answer.raise_for_status()
        return answer.json()["outputs"][0]["data"]

    def stands_still(self, seconds):
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.process.send_signal(signal.SIGCONT)

    def ends(self, number):
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture
def serve(tmp_path):
    for name, text in (("cut.yaml", SCENARIO), ("cut.csv", PROFILE), ("double.py", MODEL),
                       ("models.yaml", "variants: {double: 'double:make'}")):
        (tmp_path / name).write_text(text)
    started = []

    def start(*more):
        started.append(Serving(tmp_path, f"log{len(started)}", *more))
        return started[-1]

    yield start
    for serving in started:
        if serving.process.poll() is None:
            serving.ends(signal.SIGTERM)
    launcher = LocalLauncher()
    for trace in started[0].workers() if started else []:  # a test that failed
        if process := launcher.find(trace):
            process.kill()


@contextlib.contextmanager
def asked_all_the_time(serving):
    """Two clients, each on one connection and on new ones in turns; the answers, each a right one."""
    over, answers = threading.Event(), []

    def ask():
        with requests.Session() as session:
            for number in itertools.count():
                answers.append(serving.answer(float(number), session if number % 2 else requests))
                assert answers[-1] == [2.0 * (number + 1)]
                if over.is_set():
                    return

    with ThreadPoolExecutor(2) as threads:
        clients = [threads.submit(ask) for _ in range(2)]
        try:
            yield answers
        finally:
            over.set()
        for client in clients:
            client.result()


def test_workers_outlast_a_pause_are_taken_over_whole_or_not_at_all_and_end_with_an_orderly_end(serve):
    first = serve()
    first.waits_for("ready: after")
    assert first.answer(1.0) == [4.0]
    workers, failures = first.workers(), []
    first.stands_still(3 * SILENCE_S)
    assert first.answer(1.0) == [4.0]
    first.stands_still(3 * SILENCE_S)
    time.sleep(2 * SILENCE_S)  # in which whoever has been given up would be lost
    assert first.replicas() == [(0, "ready")] and first.workers() == workers

    def ask_slowly():
        with pytest.raises(requests.ConnectionError):
            first.answer(-5.0)
        failures.append("told")

    asking = threading.Thread(target=ask_slowly)
    asking.start()
    time.sleep(0.5)  # it is being computed, or on its way
    assert first.ends(signal.SIGKILL) == -signal.SIGKILL
    asking.join()
    assert failures == ["told"]

    second = serve()
    second.waits_for("ready: taken over")
    assert second.replicas() == [(0, "ready")] and second.workers() == workers
    assert [second.answer(float(value)) for value in range(1, 6)] == [[4.0], [6.0], [8.0], [10.0], [12.0]]

    with asked_all_the_time(second) as answers:
        heir = serve("--take-over")
        assert second.process.wait(LIMIT_S) == 0 and heir.url == second.url and heir.control == second.control
        assert heir.replicas() == [(0, "ready")] and heir.workers() == workers
        count = len(answers)
        until(lambda: len(answers) > count + 10, lambda: "nobody answers", lambda: heir.process.poll() is None)
    assert heir.ends(signal.SIGKILL) == -signal.SIGKILL
    os.kill(workers[1]["pid"], signal.SIGKILL)

    third = serve()
    third.waits_for("replica 1, double @2x1 gpu, ready: after")
    assert third.replicas() == [(1, "ready")]
    assert all(LocalLauncher().find(trace) is None for trace in workers)
    assert third.answer(1.0) == [4.0]
    left = third.workers()
    assert third.ends(signal.SIGTERM) == 0
    assert all(LocalLauncher().find(trace) is None for trace in left) and third.workers() == []


def test_workers_that_nobody_asks_back_end_by_themselves(tmp_path):
    (tmp_path / "driver.py").write_text(DRIVER)
    told = subprocess.run([sys.executable, str(tmp_path / "driver.py")], cwd=ROOT, capture_output=True, text=True,
                          timeout=LIMIT_S, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert told.returncode == -signal.SIGKILL, told.stderr
    for pid in told.stdout.split():
        try:
            process = LocalProcess(int(pid))
        except ProcessLookupError:
            continue  # ended already
        assert process.gone(LIMIT_S)


def test_a_process_is_found_again_only_where_it_is_the_same_one():
    launcher = LocalLauncher()
    child = subprocess.Popen(["sleep", "60"])
    try:
        trace = LocalProcess(child.pid).trace
        found = launcher.find(trace)
        assert found.pid == child.pid
        assert launcher.find({**trace, "started_ticks": trace["started_ticks"] - 1}) is None  # the number was given again
        assert launcher.find({**trace, "boot": "another"}) is None
        found.kill()
        assert found.gone(LIMIT_S)
    finally:
        child.kill()
    assert launcher.find(trace) is None  # ended, though nobody has asked for its exit code yet
    child.wait()
    assert launcher.find(trace) is None

"""What workers use, measured: against what a process says of itself, and through the page to the observation."""

import math
import subprocess
import sys
from types import SimpleNamespace

import pytest

from envs.contract import Deployment
from envs.scenario import Device
from envs.scenario_file import load
from runtime.exposition import Used
from runtime.gateway.cascade import ByDraw
from runtime.gateway.dispatcher import Dispatcher
from runtime.gateway.page import Page
from runtime.serving import gpus, usage
from runtime.serving.census import Census
from runtime.serving.usage import Usage
from runtime.sources.page import parsed
from runtime.sources.window import Window

DEMO = load("live-demo")
MIB = 2**20
COMPUTES = """
import sys, time
for line in sys.stdin:
    until_s = time.process_time() + float(line)
    while time.process_time() < until_s:
        pass
    print(time.process_time(), flush=True)
"""
HOLDS = """
import os, sys
held = bytearray(os.urandom(64)) * (2**20)
child = os.fork()
if child == 0:
    sys.stdin.read()
    os._exit(0)
print(child, flush=True)
sys.stdin.read()
os.waitpid(child, 0)
"""


@pytest.fixture
def child():
    """Starts a Python process; what it prints and what it is told go through pipes."""
    started = []

    def start(program):
        command = [sys.executable, "-c", program]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.communicate()


def told(process, words=""):
    process.stdin.write(words)
    process.stdin.flush()
    return process.stdout.readline()


def test_core_seconds_are_what_processes_say_themselves_and_never_fall(child):
    first, second = child(COMPUTES), child(COMPUTES)
    workers = {"cpu": [first.pid, second.pid]}
    measured = Usage(DEMO, lambda: workers)
    before = sum(float(told(process, "0.1\n")) for process in (first, second))
    assert measured.used()["cpu"].unit_s == 0.0  # from here on it is counted
    after = float(told(first, "0.5\n")) + float(told(second, "0.2\n"))
    assert measured.used()["cpu"].unit_s == pytest.approx(after - before, abs=0.05)
    counted = measured.used()["cpu"].unit_s
    workers["cpu"] = [second.pid]  # the first one ends
    assert measured.used()["cpu"].unit_s >= counted
    told(second, "0.3\n")
    assert measured.used()["cpu"].unit_s == pytest.approx(counted + 0.3, abs=0.05)


def test_what_cannot_be_read_is_missing_until_it_can_be(child):
    process = child(COMPUTES)
    workers = {"cpu": [process.pid, None]}
    measured = Usage(DEMO, lambda: workers)
    assert math.isnan(measured.used()["cpu"].unit_s) and measured._read_memory(workers) == {}
    workers["cpu"] = [process.pid]
    assert measured.used()["cpu"].unit_s == 0.0
    workers["cpu"] = [process.pid, 2**22 + 1]  # that one has ended
    assert measured.used()["cpu"].unit_s >= 0.0
    assert math.isnan(measured.used()["cpu"].memory_bytes)  # not read yet


def test_memory_that_processes_share_is_counted_once(child):
    parent = child(HOLDS)
    forked = int(told(parent))
    held, there = Usage(DEMO, dict)._read_memory({"cpu": [parent.pid, forked]})["cpu"]
    assert 64 * MIB < held < 64 * MIB + 32 * MIB  # of which each maps 64
    assert usage.process_memory_bytes(forked) < 48 * MIB
    assert there == usage.machine_memory_bytes()


def test_a_gpu_is_read_by_nvml_and_missing_without_it():
    nvml = SimpleNamespace(nvmlDeviceGetUtilizationRates=lambda handle: SimpleNamespace(gpu=25),
                           nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(used=3e9, total=80e9))
    scenario = SimpleNamespace(devices={"cpu": Device(budget=2), "gpu": Device(budget=4, memory_bytes=16e9)})
    clock = SimpleNamespace(now=0.0)
    measured = Usage(scenario, dict, gpus.NvmlGpu(nvml, None), lambda: clock.now)
    clock.now = 4.0
    assert measured.used()["gpu"].unit_s == pytest.approx(1.0)
    assert measured._read_memory({})["gpu"] == (3e9, 64e9)  # the scenario's, which is less than there is
    without = Usage(scenario, dict, gpus.find("cpu"))
    assert all(map(math.isnan, without.used()["gpu"])) and "gpu" not in without._read_memory({})


def test_what_is_measured_is_what_an_observation_shows_and_what_is_not_is_missing():
    clock = SimpleNamespace(now_s=lambda: clock.t_s, t_s=0.0)
    dispatcher, now = Dispatcher(DEMO, clock, ByDraw(DEMO, 0)), {}
    page, window = Page(dispatcher, Census(), lambda: 1, lambda: now), Window(DEMO)

    def observed(t_s, used):
        clock.t_s, now["cpu"] = t_s, used
        return window.take({"gateway": parsed(b"".join(page.pieces()).decode())}, t_s, Deployment({})).devices["cpu"]

    observed(1.0, Used(2.0, 5.0, 8.0))
    row = observed(6.0, Used(5.5, 6.0, 8.0))
    assert (row.used, row.memory_held_bytes, row.memory_free_bytes) == (pytest.approx(0.7), 6.0, 2.0)
    assert (row.held, row.free) == (0.0, 2.0)
    row = observed(11.0, Used(math.nan, math.nan, math.nan))
    assert all(map(math.isnan, (row.used, row.memory_held_bytes, row.memory_free_bytes)))


@pytest.mark.gpu
def test_the_gpu_of_this_machine():
    import torch

    gpu = gpus.find("cuda:0")
    held, there = gpu.memory_bytes()
    block = torch.ones(256 * MIB, dtype=torch.uint8, device="cuda:0")
    assert gpu.memory_bytes()[0] >= held + block.numel() and there > held
    assert 0.0 <= gpu.busy() <= 1.0

"""Replicas of real worker processes: whole, cut into stages, into ranks, and both; answers, faults and the end."""

import asyncio
import functools
import os
import signal
import threading

import numpy as np
import pytest
import torch
from live_cases import served

from envs.contract import ReplicaKind, Shape
from runtime.models import catalogue
from runtime.models.model import Placement
from runtime.models.server_clocks import Head
from runtime.serving.crew import Crew, Models
from runtime.serving.local_launcher import LocalLauncher
from runtime.serving.replica import ReplicaLost, RequestRefused
from runtime.serving.worker_replica import WorkerReplica
from runtime.worlds import WorldManager

FIRST = Head("application", 0)
PICKY = """
import torch

class Picky(torch.nn.Module):
    example_inputs = {"x": torch.ones(1, 3)}

    def forward(self, x):
        if bool((x < 0).any()):
            raise ValueError("a negative one")
        return x * 2

def make():
    return Picky()
"""

SLOW_END = """
import time
import torch

class SlowEnd(torch.nn.Module):
    def forward(self, x):
        time.sleep(0.3)
        return x

def make():
    module = torch.nn.Sequential(torch.nn.Identity(), SlowEnd())
    module.split_points = ["1"]
    module.example_inputs = {"x": torch.ones(1, 3)}
    return module
"""
MEETING = """
import threading
import torch

class Meeting(torch.nn.Module):
    example_inputs = {"wait_s": torch.zeros(1, 1)}
    inside, lock, met = 0, threading.Lock(), threading.Event()

    def forward(self, wait_s):
        with self.lock:
            self.inside += 1
            if self.inside > 1:
                self.met.set()
        met = self.met.wait(float(wait_s.max()))
        with self.lock:
            self.inside -= 1
            if not self.inside:
                self.met.clear()
        return torch.full_like(wait_s, 2 if met else 1)

def make():
    return Meeting()
"""


class Launcher(LocalLauncher):
    """Keeps what it has started."""

    def __init__(self):
        super().__init__()
        self.started = []

    def start(self, job):
        self.started.append(super().start(job))
        return self.started[-1]


def run(play, shape, descriptions, batch=4):
    """Play with a replica that is loaded."""

    async def main():
        with WorldManager(token="t") as manager:
            launcher = Launcher()
            kind = ReplicaKind(tuple(descriptions), shape, batch)
            replica = WorkerReplica(7, kind, Crew(Models(descriptions), manager, "t", launcher))
            try:
                await replica.load()
                return await play(replica, launcher.started)
            finally:
                await replica.stop()
                assert all(process.gone(5) for process in launcher.started)

    return asyncio.run(main())


@functools.cache
def uncut(description):
    model = catalogue.make(description, Placement())
    model.load()
    return model


def whole(description, inputs):
    return [tensor.numpy() for tensor in uncut(description).run([torch.from_numpy(part) for part in inputs])]


def requests_of(specs, count, seed=0):
    random = np.random.default_rng(seed)
    sizes = [[8 if size == -1 else size for size in spec.shape[1:]] for spec in specs]

    def one(spec, size):
        if spec.datatype.startswith("INT"):
            return random.integers(0, 100, (1, *size), dtype=np.dtype(spec.datatype.lower()))
        return random.normal(size=(1, *size)).astype(np.float32)

    return [[one(spec, size) for spec, size in zip(specs, sizes)] for _ in range(count)]


@pytest.mark.parametrize("inter_op, intra_op", [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_answers_are_the_uncut_models(inter_op, intra_op):
    async def play(replica, started):
        assert len(started) == inter_op * intra_op
        requests = requests_of(replica.inputs["tiny"], 4)
        return requests, await served(replica, "tiny", requests, FIRST)

    requests, answers = run(play, Shape(inter_op=inter_op, intra_op=intra_op, device="gpu"), {"tiny": "bert-tiny"})
    for request, answer in zip(requests, answers):
        for ours, theirs in zip(answer, whole("bert-tiny", request)):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_two_variants_and_several_servers_answer_each_request_in_its_place():
    async def play(replica, _):
        batches = [(variant, requests_of(replica.inputs[variant], 3, seed)) for seed in range(6) for variant in ("a", "b")]
        return batches, await asyncio.gather(*(served(replica, variant, requests, FIRST) for variant, requests in batches))

    descriptions = {"a": "bert-tiny", "b": "bert-tiny"}
    batches, answers = run(play, Shape(cores=2), descriptions)
    for (_, requests), batch in zip(batches, answers):
        for request, answer in zip(requests, batch):
            np.testing.assert_allclose(answer[0], whole("bert-tiny", request)[0], atol=1e-5)


@pytest.fixture
def picky(tmp_path, monkeypatch):
    (tmp_path / "picky_model.py").write_text(PICKY)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "picky_model:make"


def test_one_poisonous_request_spoils_only_itself(picky):
    async def play(replica, _):
        requests = [[np.full((1, 3), value, np.float32)] for value in (1, -1, 3)]
        return await served(replica, "picky", requests, FIRST), await served(replica, "picky", requests[:1], FIRST)

    (first, second, third), (again,) = run(play, Shape(cores=1), {"picky": picky})
    assert isinstance(second, RequestRefused) and "a negative one" in str(second)
    assert [part[0].tolist() for part in (first, third, again)] == [[[2.0] * 3], [[6.0] * 3], [[2.0] * 3]]


@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_stage_that_dies_or_freezes_takes_its_replica_with_it_and_what_was_under_way_is_told(victim, number):
    async def play(replica, started):
        lost = asyncio.get_running_loop().create_future()
        replica.on_lost(lost.set_result)
        os.kill(started[victim].pid, number)
        outcomes = await asyncio.gather(
            *(served(replica, "tiny", requests_of(replica.inputs["tiny"], 2), FIRST) for _ in range(3)), return_exceptions=True
        )
        reason = await asyncio.wait_for(lost, 10)
        with pytest.raises(ReplicaLost):
            await served(replica, "tiny", requests_of(replica.inputs["tiny"], 1), FIRST)
        return outcomes, reason

    outcomes, reason = run(play, Shape(inter_op=2, device="gpu"), {"tiny": "bert-tiny"})
    assert all(isinstance(outcome, ReplicaLost | list) for outcome in outcomes)
    assert any(isinstance(outcome, ReplicaLost) for outcome in outcomes) and reason


def test_a_model_that_cannot_be_made_is_told_with_its_reason():
    async def play(replica, _):
        raise AssertionError("it loaded")

    with pytest.raises(ReplicaLost, match="no model 'resnet19', did you mean 'resnet1"):
        run(play, Shape(cores=1), {"r": "resnet19"})


def test_the_first_stage_is_told_to_be_free_before_the_answer_comes(tmp_path, monkeypatch):
    (tmp_path / "slow_end.py").write_text(SLOW_END)
    monkeypatch.syspath_prepend(str(tmp_path))

    async def play(replica, _):
        told = []

        async def ask(n):
            request = [np.ones((1, 3), np.float32)]
            await served(replica, "slow", [request], Head("application", n), lambda: told.append(f"{n} freed"))
            told.append(f"{n} answered")

        await ask(0)
        await asyncio.gather(ask(1), ask(2))
        return told

    told = run(play, Shape(inter_op=2, device="gpu"), {"slow": "slow_end:make"})
    assert told[:2] == ["0 freed", "0 answered"]
    assert told.index("2 freed") < told.index("1 answered") and len(told) == 6


def test_a_replica_computes_as_many_batches_at_once_as_it_has_cores_also_after_a_resize(tmp_path, monkeypatch):
    (tmp_path / "meeting.py").write_text(MEETING)
    monkeypatch.syspath_prepend(str(tmp_path))

    async def play(replica, _):
        async def together(wait_s):
            asked = (served(replica, "m", [[np.full((1, 1), wait_s, np.float32)]], FIRST) for _ in range(2))
            return [answer[0].item() for (answer,) in await asyncio.gather(*asked)]

        alone = await together(0.3)
        await replica.resize(ReplicaKind(("m",), Shape(cores=2), 4))
        met = await together(20.0)
        await replica.resize(ReplicaKind(("m",), Shape(cores=1), 4))
        await served(replica, "m", [[np.zeros((1, 1), np.float32)]], FIRST)
        return alone, met, await together(0.3), replica.kind.shape.cores

    assert run(play, Shape(cores=1), {"m": "meeting:make"}) == ([1, 1], [2, 2], [1, 1], 1)


def test_a_replica_that_is_fenced_while_its_process_is_being_started_leaves_none():
    class Slow:
        host, killed, may_start = "127.0.0.1", 0, threading.Event()
        trace = None

        def start(self, job):
            self.may_start.wait()
            return self

        def kill(self):
            self.killed += 1

        def gone(self, timeout_s):
            return self.killed > 0

    async def main():
        launcher = Slow()
        with WorldManager(token="t") as manager:
            crew = Crew(Models({"tiny": "x"}), manager, "t", launcher)
            replica = WorkerReplica(7, ReplicaKind(("tiny",), Shape(cores=1)), crew)
            loading = asyncio.create_task(replica.load())
            await asyncio.sleep(0)
            loading.cancel()
            replica.fence()
            await replica.stop()
            launcher.may_start.set()
            await asyncio.get_running_loop().shutdown_default_executor()
        return launcher.killed

    assert asyncio.run(main()) == 1

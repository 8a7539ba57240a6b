"""The NCCL backend where there is no GPU: what it calls is there, and its order of launches is one that NCCL can run.

What stands in for NCCL pairs the operations of a communicator by the order in which its ranks launch them, as NCCL does, and
insists on what its documentation demands of them.
"""

import ast
import itertools
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch._C._distributed_c10d import Backend
from torch.distributed import ReduceOp

from runtime.worlds.backends import nccl, nccl_comm, nccl_pairs
from runtime.worlds.backends.nccl import Nccl
from runtime.worlds.backends.wire import Reduction
from runtime.worlds.board import Board
from runtime.worlds.frames import lay_out

STUB = Path(torch.__file__).parent / "_C" / "_distributed_c10d.pyi"


def calls_of_a_group():
    """What the backend calls on a process group: name and how many arguments."""
    for module in (nccl, nccl_comm, nccl_pairs):
        for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = ast.unparse(node.func.value)
                if owner in ("group", "self.group", "comm.group", "groups[0]"):
                    yield node.func.attr, len(node.args)


def declared(stub, *path):
    """What PyTorch declares in a class of its binary part, by name."""
    body = stub.body
    for name in path:
        body = next(node for node in body if isinstance(node, ast.ClassDef) and node.name == name).body
    names = {node.name: node for node in body if isinstance(node, ast.FunctionDef)}
    return names | {node.target.id: node for node in body if isinstance(node, ast.AnnAssign)}


def test_what_is_called_on_a_process_group_exists_and_takes_that_many_arguments():
    stub, seen = ast.parse(STUB.read_text()), set()
    for name, count in calls_of_a_group():
        seen.add(name)
        if name in (own := declared(stub, "ProcessGroupNCCL")):
            assert count == len(own[name].args.args) - 1, name
            continue
        signature = next(line for line in getattr(Backend, name).__doc__.splitlines() if "self: " in line)
        while (plain := re.sub(r"\[[^][]*\]", "", signature)) != signature:
            signature = plain
        wanted = signature[signature.index("(") + 1 : signature.rindex(")")].split(", ")[1:]
        assert sum(" = " not in argument for argument in wanted) <= count <= len(wanted), signature
    assert {"send", "recv", "broadcast", "allreduce", "reduce", "gather", "allgather", "scatter", "abort"} <= seen


def test_the_options_that_are_set_exist():
    stub = ast.parse(STUB.read_text())
    assert "config" in declared(stub, "ProcessGroupNCCL", "Options")
    assert "blocking" in declared(stub, "ProcessGroupNCCL", "NCCLConfig")
    assert isinstance(Backend.Options._timeout, property)


class Room:
    """One communicator: what its ranks have launched, by number."""

    def __init__(self, size):
        self.size, self.lock, self.launched, self.done = size, threading.Lock(), {}, set()

    def launch(self, number, rank, kind, *tensors):
        with self.lock:
            self.launched[number, rank] = (kind, tensors)
            if all((number, other) in self.launched for other in range(self.size)):
                self._run(*zip(*(self.launched.pop((number, other)) for other in range(self.size))))
                self.done.add(number)

    def _run(self, kinds, tensors):
        if set(kinds) == {"send", "recv"}:
            into, data = (tensors[kinds.index(kind)][0] for kind in ("recv", "send"))
            assert into.numel() == data.numel(), "sizes differ: the ranks launched in different orders"
            into.view(-1).copy_(data.view(-1))
            return
        ((kind, root),) = set(kinds)
        if kind == "broadcast":
            [mine.copy_(tensors[root][0]) for (mine,) in tensors]
        elif kind == "sum":
            total = sum(mine.clone() for (mine,) in tensors)
            [mine.copy_(total) for (mine,) in tensors]
        elif kind in ("gather", "all_gather"):
            for rank, (into, _) in enumerate(tensors):
                assert (len(into) == 1) == (root in (None, rank)), "the root alone gives a list"
                [part.copy_(mine) for part, (_, mine) in zip(into[0] if into else [], tensors)]
        else:
            for rank, (into, parts) in enumerate(tensors):
                assert (len(parts) == 1) == (root == rank), "the root alone gives a list"
                into.copy_(tensors[root][1][0][rank])


ROOMS, NUMBERS = {}, itertools.count()


class StandIn:
    """A process group whose operations are done once all its ranks have launched them."""

    Options = staticmethod(lambda: SimpleNamespace(config=SimpleNamespace()))

    def __init__(self, store, rank, size, options):
        assert options.config.blocking == 0
        if rank == 0:
            number = next(NUMBERS)
            ROOMS[number] = Room(size)
            store.set("room", str(number))
        self._room, self._rank, self._number = ROOMS[int(store.get("room"))], rank, 0

    eager_connect_single_device = abort = lambda self, *_: None

    def _launch(self, kind, *tensors):
        number, self._number = self._number, self._number + 1
        self._room.launch(number, self._rank, kind, *tensors)
        return SimpleNamespace(wait=lambda: CURRENT.stream.work.append(lambda: number in self._room.done))

    def send(self, tensors, peer, tag):
        return self._launch("send", *tensors)

    def recv(self, tensors, peer, tag):
        return self._launch("recv", *tensors)

    def broadcast(self, tensors, options):
        return self._launch(("broadcast", options.rootRank), *tensors)

    def allreduce(self, tensors, options):
        assert options.reduceOp == ReduceOp.SUM
        return self._launch(("sum", None), *tensors)

    def gather(self, into, tensors, options):
        return self._launch(("gather", options.rootRank), into, *tensors)

    def allgather(self, into, tensors):
        return self._launch(("all_gather", None), into, *tensors)

    def scatter(self, into, parts, options):
        return self._launch(("scatter", options.rootRank), *into, parts)


class Stream:
    """A stream of a device: what is to be done before what comes next."""

    def __init__(self, device=None):
        self.work = []

    def wait_stream(self, other):
        self.work += other.work


class Event:
    """Done once all is that was on the stream when it was recorded."""

    def record(self, stream):
        self._work = list(stream.work)

    def query(self):
        return all(done() for done in self._work)


CURRENT = threading.local()


@contextmanager
def using(stream):
    CURRENT.stream = stream
    yield


@contextmanager
def on(device):
    yield


@pytest.fixture
def wires(monkeypatch):
    """Makes the wires of one world in this process."""
    monkeypatch.setattr(torch.distributed, "ProcessGroupNCCL", StandIn, raising=False)
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: True)
    for name, value in {"is_available": lambda: True, "Stream": Stream, "Event": Event, "stream": using, "device": on}.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    made, pools = [], ThreadPoolExecutor(16)

    def make(size):
        boards = []

        def post(rank):
            return lambda key, value, ranks: [boards[to].receive(rank, key, value) for to in ranks]

        boards.extend(Board(rank, size, post(rank)) for rank in range(size))
        until_s, device = time.monotonic() + 30, torch.device("cpu", 0)
        coming = [pools.submit(Nccl().connect, board, None, "uid", device, until_s) for board in boards]
        made.extend(wire.result(30) for wire in coming)
        return made, boards, pools

    yield make
    for wire in made:
        wire.close()
    pools.shutdown()


def test_lanes_of_a_pair_launch_in_one_order_at_both_ends(wires):
    (one, two), _, pools = wires(2)

    def send(wire, peer, tag):
        start = wire.sender(peer, tag)
        for number in range(30):
            start(torch.full((10 + tag,), float(number))).wait(30)

    def recv(wire, peer, tag):
        start, got = wire.receiver(peer, tag), []
        for _ in range(30):
            into = torch.empty(10 + tag)
            start(into).wait(30)
            got.append(into.unique().tolist())
        return got

    running = [pools.submit(send, wire, peer, tag) for tag in range(3) for wire, peer in ((one, 1), (two, 0))]
    reading = [pools.submit(recv, wire, peer, tag) for tag in range(3) for wire, peer in ((one, 1), (two, 0))]
    assert [got.result(60) for got in reading] == [[[float(number)] for number in range(30)]] * 6
    [sent.result(60) for sent in running]


def test_messages_of_any_form_and_plain_tensors_share_a_direction(wires):
    (one, two), _, pools = wires(2)
    messages = [[torch.arange(3), torch.ones(2, 2)], [], [torch.empty(0)], [torch.tensor(True)]]

    def send():
        for number, message in enumerate(messages):
            layout = lay_out(tuple((tensor.dtype, tensor.shape) for tensor in message))
            one.message_sender(1, 0)(30, message, layout)
            one.sender(1, 0)(torch.tensor([number])).wait(30)

    sending, got = pools.submit(send), []
    for number, message in enumerate(messages):
        got = two.message_receiver(0, 0)(30)
        assert len(got) == len(message) and all(torch.equal(theirs, ours) for theirs, ours in zip(got, message))
        into = torch.empty(1, dtype=torch.int64)
        two.receiver(0, 0)(into).wait(30)
        assert into.item() == number
    sending.result(30)


def test_what_is_started_goes_on_while_nobody_waits(wires):
    (one, two), _, _ = wires(2)
    into = torch.empty(3)
    receiving, sending = two.receiver(0, 0)(into), one.sender(1, 0)(torch.ones(3))
    receiving.go_on()
    sending.go_on()
    receiving.wait(30)
    sending.wait(30)
    assert into.tolist() == [1.0, 1.0, 1.0]


def test_collectives_give_lists_at_the_root_alone(wires):
    team, _, pools = wires(3)

    def play(rank, wire):
        mine, total = torch.tensor([float(rank)]), torch.tensor([float(rank)])
        wire.all_reduce(total, Reduction.SUM, 30)
        gathered = [torch.empty(1) for _ in team] if rank == 1 else None
        wire.gather(mine, gathered, 1, 30)
        everything = [torch.empty(1) for _ in team]
        wire.all_gather(mine, everything, 30)
        part, told = torch.empty(1), mine.clone()
        wire.scatter(part, [mine + number for number in range(3)] if rank == 2 else None, 2, 30)
        wire.broadcast(told, 2, 30)
        wire.barrier(30)
        lists = [got and [each.item() for each in got] for got in (gathered, everything)]
        return total.item(), *lists, part.item(), told.item()

    for rank, result in enumerate([pools.submit(play, rank, wire) for rank, wire in enumerate(team)]):
        assert result.result(30) == (3.0, [0.0, 1.0, 2.0] if rank == 1 else None, [0.0, 1.0, 2.0], 2.0 + rank, 2.0)


def test_who_waits_for_a_launch_is_freed_by_an_abort_and_nothing_is_launched_after_it(wires):
    (one, two), _, pools = wires(2)
    other_world = threading.Event()
    one._launcher.submit(other_world.wait)  # it keeps the device's launching thread
    sending, receiving = (pools.submit(start(torch.ones(1)).wait, None) for start in (one.sender(1, 0), two.receiver(0, 0)))
    while one._launcher._work_queue.empty():
        time.sleep(0.01)
    room = one._comms[-1].group._room
    one.abort()
    with pytest.raises(RuntimeError, match="aborted"):
        sending.result(30)
    other_world.set()
    one._launcher.submit(int).result(30)  # what stood before it has had its turn
    assert not room.done and (0, 0) not in room.launched
    two.abort()
    with pytest.raises(RuntimeError, match="aborted"):
        receiving.result(30)


def test_who_waits_for_the_device_is_freed_by_an_abort_and_by_a_timeout(wires):
    (one, two), boards, pools = wires(2)
    waiting = pools.submit(one.receiver(1, 0)(torch.empty(1)).wait, None)
    boards[1].announce("bell/0/plain/0", b"1 0 ", to=0)  # it rang, and died before it launched
    making = pools.submit(two._make, "1to0", 0, 2)
    with pytest.raises(TimeoutError):
        waiting.result(0.2)
    one.abort()
    with pytest.raises(RuntimeError, match="aborted"):
        waiting.result(30)
    making.result(30)
    with pytest.raises(RuntimeError, match="no 'want"):
        two.sender(0, 5)(torch.ones(1)).wait(0.05)

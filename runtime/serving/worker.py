"""A worker process: one pipeline stage of a replica, or one tensor-parallel rank of a stage.

It has a world with the cluster process, its *home*, in which requests come, answers go, and each notices the other's end.
Stages pass on what they have computed in worlds of two; the ranks of a stage share one world, and fate. A worker ends when any
of these does, or when the cluster process leaves; where that ended suddenly, it keeps its models and waits to be asked back.
"""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from collections.abc import Callable, Sequence

import torch

from runtime.models.model import ModelError
from runtime.serving.hosted_models import HostedModels
from runtime.serving.job import Job
from runtime.serving.worker_wire import Head, decode, encode
from runtime.worlds import Reason, State, World, WorldError, WorldManager

LOOPBACK = "127.0.0.1"
ASKED_BACK_S = 60.0  # how long a worker waits for the next cluster process
STILL_S = 60.0  # how long the cluster process may stand still; of the workers that do, it is the cluster that notices
POLL_S = 0.1
LAST_BATCH_S = 5.0


def work(job: Job, host: str = LOOPBACK) -> None:
    """Run a worker until it is left or its replica breaks. `host` is the address at which others reach it."""
    torch.set_num_threads(1)
    with WorldManager(host, token=job.token, silence_s=STILL_S) as manager:
        worker = Worker(manager, job)
        with contextlib.suppress(WorldError):
            worker.run()
    worker.end()


class Servers:
    """How many batches may be computed at the same time.

    Attributes:
        count: of servers.
    """

    def __init__(self, count: int) -> None:
        self.count, self._busy, self._changed = count, 0, threading.Condition(threading.Lock())

    def take(self) -> None:
        """Takes one; waits until one is free."""
        with self._changed:
            while self._busy >= self.count:
                self._changed.wait()
            self._busy += 1

    def give_back(self) -> None:
        """One is free again."""
        with self._changed:
            self._busy -= 1
            self._changed.notify()

    def resize(self, count: int) -> None:
        """There are so many now; one too many is so no longer once it is given back."""
        with self._changed:
            self.count = count
            self._changed.notify_all()


class Worker:
    """One worker's worlds and models."""

    def __init__(self, manager: WorldManager, job: Job) -> None:
        self._manager, self._job, self._placement = manager, job, job.placement
        self._servers, self._manning = Servers(job.servers), threading.Lock()
        self._threads: list[threading.Thread] = []

    def run(self) -> None:
        """Meet, load, serve; and serve on where the next cluster process asks."""
        home = self._manager.join(self._job.name, 1, self._job.cluster)
        home.send_message(encode({"address": self._manager.address}), 0)
        where, _ = decode(home.recv_message(0))
        neighbours = self._meet(where)
        self._models = HostedModels(self._job, self._ranks)
        try:
            self._models.load()
        except ModelError as error:
            home.send_message(encode({"failed": str(error)}), 0)
            return
        gc.freeze()  # what is here by now stays; looking through it would hold up batches
        self._home = home
        self._begin()
        self._stay(home, neighbours)

    def end(self) -> None:
        """Wait for what is still computing; the worlds are closed."""
        for thread in self._threads:
            thread.join(LAST_BATCH_S)

    # --- Home ---

    def _stay(self, home: World, neighbours: Sequence[World]) -> None:
        """With the cluster process, and then the next one, until we are left or our replica breaks."""
        ready = encode({"ready": self._models.description()})
        coming: World | None = home
        while coming is not None:
            home = self._home = coming
            with contextlib.suppress(WorldError):
                home.send_message(ready, 1 - home.rank)
            if self._source is None and self._placement.rank == 0:
                self._take_from(home, 1 - home.rank)
            over = self._manager.wait_any((*neighbours, home))
            suddenly = over is home and home.broken is not None and home.broken.reason is not Reason.LEFT
            coming = self._next_home(neighbours) if suddenly else None

    def _next_home(self, neighbours: Sequence[World]) -> World | None:
        """Waits to be asked back; None: nobody did, or our replica is broken."""
        until_s = time.monotonic() + self._job.patience_s
        while (left_s := until_s - time.monotonic()) > 0:
            home = self._manager.create(self._job.name, 2, init_timeout_s=left_s, wait=False)
            while not (home.state is State.UP or home.over):
                with contextlib.suppress(TimeoutError):
                    home.wait(State.UP, timeout_s=POLL_S)
                if any(world.over for world in neighbours):
                    return None
            if not home.over:
                return home
        return None

    # --- Coming up ---

    def _meet(self, where: Head) -> list[World]:
        """Make the worlds with the neighbours; each is created by the one before."""
        place, replica = self._placement, self._job.replica
        device = place.device if self._job.backend == "nccl" else None
        create = {"backend": self._job.backend, "device": device, "wait": False}
        made: list[World] = []
        self._ranks: World | None = None
        self._source: World | None = None  # the stage before; None: home
        self._sink: World | None = None  # the stage after; None: home
        if place.intra_op > 1:
            name = f"replica {replica} stage {place.stage} ranks"
            if place.rank == 0:
                self._ranks = self._manager.create(name, place.intra_op, **create)  # type: ignore[arg-type]
            else:
                self._ranks = self._manager.join(name, place.rank, where["lead"], device=device, wait=False)
            made.append(self._ranks)
        if place.rank == 0 and not place.last:
            name = f"replica {replica} after stage {place.stage}"
            self._sink = self._manager.create(name, 2, **create)  # type: ignore[arg-type]
            made.append(self._sink)
        if place.rank == 0 and place.stage > 0:
            name = f"replica {replica} after stage {place.stage - 1}"
            self._source = self._manager.join(name, 1, where["before"], device=device, wait=False)
            made.append(self._source)
        for world in made:
            world.wait(State.UP)
            world.raise_if_over()
        return made

    # --- Serving ---

    def _begin(self) -> None:
        """The threads that take batches, compute, and pass on; ranks above 0 compute what rank 0 computes."""
        if self._placement.rank:
            self._run(self._follow)
            return
        if self._source is not None:
            self._take_from(self._source, 0)

    def _take_from(self, source: World, rank: int) -> None:
        """Batches come from there now."""
        self._taken, self._takers = (source, rank, threading.Lock()), 0
        self._have(self._servers.count)

    def _have(self, servers: int) -> None:
        """So many compute. Who takes a batch computes it, without waking another thread; the next waits in the stream."""
        self._servers.resize(servers)
        with self._manning:
            missing = max(0, servers - self._takers)
            self._takers += missing
        for _ in range(missing):
            self._run(self._take, *self._taken)

    def _run(self, what: Callable[..., None], *arguments: object) -> None:
        def run() -> None:
            with contextlib.suppress(WorldError):
                what(*arguments)

        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()

    def _take(self, source: World, rank: int, turn: threading.Lock) -> None:
        while True:
            with turn:
                head, tensors = decode(source.recv_message(rank))
                if "servers" in head:
                    self._have(head["servers"])
                    if self._sink is not None:
                        _send(self._sink, encode(head), 1)
                    continue
                self._servers.take()
            try:
                if not source.over:  # else whoever asked is gone
                    self._compute(head, tensors)
            finally:
                self._servers.give_back()

    def _compute(self, head: Head, tensors: Sequence[torch.Tensor]) -> None:
        for rank in range(1, self._placement.intra_op):
            assert self._ranks is not None
            _send(self._ranks, encode(head, tensors), rank)
        answer = encode(*self._models.answer(head, tensors))
        if self._sink is None:
            self._tell(answer)
            return
        _send(self._sink, answer, 1)
        if self._source is None:
            self._tell(encode({"id": head["id"], "freed": True}))

    def _tell(self, message: list[torch.Tensor]) -> None:
        with contextlib.suppress(WorldError):  # that home is over; there may be another one
            _send(self._home, message, 1 - self._home.rank)

    def _follow(self) -> None:
        assert self._ranks is not None
        while True:
            self._models.answer(*decode(self._ranks.recv_message(0)))



def _send(world: World, message: Sequence[torch.Tensor], rank: int) -> None:
    """From wherever the tensors are to where the world has them."""
    world.send_message([tensor.to(world.device) for tensor in message], rank)

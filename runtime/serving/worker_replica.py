"""A replica whose parts are worker processes, seen from the cluster process: see `Replica`."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import numpy as np

from envs.contract import ReplicaKind
from runtime.models.model import Placement, TensorSpec
from runtime.models.server_clocks import Head
from runtime.serving.crew import Crew, Part
from runtime.serving.job import Job, home_name
from runtime.serving.line import Line
from runtime.serving.replica import Answered, ReplicaLost, Tensors
from runtime.serving.under_way import UnderWay
from runtime.worlds import AsyncWorld, State, World, WorldError

LEAVE_S = KILLED_S = 5.0
FIND_S = 30.0  # a worker that is asked back and does not answer by then never will

Said = dict[str, Any]


class WorkerReplica:
    """One replica of worker processes.

    Args:
        number: its id in the cluster.
        kind: what it is an instance of.
        crew: how its workers are started and met.
        parts: its workers, where an earlier cluster process has started them; then `load` asks them back.
        gpus: those of its workers, where they have been chosen.
    """

    def __init__(
        self, number: int, kind: ReplicaKind, crew: Crew, parts: Sequence[Part] = (), gpus: Sequence[int] = ()
    ) -> None:
        self.number, self.kind, self._crew = number, kind, crew
        self.inputs: dict[str, tuple[TensorSpec, ...]] = {}
        self.outputs: dict[str, tuple[TensorSpec, ...]] = {}
        self.memory_bytes = 0.0
        self._parts = list(parts)
        self._processes = [part.process for part in parts]
        self._gpus = tuple(gpus)
        if crew.gpus:
            crew.gpus.hold(self._gpus)
        self._worlds: list[World] = []
        self._under_way: dict[int, UnderWay] = {}  # by message
        self._ids = itertools.count(secrets.randbits(60))  # an answer to an earlier cluster process is none of ours
        self._call: Callable[[str], None] = lambda reason: None
        self._lost: str | None = None
        self._stopping = self._fenced = False

    @property
    def whereabouts(self) -> dict[str, Any]:
        """See `Replica`."""
        if not self._parts:
            return {}
        parts = [{"process": dict(part.process.trace), "address": part.address} for part in self._parts]
        return {"models": self._crew.models.of(self.kind), "parts": parts, "gpus": list(self._gpus)}

    @classmethod
    def found(cls, number: int, kind: ReplicaKind, crew: Crew, whereabouts: Mapping[str, Any]) -> WorkerReplica | None:
        """One that an earlier cluster process has started, where all of it still runs and its models are as they were; else
        what is left of it is ended.
        """
        rows = whereabouts.get("parts", [])
        processes = [crew.launcher.find(row["process"]) for row in rows]
        if rows and all(processes) and whereabouts["models"] == crew.models.of(kind):
            parts = [Part(process, row["address"]) for process, row in zip(processes, rows) if process]
            return cls(number, kind, crew, parts, whereabouts["gpus"])
        for process in filter(None, processes):
            process.kill()
            process.gone(KILLED_S)
        return None

    # --- Coming up ---

    async def load(self) -> None:
        """See `Replica`."""
        self._loop = asyncio.get_running_loop()
        places = self._placements()
        try:
            homes = await (self._ask_back(places) if self._parts else self._bring_up(places))
            ready = [await _said_by(home) for home in homes]
        except WorldError as error:
            self.fence()
            raise ReplicaLost(f"replica {self.number} ({self.kind}): {error}") from error
        for placement, said in zip(places, ready):
            if "failed" in said:
                self.fence()
                raise ReplicaLost(f"replica {self.number} ({self.kind}), stage {placement.stage}: {said['failed']}")
        leads = [(home, said["ready"]) for p, home, said in zip(places, homes, ready) if p.rank == 0]
        self.inputs, self.outputs = _specs(leads[0][1]["inputs"]), _specs(leads[-1][1]["outputs"])
        self.memory_bytes = float(max(said["ready"]["memory_bytes"] for said in ready))
        self._first = leads[0][0]
        for home in (leads[0][0], leads[-1][0]):
            home.heard = self._heard
        await self._have(self.kind.shape.servers)  # those that were asked back may have had other ones

    async def _bring_up(self, places: Sequence[Placement]) -> list[Line]:
        """Starts the workers and has them meet."""
        for placement in places:
            job = self._job(placement)
            await asyncio.to_thread(self._start, job)  # the first one waits until the server is up that it is forked from
            self._watch(self._crew.manager.create(job.name, 2, wait=False))
        homes = await self._homes()
        addresses = [(await _said_by(home))["address"] for home in homes]
        self._parts = [Part(process, address) for process, address in zip(self._processes, addresses)]
        self._crew.remember()
        at = {(place.stage, place.rank): address for place, address in zip(places, addresses)}
        for place, home in zip(places, homes):
            where = {"lead": at[place.stage, 0], "before": at.get((place.stage - 1, 0))}
            home.send(where)
        return homes

    async def _ask_back(self, places: Sequence[Placement]) -> list[Line]:
        """Meets workers that have met each other already."""
        for placement, part in zip(places, self._parts):
            name = home_name(self.number, placement)
            self._watch(self._crew.manager.join(name, 1, part.address, init_timeout_s=FIND_S, wait=False))
        return await self._homes()

    async def _homes(self) -> list[Line]:
        for world in self._worlds:
            await AsyncWorld(world).wait(State.UP)
            world.raise_if_over()
        return [await Line.open(world) for world in self._worlds]

    def _watch(self, world: World) -> None:
        self._worlds.append(world)
        world.at_end.append(lambda: self._loop.call_soon_threadsafe(self._ended, world))

    def _placements(self) -> list[Placement]:
        shape, models = self.kind.shape, self._crew.models
        places = list(itertools.product(range(shape.inter_op), range(shape.intra_op)))
        if self._crew.gpus and not self._gpus:
            self._gpus = self._crew.gpus.take(len(places))
        devices = [f"cuda:{gpu}" for gpu in self._gpus] or [models.device] * len(places)
        return [
            Placement(stage, shape.inter_op, rank, shape.intra_op, device, models.dtype)
            for (stage, rank), device in zip(places, devices)
        ]

    @property
    def _backend(self) -> str:
        """Of worlds between its workers. NCCL wants a GPU for each; those that share one meet in the host's memory."""
        own = self._crew.models.device == "cuda" and len(set(self._gpus)) == len(self._gpus)
        return "nccl" if own else "gloo"

    def _job(self, placement: Placement) -> Job:
        crew, kind = self._crew, self.kind
        models = tuple((variant, crew.models.descriptions[variant]) for variant in kind.variants)
        return Job(self.number, models, placement, kind.batch, kind.shape.servers, crew.manager.address, crew.token,
                   crew.patience_s, self._backend)

    def _start(self, job: Job) -> None:
        """Blocks; runs in a thread."""
        process = self._crew.launcher.start(job)
        self._processes.append(process)
        if self._fenced:  # meanwhile
            process.kill()

    # --- Serving ---

    def serve(self, variant: str, requests: Sequence[Tensors], head: Head, traces: Sequence[str],
              freed: Callable[[], None], answered: Answered) -> None:
        """See `Replica`."""
        alike = _alike(requests)
        batch = UnderWay(len(requests), len(alike), freed, answered)
        try:
            self._raise_if_lost()
            for places in alike:
                named = {str(place): traces[place] for place in places if traces[place]}
                self._send(variant, [requests[place] for place in places], places, named, batch)
        except Exception as error:
            self._forget(batch)
            self._loop.call_soon(answered, error)

    def _send(self, variant: str, requests: Sequence[Tensors], places: Sequence[int], traces: Mapping[str, str],
              batch: UnderWay) -> None:
        """Those of one shape, as one message."""
        number = next(self._ids)
        arrays = requests[0] if len(requests) == 1 else [np.concatenate(parts) for parts in zip(*requests)]
        sizes = [len(request[0]) for request in requests]
        told = {"id": number, "variant": variant, "sizes": sizes, "places": places, "errors": {}}
        self._first.send(told | {"traces": traces} if traces else told, arrays)
        self._under_way[number] = batch

    def _heard(self, told: Said, outputs: list[np.ndarray]) -> None:
        """From the last stage, an answer; and from the first, what has left it."""
        number = told["id"]
        if batch := self._under_way.get(number):
            if "freed" in told:
                batch.free()
            else:
                del self._under_way[number]
                batch.answer(told, outputs)

    def _forget(self, batch: UnderWay) -> None:
        self._under_way = {number: other for number, other in self._under_way.items() if other is not batch}

    def resize(self, kind: ReplicaKind) -> Awaitable[None]:
        """See `Replica`: its workers compute in as many threads as it has cores."""
        self.kind = kind
        return self._have(kind.shape.servers)

    async def _have(self, servers: int) -> None:
        self._raise_if_lost()
        self._first.send({"servers": servers})

    def _raise_if_lost(self) -> None:
        if self._lost is not None or self._stopping:
            raise ReplicaLost(f"replica {self.number}: {self._lost or 'it is stopping'}")

    # --- The end ---

    def on_lost(self, call: Callable[[str], None]) -> None:
        """See `Replica`."""
        self._call = call

    def _ended(self, world: World) -> None:
        if self._lost is not None or self._stopping:
            return
        self._lost = f"{world.name}: {world.broken.text if world.broken else 'closed'}"
        self.fence()
        self._call(self._lost)
        batches, self._under_way = dict.fromkeys(self._under_way.values()), {}
        for batch in batches:
            batch.answered(ReplicaLost(f"replica {self.number}: {self._lost}"))

    def fence(self) -> None:
        """See `Replica`."""
        self._fenced = True
        for process in self._processes:
            process.kill()

    async def stop(self) -> None:
        """See `Replica`."""
        self._stopping = True
        await asyncio.to_thread(self._leave)
        if self._crew.gpus:
            self._crew.gpus.give_back(self._gpus)
            self._gpus = ()

    def _leave(self) -> None:
        for world in self._worlds:
            self._crew.manager.leave(world)
        for process in self._processes:
            if not process.gone(LEAVE_S):
                process.kill()
                process.gone(KILLED_S)


def _alike(requests: Sequence[Tensors]) -> Sequence[Sequence[int]]:
    """Places of the requests whose tensors are of the same dtypes and shapes, so that they can go in one message."""
    if len(requests) == 1:
        return [[0]]
    by_form: dict[Any, list[int]] = {}
    for place, request in enumerate(requests):
        by_form.setdefault(tuple([(part.dtype.char, part.shape[1:]) for part in request]), []).append(place)
    return list(by_form.values())


async def _said_by(home: Line) -> Said:
    """What a worker tells of itself."""
    while "id" in (said := await home.hear()):
        pass  # an answer to an earlier cluster process
    return said


def _specs(said: dict[str, list[Any]]) -> dict[str, tuple[TensorSpec, ...]]:
    return {
        variant: tuple(TensorSpec(name, kind, tuple(shape)) for name, kind, shape in specs) for variant, specs in said.items()
    }

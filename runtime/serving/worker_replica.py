"""A replica whose parts are worker processes, seen from the cluster process: see `Replica`."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from envs.contract import ReplicaKind
from runtime.models.model import Placement, TensorSpec
from runtime.models.server_clocks import Head
from runtime.serving.replica import ReplicaLost, RequestRefused, Tensors
from runtime.serving.worker import Job
from runtime.serving.worker_wire import decode, encode
from runtime.worlds import AsyncWorld, State, World, WorldError, WorldManager


class Process(Protocol):
    """A worker's process."""

    def kill(self) -> None: ...
    def gone(self, timeout_s: float) -> bool: ...


Start = Callable[[Job], Process]
"""Starts a worker: on this machine, or elsewhere."""


@dataclass(frozen=True)
class Models:
    """What runs for the variants of a scenario.

    Attributes:
        descriptions: by variant, see `runtime.models.catalogue`.
        device: torch's name of where they run.
        dtype: of weights.
    """

    descriptions: dict[str, str]
    device: str = "cpu"
    dtype: str = "float32"


class WorkerReplica:
    """One replica of worker processes.

    Args:
        number: its id in the cluster.
        kind: what it is an instance of.
        models: what its variants are.
        manager: of the cluster process' worlds.
        token: of all worlds.
        start: starts a process.
    """

    def __init__(
        self, number: int, kind: ReplicaKind, *, models: Models, manager: WorldManager, token: str, start: Start
    ) -> None:
        self.number, self.kind = number, kind
        self.inputs: dict[str, tuple[TensorSpec, ...]] = {}
        self.outputs: dict[str, tuple[TensorSpec, ...]] = {}
        self.memory_bytes = 0.0
        self._models, self._manager, self._token, self._start = models, manager, token, start
        self._processes: list[Process] = []
        self._worlds: list[World] = []
        self._under_way: dict[int, asyncio.Future[tuple[dict[str, Any], list[torch.Tensor]]]] = {}
        self._ids = itertools.count()
        self._call: Callable[[str], None] = lambda reason: None
        self._lost: str | None = None
        self._stopping = False

    # --- Coming up ---

    async def load(self) -> None:
        """See `Replica`."""
        self._loop = asyncio.get_running_loop()
        places = self._placements()
        try:
            for placement in places:
                self._begin(placement)
            for world in self._worlds:
                await asyncio.to_thread(world.wait, State.UP)
                world.raise_if_over()
            homes = [AsyncWorld(world) for world in self._worlds]
            addresses = {(p.stage, p.rank): (await self._hear(home))["address"] for p, home in zip(places, homes)}
            for placement, home in zip(places, homes):
                where = {
                    "lead": addresses[placement.stage, 0],
                    "before": addresses.get((placement.stage - 1, 0)),
                }
                await home.send_message(encode(where), 1)
            ready = [await self._hear(home) for home in homes]
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
        self._first, self._last = leads[0][0], leads[-1][0]
        self._reading = asyncio.create_task(self._read())

    def _placements(self) -> list[Placement]:
        shape = self.kind.shape
        return [
            Placement(stage, shape.inter_op, rank, shape.intra_op, self._models.device, self._models.dtype)
            for stage in range(shape.inter_op)
            for rank in range(shape.intra_op)
        ]

    def _begin(self, placement: Placement) -> None:
        models = tuple((variant, self._models.descriptions[variant]) for variant in self.kind.variants)
        job = Job(self.number, models, placement, self.kind.batch, self.kind.shape.servers, self._manager.address, self._token)
        world = self._manager.create(job.name, 2, wait=False)
        self._worlds.append(world)
        world.at_end.append(lambda: self._loop.call_soon_threadsafe(self._ended, world))
        self._processes.append(self._start(job))

    @staticmethod
    async def _hear(home: AsyncWorld) -> dict[str, Any]:
        return decode(await home.recv_message(1))[0]

    # --- Serving ---

    async def serve(self, variant: str, requests: Sequence[Tensors], head: Head) -> list[Tensors | RequestRefused]:
        """See `Replica`."""
        answers: list[Tensors | RequestRefused] = [RequestRefused("no answer")] * len(requests)
        by_shape: dict[Any, list[int]] = {}
        for place, request in enumerate(requests):
            by_shape.setdefault(tuple((part.dtype.str, part.shape[1:]) for part in request), []).append(place)
        await asyncio.gather(*(self._serve(variant, requests, places, answers) for places in by_shape.values()))
        return answers

    async def _serve(
        self, variant: str, requests: Sequence[Tensors], places: list[int], answers: list[Tensors | RequestRefused]
    ) -> None:
        """Those of one shape, as one batch."""
        number, future = next(self._ids), self._loop.create_future()
        tensors = [torch.from_numpy(np.concatenate(parts)) for parts in zip(*(requests[place] for place in places))]
        sizes = [len(requests[place][0]) for place in places]
        self._raise_if_lost()
        self._under_way[number] = future
        try:
            said = {"id": number, "variant": variant, "sizes": sizes, "places": places, "errors": {}}
            await self._first.send_message(encode(said, tensors), 1)
            told, outputs = await future
        except WorldError as error:
            raise ReplicaLost(f"replica {self.number}: {error}") from error
        finally:
            self._under_way.pop(number, None)
        for place, text in told["errors"].items():
            answers[int(place)] = RequestRefused(text)
        for place, *parts in zip(told["places"], *(output.split(told["sizes"]) for output in outputs)):
            answers[place] = [part.numpy() for part in parts]

    async def _read(self) -> None:
        with contextlib.suppress(WorldError):
            while True:
                told, outputs = decode(await self._last.recv_message(1))
                future = self._under_way.get(told["id"])
                if future is not None and not future.done():
                    future.set_result((told, outputs))

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
        for future in self._under_way.values():
            if not future.done():
                future.set_exception(ReplicaLost(f"replica {self.number}: {self._lost}"))
        self._call(self._lost)

    def fence(self) -> None:
        """See `Replica`."""
        for process in self._processes:
            process.kill()

    async def stop(self) -> None:
        """See `Replica`."""
        self._stopping = True
        await asyncio.to_thread(self._leave)

    def _leave(self) -> None:
        for world in self._worlds:
            self._manager.leave(world)
        for process in self._processes:
            if not process.gone(5.0):
                process.kill()
                process.gone(5.0)


def _specs(said: dict[str, list[Any]]) -> dict[str, tuple[TensorSpec, ...]]:
    return {
        variant: tuple(TensorSpec(name, kind, tuple(shape)) for name, kind, shape in specs) for variant, specs in said.items()
    }

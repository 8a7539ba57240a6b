"""A worker process: one pipeline stage of a replica, or one tensor-parallel rank of a stage.

It has a world with the cluster process, in which requests come, answers go, and each notices the other's end. Stages pass on
what they have computed in worlds of two; the ranks of a stage share one world, and fate. It ends when any of its worlds does.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from runtime.models import catalogue
from runtime.models.model import Model, ModelError, Placement
from runtime.serving.worker_wire import Head, decode, encode
from runtime.worlds import State, World, WorldError, WorldManager

Batch = tuple[Head, list[torch.Tensor]]


@dataclass(frozen=True)
class Job:
    """What a worker is started for.

    Attributes:
        replica: its number in the cluster.
        models: variant and description (`runtime.models.catalogue`) of each model that it hosts.
        placement: which part of them, where.
        batch: largest batch.
        servers: batches computed at the same time.
        cluster: address of the cluster process' worlds manager.
        token: of all worlds.
        backend: of worlds that carry tensors between workers.
    """

    replica: int
    models: tuple[tuple[str, str], ...]
    placement: Placement
    batch: int
    servers: int
    cluster: str
    token: str
    backend: str = "gloo"

    @property
    def name(self) -> str:
        """Of this worker, and of its world with the cluster process."""
        return f"replica {self.replica} stage {self.placement.stage} rank {self.placement.rank}"


def work(job: Job) -> None:
    """Run a worker until it is left or its replica breaks."""
    torch.set_num_threads(1)
    with WorldManager(token=job.token) as manager, contextlib.suppress(WorldError):
        Worker(manager, job).run()


class Worker:
    """One worker's worlds and models."""

    def __init__(self, manager: WorldManager, job: Job) -> None:
        self._manager, self._job, self._placement = manager, job, job.placement
        self._models: dict[str, Model] = {}
        self._waiting: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()

    def run(self) -> None:
        """Meet, load, serve."""
        home = self._manager.join(self._job.name, 1, self._job.cluster)
        home.send_message(encode({"address": self._manager.address}), 0)
        where, _ = decode(home.recv_message(0))
        self._meet(home, where)
        try:
            self._load()
        except ModelError as error:
            home.send_message(encode({"failed": str(error)}), 0)
            return
        home.send_message(encode({"ready": self._description()}), 0)
        if self._placement.rank:
            self._follow()
        else:
            self._lead()

    # --- Coming up ---

    def _meet(self, home: World, where: Head) -> None:
        """Make the worlds with the neighbours; each is created by the one before."""
        place, replica = self._placement, self._job.replica
        create = {"backend": self._job.backend, "wait": False}
        made: list[World] = []
        self._ranks = self._source = self._sink = home
        self._source_rank = self._sink_rank = 0
        if place.intra_op > 1:
            name = f"replica {replica} stage {place.stage} ranks"
            if place.rank == 0:
                self._ranks = self._manager.create(name, place.intra_op, **create)  # type: ignore[arg-type]
            else:
                self._ranks = self._manager.join(name, place.rank, where["lead"], wait=False)
            made.append(self._ranks)
        if place.rank == 0 and not place.last:
            name = f"replica {replica} after stage {place.stage}"
            self._sink = self._manager.create(name, 2, **create)  # type: ignore[arg-type]
            self._sink_rank = 1
            made.append(self._sink)
        if place.rank == 0 and place.stage > 0:
            name = f"replica {replica} after stage {place.stage - 1}"
            self._source = self._manager.join(name, 1, where["before"], wait=False)
            made.append(self._source)
        for world in made:
            world.wait(State.UP)
            world.raise_if_over()
        for world in (home, *made):
            world.at_end.append(lambda: self._waiting.put(None))

    def _load(self) -> None:
        for variant, description in self._job.models:
            group = self._ranks if self._placement.intra_op > 1 else None
            model = catalogue.make(description, self._placement, group=group)
            model.load()
            model.warm_up(1)
            if self._job.batch > 1:
                model.warm_up(self._job.batch)
            self._models[variant] = model

    def _description(self) -> Head:
        def specs(kind: str) -> dict[str, list[tuple[str, str, tuple[int, ...]]]]:
            return {
                variant: [(spec.name, spec.datatype, spec.shape) for spec in getattr(model, kind)]
                for variant, model in self._models.items()
            }

        memory = sum(model.memory_bytes for model in self._models.values())
        return {"inputs": specs("inputs"), "outputs": specs("outputs"), "memory_bytes": memory}

    # --- Serving ---

    def _lead(self) -> None:
        """Rank 0: take batches, compute, pass on."""
        threads = [threading.Thread(target=self._compute, daemon=True) for _ in range(self._job.servers)]
        for thread in threads:
            thread.start()
        try:
            while True:
                self._waiting.put(decode(self._source.recv_message(self._source_rank)))
        finally:
            for _ in threads:
                self._waiting.put(None)
            for thread in threads:
                thread.join()

    def _compute(self) -> None:
        with contextlib.suppress(WorldError):
            while (batch := self._waiting.get()) is not None:
                head, tensors = batch
                for rank in range(1, self._placement.intra_op):
                    self._ranks.send_message(encode(head, tensors), rank)
                self._sink.send_message(encode(*self._answer(head, tensors)), self._sink_rank)

    def _follow(self) -> None:
        """Ranks above 0 compute what rank 0 computes."""
        while True:
            self._answer(*decode(self._ranks.recv_message(0)))

    def _answer(self, head: Head, tensors: Sequence[torch.Tensor]) -> Batch:
        """A batch through our part: the tensors for the next, and in the head which requests the model could not answer."""
        if not head["sizes"]:
            return head, []
        try:
            return head, list(self._models[head["variant"]].run(tensors))
        except WorldError:
            raise
        except Exception as error:  # whatever a user's model raises
            if len(head["sizes"]) == 1:
                errors = {**head["errors"], str(head["places"][0]): str(error)}
                return {**head, "sizes": [], "places": [], "errors": errors}, []
        return self._one_by_one(head, tensors)

    def _one_by_one(self, head: Head, tensors: Sequence[torch.Tensor]) -> Batch:
        """One request spoils the batch: find out which, and answer the others."""
        parts = zip(head["sizes"], head["places"], *(tensor.split(head["sizes"]) for tensor in tensors))
        done: list[Batch] = [
            self._answer({**head, "sizes": [size], "places": [place], "errors": {}}, [part.contiguous() for part in inputs])
            for size, place, *inputs in parts
        ]
        errors, good = dict(head["errors"]), [(answer, outputs) for answer, outputs in done if answer["sizes"]]
        for answer, _ in done:
            errors.update(answer["errors"])
        merged = {**head, "sizes": [], "places": [], "errors": errors}
        for answer, _ in good:
            merged["sizes"] += answer["sizes"]
            merged["places"] += answer["places"]
        return merged, [torch.cat(outputs) for outputs in zip(*(outputs for _, outputs in good))]

"""The models that a worker hosts, or its part of them: loaded, described, and answering, whatever a user's model does."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch

from runtime.models import catalogue
from runtime.models.model import Model
from runtime.serving.job import Job
from runtime.serving.worker_wire import Batch, Head
from runtime.worlds import World, WorldError

log = logging.getLogger(__name__)


class HostedModels:
    """Those of one worker, by variant.

    Args:
        job: which models, and which part of them.
        ranks: the world of the ranks that compute the part together; None: it is one alone.
    """

    def __init__(self, job: Job, ranks: World | None) -> None:
        self._job, self._ranks = job, ranks
        self._models: dict[str, Model] = {}

    def load(self) -> None:
        """Loads and warms up all of them.

        Raises:
            ModelError: one cannot be.
        """
        group = _OnHost(self._ranks) if self._ranks and self._ranks.device.type == "cpu" else self._ranks
        for variant, description in self._job.models:
            model = catalogue.make(description, self._job.placement, group=group)
            model.load()
            model.warm_up(1)
            if self._job.batch > 1:
                model.warm_up(self._job.batch)
            self._models[variant] = model

    def description(self) -> Head:
        """What they take and give, and the memory that they hold."""

        def specs(kind: str) -> dict[str, list[tuple[str, str, tuple[int, ...]]]]:
            return {
                variant: [(spec.name, spec.datatype, spec.shape) for spec in getattr(model, kind)]
                for variant, model in self._models.items()
            }

        memory = sum(model.memory_bytes for model in self._models.values())
        return {"inputs": specs("inputs"), "outputs": specs("outputs"), "memory_bytes": memory}

    def answer(self, head: Head, tensors: Sequence[torch.Tensor]) -> Batch:
        """A batch through our part: the tensors for the next, and in the head which requests the model could not answer."""
        if not head["sizes"]:
            return head, []
        try:
            return head, list(self._models[head["variant"]].run(tensors))
        except WorldError:
            raise
        except Exception as error:  # whatever a user's model raises
            if len(head["sizes"]) == 1:
                place = str(head["places"][0])
                if trace := head.get("traces", {}).get(place):
                    log.warning("'%s' cannot answer a request (traceparent %s): %s", head["variant"], trace, error)
                errors = {**head["errors"], place: str(error)}
                return {**head, "sizes": [], "places": [], "errors": errors}, []
        return self._one_by_one(head, tensors)

    def _one_by_one(self, head: Head, tensors: Sequence[torch.Tensor]) -> Batch:
        """One request spoils the batch: find out which, and answer the others."""
        parts = zip(head["sizes"], head["places"], *(tensor.split(head["sizes"]) for tensor in tensors))
        done: list[Batch] = [
            self.answer({**head, "sizes": [size], "places": [place], "errors": {}}, [part.contiguous() for part in inputs])
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


class _OnHost:
    """Ranks that sum in the host's memory, wherever their tensors are."""

    def __init__(self, world: World) -> None:
        self._world = world

    def all_reduce(self, tensor: torch.Tensor) -> None:
        """See `runtime.models.model.Group`."""
        there = tensor.cpu()
        self._world.all_reduce(there)
        if there is not tensor:
            tensor.copy_(there)

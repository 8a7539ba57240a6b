"""What a worker drives: a `Model`, which is one variant's part on one device (a stage, and a rank of that stage).

    model = catalogue.make("bert-base", Placement(stage=0, inter_op=2))
    model.load()
    hidden, mask = model.run((input_ids,))        # sent on to stage 1 as they are
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

FREE = -1


class ModelError(ValueError):
    """A model cannot be made, loaded or run as asked; the text names it, says why, and what to do."""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output, in the terms of the Open Inference Protocol v2.

    Attributes:
        name: what requests and answers call it.
        datatype: of the protocol: ``FP32``, ``INT64``, ``BOOL``, ...
        shape: batch first; -1 is any size.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]

    def fits(self, datatype: str, shape: Sequence[int]) -> bool:
        """Whether a tensor is of this datatype, and of this shape where it is not free."""
        return (datatype == self.datatype and len(shape) == len(self.shape)
                and all(mine in (FREE, size) for mine, size in zip(self.shape, shape)))

    def __str__(self) -> str:
        return f"{self.name} {self.datatype} {list(self.shape)}"


@dataclass(frozen=True)
class Placement:
    """Which part of a model is held, where, and how.

    Attributes:
        stage, inter_op: this pipeline stage, of how many (`envs.contract.Shape`).
        rank, intra_op: this share of the stage, of how many.
        device: a torch device, ``cpu`` or ``cuda:0``.
        dtype: of weights and of what goes between stages: ``float32``, ``float16`` or ``bfloat16``. What comes in at the
            first stage and goes out at the last is ``float32``.

    Raises:
        ModelError: a stage or rank that is not there.
    """

    stage: int = 0
    inter_op: int = 1
    rank: int = 0
    intra_op: int = 1
    device: str = "cpu"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        for word, index, count in (("stage", self.stage, self.inter_op), ("rank", self.rank, self.intra_op)):
            if count < 1:
                raise ModelError(f"{count} {word}s: give 1 or more")
            if not 0 <= index < count:
                raise ModelError(f"{word} {index} of {count}: give 0 to {count - 1}")

    @property
    def last(self) -> bool:
        """Whether answers go out here."""
        return self.stage == self.inter_op - 1


class Group(Protocol):
    """What the ranks of one stage share: a `runtime.worlds.World` is one."""

    def all_reduce(self, tensor: torch.Tensor) -> object:
        """Replaces the tensor by its sum over all ranks, in place; every rank calls it at the same point."""


class Alone:
    """The group of a single rank: a sum over one is itself."""

    def all_reduce(self, tensor: torch.Tensor) -> None:
        """Leaves the tensor as it is."""


class Model(ABC):
    """One variant's part on one device.

    Attributes:
        name: the variant's description.
        inputs, outputs: what `run` takes and gives; empty until it is known, at the latest once loaded. Between stages, the
            outputs of one are the inputs of the next.
    """

    name: str
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()

    @abstractmethod
    def load(self) -> None:
        """Brings the weights of this part, and only these, onto the device.

        Raises:
            ModelError: they cannot be had.
        """

    @abstractmethod
    def warm_up(self, batch: int) -> None:
        """Runs one made-up batch of this size, so that the first real one is not slow."""

    @abstractmethod
    def run(self, tensors: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """One batch through this part.

        Args:
            tensors: one for each of `inputs`, on any device.

        Returns:
            One for each of `outputs`, on the model's device and contiguous, as worlds send them.

        Raises:
            ModelError: not loaded, or the tensors are not as `inputs` says.
        """

    @abstractmethod
    def unload(self) -> None:
        """Gives the memory back; `load` may follow."""

    @property
    @abstractmethod
    def memory_bytes(self) -> int:
        """Bytes that the weights hold on the device now; 0 when not loaded."""

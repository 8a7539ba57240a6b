"""Where weights come from: drawn by (seed, name), or read from a local file; a rank asks for its share only.

A tensor that ranks share is a row of *parts* along one dimension (of an attention layer, one part per head), each drawn from
its own generator. So the shares of any number of ranks are the same numbers as the whole, and nobody draws the whole.
"""

from __future__ import annotations

import hashlib
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from runtime.models.model import ModelError


@dataclass(frozen=True)
class Share:
    """Which parts of a tensor are held: `count` of `total`, from `first`, along `dim`."""

    dim: int = 0
    first: int = 0
    count: int = 1
    total: int = 1

    def whole(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the whole tensor, given that of the share."""
        return tuple(n // self.count * self.total if d == self.dim else n for d, n in enumerate(shape))


WHOLE = Share()
Moments = Callable[[str, tuple[int, ...]], tuple[float, float]]
"""Mean and standard deviation of a tensor's entries, by its name and whole shape."""


class Weights(ABC):
    """Where weights come from."""

    @abstractmethod
    def fill(self, tensor: torch.Tensor, name: str, share: Share) -> None:
        """Writes a tensor's entries.

        Args:
            tensor: a share of the tensor of that name.
            name: in the state dict of the whole model.
            share: which.

        Raises:
            ModelError: there are none for it.
        """


class DrawnWeights(Weights):
    """Normal numbers that depend on the seed, the tensor's name and the part, and on nothing else.

    Args:
        seed: the same seed makes the same model, on any device and however it is cut.
        moments: of each tensor.
    """

    def __init__(self, seed: int, moments: Moments) -> None:
        self.seed, self.moments = seed, moments

    def fill(self, tensor: torch.Tensor, name: str, share: Share) -> None:
        """Draws the share part by part, in float32 on the CPU."""
        mean, std = self.moments(name, share.whole(tuple(tensor.shape)))
        for i, part in enumerate(tensor.chunk(share.count, share.dim)):
            if std == 0:
                part.fill_(mean)
                continue
            word = hashlib.sha256(f"{self.seed}/{name}/{share.first + i}".encode()).digest()[:8]
            generator = torch.Generator().manual_seed(int.from_bytes(word, "little"))
            part.copy_(torch.empty(part.shape).normal_(mean, std, generator=generator))


class StoredWeights(Weights):
    """A file of safetensors, or a state dict as `torch.save` writes it; only what is asked for is read into memory.

    Args:
        path: the file. A state dict is read without unpickling code.

    Raises:
        ModelError: it is not there, or is neither.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise ModelError(f"{self.path}: no file of weights there; give one of safetensors, or a saved state dict")
        self._tensors = _safetensors(self.path) if self.path.suffix == ".safetensors" else _state_dict(self.path)

    def fill(self, tensor: torch.Tensor, name: str, share: Share) -> None:
        """Copies the share from the file."""
        if name not in self._tensors:
            some = ", ".join(sorted(self._tensors)[:3])
            raise ModelError(f"{self.path}: no tensor '{name}'; the file has {len(self._tensors)}, such as {some}")
        shape, read = self._tensors[name]
        wanted = share.whole(tuple(tensor.shape))
        if shape != wanted:
            raise ModelError(f"{self.path}: '{name}' has shape {list(shape)}, the model's is {list(wanted)}")
        if share.total == 1:
            tensor.copy_(read(...))
            return
        size = tensor.shape[share.dim] // share.count
        held = slice(share.first * size, (share.first + share.count) * size)
        tensor.copy_(read((slice(None),) * share.dim + (held,)))


def fill(module: nn.Module, prefix: str, weights: Weights) -> None:
    """Fills all parameters and buffers of a module.

    Args:
        module: its shared tensors are told by `share(name)` of the submodule that holds them.
        prefix: of its names in the state dict of the whole model.
        weights: where they come from.
    """
    with torch.no_grad():
        for path, owner in module.named_modules(prefix=prefix.rstrip(".")):
            share_of: Callable[[str], Share] = getattr(owner, "share", lambda _: WHOLE)
            for name, tensor in (*owner.named_parameters(recurse=False), *owner.named_buffers(recurse=False)):
                if tensor.is_floating_point():
                    weights.fill(tensor, f"{path}.{name}" if path else name, share_of(name))
                else:
                    tensor.zero_()  # a counter of training steps


_Entry = tuple[tuple[int, ...], Callable[[Any], torch.Tensor]]  # the whole shape, and a reader of a slice


def _safetensors(path: Path) -> Mapping[str, _Entry]:
    try:
        file = safe_open(path, "pt")
    except SafetensorError as error:
        raise ModelError(f"{path}: not in the form of safetensors ({error})") from error
    slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    return {name: (tuple(s.get_shape()), s.__getitem__) for name, s in slices.items()}


def _state_dict(path: Path) -> Mapping[str, _Entry]:
    try:
        found = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise ModelError(f"{path}: not a state dict of tensors ({str(error).splitlines()[0]})") from error
    if not isinstance(found, Mapping) or not all(isinstance(t, torch.Tensor) for t in found.values()):
        raise ModelError(f"{path}: holds a {type(found).__name__}, not a state dict of tensors; save model.state_dict()")
    return {name: (tuple(t.shape), t.__getitem__) for name, t in found.items()}

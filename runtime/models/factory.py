"""Any `nn.Module`, by ``package.module:callable``: a function or class without arguments that makes one.

    def sentiment() -> nn.Module:
        module = MyNetwork()
        module.example_inputs = {"tokens": torch.zeros(1, 64, dtype=torch.int64)}      # one request, by the names of inputs
        return module

An `nn.Sequential` can be cut into stages: by number of parameters, or before the children that its `split_points` name.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import torch
from torch import nn

from runtime.models.model import ModelError, Placement
from runtime.models.network import Row
from runtime.models.partition import cut
from runtime.models.torch_model import Tensors, TorchModel, numbered, repeated, specs


class FactoryModel(TorchModel):
    """One stage of a module that a factory makes.

    Args:
        path: ``package.module:callable``.
        placement: which part, where; it cannot be shared by ranks.
        seed: torch's, while the factory runs: every stage then draws the same weights.

    Raises:
        ModelError: the path names nothing that can be called, or the placement asks for ranks.
    """

    def __init__(self, path: str, placement: Placement, *, seed: int = 0) -> None:
        super().__init__(path, placement)
        if placement.intra_op > 1:
            raise ModelError(f"{path}: a factory's module cannot be shared by ranks; use intra_op 1")
        self.factory, self.seed = find(path), seed

    def build(self) -> nn.Module:
        """Makes the whole module on the CPU, runs its example, and keeps this stage."""
        module = self._made().to(self.dtype).eval()
        example = self._example(module)
        stages = [Row(nn.ModuleList(part), self.name) for part in self._parts(module)]
        batches = [tuple(repeated(tensor, size) for tensor in example.values()) for size in (1, 2)]
        small, large = (self._passed(stages, batch) for batch in batches)
        names = [list(example), *(numbered("hidden", len(tensors)) for tensors in small[1:-1]),
                 numbered("output", len(small[-1]))]
        at = self.placement.stage
        self.inputs, self.outputs = (specs(names[i], small[i], large[i], self.name) for i in (at, at + 1))
        self._request = small[at]
        return stages[at]

    def _made(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            try:
                module = self.factory()
            except Exception as error:
                raise ModelError(f"{self.name}: it raised {type(error).__name__}: {error}") from error
        if not isinstance(module, nn.Module):
            raise ModelError(f"{self.name}: it returned {type(module).__name__}; it must return an nn.Module")
        return module

    def _example(self, module: nn.Module) -> Mapping[str, torch.Tensor]:
        example = getattr(module, "example_inputs", None)
        if isinstance(example, Mapping) and example and all(isinstance(t, torch.Tensor) and t.ndim for t in example.values()):
            return example
        raise ModelError(f"{self.name}: its module needs `example_inputs`, a dict from the names of its inputs to tensors of "
                         "one request, batch dimension first")

    def _parts(self, module: nn.Module) -> list[list[nn.Module]]:
        """What each stage holds."""
        stages = self.placement.inter_op
        if stages == 1:
            return [[module]]
        if not isinstance(module, nn.Sequential):
            raise ModelError(f"{self.name}: a {type(module).__name__} cannot be cut into {stages} stages; return an "
                             "nn.Sequential, or use inter_op 1")
        children = list(module)
        points = getattr(module, "split_points", None)
        if points is None:
            parts = cut([float(sum(p.numel() for p in child.parameters())) for child in children], stages, self.name)
        else:
            parts = self._at_points(points, [name for name, _ in module.named_children()])
        return [children[part.start : part.stop] for part in parts]

    def _at_points(self, points: Sequence[str], children: Sequence[str]) -> list[range]:
        """The children of each stage, where the module says before which to cut."""
        starts = [i for i, name in enumerate(children) if name in points and i]
        if not len(starts) == len(points) == self.placement.inter_op - 1:
            raise ModelError(f"{self.name}: split_points {list(points)} do not make {self.placement.inter_op} stages; name "
                             f"{self.placement.inter_op - 1} of {', '.join(children[1:])}")
        return [range(a, b) for a, b in pairwise((0, *starts, len(children)))]

    def _passed(self, stages: Sequence[nn.Module], batch: Tensors) -> list[Tensors]:
        """What goes into each stage, and what comes out of the last."""
        between = [batch]
        inner = tuple(self._cast(tensor, self.dtype) for tensor in batch)
        try:
            with torch.inference_mode():
                for stage in stages:
                    inner = stage(*inner)
                    between.append(inner)
        except ModelError:
            raise
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
            raise ModelError(f"{self.name}: its example_inputs do not go through it: {told}") from error
        return [*between[:-1], tuple(self._cast(tensor, torch.float32) for tensor in inner)]


def find(path: str) -> Callable[[], object]:
    """What ``package.module:callable`` names.

    Raises:
        ModelError: there is no such module, it cannot be imported, or there is nothing in it that can be called.
    """
    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if f"{module_name}.".startswith(f"{error.name}."):
            raise ModelError(f"{path}: no module '{error.name}'; is its folder on PYTHONPATH?") from error
        raise ModelError(f"{path}: '{module_name}' imports '{error.name}', which is not installed") from error
    except Exception as error:
        raise ModelError(f"{path}: importing '{module_name}' raised {type(error).__name__}: {error}") from error
    found = getattr(module, name, None)
    if not callable(found):
        has = ", ".join(sorted(n for n, value in vars(module).items() if callable(value) and not n.startswith("_"))[:5])
        raise ModelError(f"{path}: '{module_name}' has nothing called '{name}' that can be called; it has: {has or 'nothing'}")
    return found

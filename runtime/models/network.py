"""Networks as rows of blocks: surveyed without memory, cut into stages, and only this stage's blocks ever made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from runtime.models.model import Alone, Group, Placement
from runtime.models.partition import cut
from runtime.models.torch_model import DTYPES, Tensors, TorchModel, as_tensors, numbered, specs
from runtime.models.weights import DrawnWeights, StoredWeights, fill


@dataclass(frozen=True)
class Block:
    """What is never cut.

    Attributes:
        prefix: of its tensors' names in the state dict of the whole network.
        make: makes it; tensors in, a tensor or several out.
    """

    prefix: str
    make: Callable[[], nn.Module]


class Network(ABC):
    """A row of blocks, as one rank holds them.

    Attributes:
        name: what messages call it.
        input_names, output_names: of its first inputs and last outputs.
    """

    name: str
    input_names: Sequence[str]
    output_names: Sequence[str]

    @abstractmethod
    def blocks(self, group: Group, rank: int, ranks: int) -> list[Block]:
        """All its blocks.

        Raises:
            ModelError: it cannot be shared by that many ranks.
        """

    @abstractmethod
    def requests(self, batch: int) -> Tensors:
        """A made-up batch of requests of full size, on the current default device."""

    @abstractmethod
    def moments(self, name: str, shape: tuple[int, ...]) -> tuple[float, float]:
        """Mean and standard deviation of the entries of a tensor, where weights are drawn."""


class NetworkModel(TorchModel):
    """One stage and rank of a network.

    Args:
        network: which.
        placement: which part, where.
        group: what the ranks of this stage share.
        seed: of the weights, where they are drawn.
        weights: a file to read them from instead.

    Attributes:
        stages: the blocks of each stage.

    Raises:
        ModelError: it cannot be cut so, or the weights cannot be had.
    """

    def __init__(
        self, network: Network, placement: Placement, group: Group, *, seed: int = 0, weights: str | None = None
    ) -> None:
        super().__init__(network.name, placement)
        self._weights = StoredWeights(weights) if weights else DrawnWeights(seed, network.moments)
        blocks = network.blocks(group, placement.rank, placement.intra_op)
        costs, small, large = survey(network, placement)
        self.stages = cut(costs, placement.inter_op, network.name)
        mine = self.stages[placement.stage]
        self._blocks = [blocks[i] for i in mine]
        self._request = tuple(torch.ones_like(tensor, device="cpu") for tensor in small[mine.start])
        self.inputs, self.outputs = (
            specs(_names(network, at, len(blocks), len(small[at])), small[at], large[at], network.name)
            for at in (mine.start, mine.stop)
        )

    def build(self) -> nn.Module:
        """Makes the blocks of this stage on the device, and fills them."""
        stage = nn.ModuleList()
        for block in self._blocks:
            with torch.device("meta"):
                module = block.make().to(self.dtype)
            module.to_empty(device=self.device)
            fill(module, block.prefix, self._weights)
            stage.append(module)
        return Row(stage, self.name)


class Row(nn.Module):
    """Modules one after another; what one returns, as a tensor or several, the next is given."""

    def __init__(self, modules: nn.ModuleList, name: str) -> None:
        super().__init__()
        self.row, self.name = modules, name

    def forward(self, *tensors: torch.Tensor) -> Tensors:
        """Through all of them."""
        for module in self.row:
            tensors = as_tensors(module(*tensors), self.name)
        return tensors


def survey(network: Network, placement: Placement) -> tuple[list[float], list[Tensors], list[Tensors]]:
    """What each block costs, and what passes between blocks, found on torch's device `meta`: without weights or arithmetic.

    Returns:
        Floating-point operations of each block for one request, and what goes into each block (after the last: what comes
        out) for a batch of one and for a batch of two, on `meta`.
    """
    with torch.device("meta"), torch.inference_mode():
        modules = [block.make() for block in network.blocks(Alone(), placement.rank, placement.intra_op)]
        costs, passed = [], []
        for batch in (1, 2):
            between = [network.requests(batch)]
            for module in modules:
                counter = FlopCounterMode(display=False)
                with counter:
                    between.append(as_tensors(module.eval()(*between[-1]), network.name))
                costs.append(float(counter.get_total_flops()))
            passed.append(between)
    inner = DTYPES[placement.dtype]
    for between in passed:  # inside, tensors have the placement's dtype; requests and answers have float32
        between[1:-1] = [tuple(t.to(inner) if t.is_floating_point() else t for t in tensors) for tensors in between[1:-1]]
    return costs[: len(modules)], passed[0], passed[1]


def _names(network: Network, at: int, blocks: int, count: int) -> Sequence[str]:
    """Names of what goes into block `at`."""
    if at in (0, blocks):
        return network.output_names if at else network.input_names
    return numbered("hidden", count)

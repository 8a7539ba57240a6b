"""Linear layers that ranks share (Megatron-LM: Shoeybi et al., 2019, section 3).

A `ColumnLinear` gives each rank some of the outputs; a `RowLinear` after it takes these as its inputs and sums over the ranks.
So a pair costs one `all_reduce`, and nothing in between is held twice.
"""

from __future__ import annotations

import torch
from torch import nn

from runtime.models.model import Group, ModelError
from runtime.models.weights import WHOLE, Share


def share_of_rank(parts: int, rank: int, ranks: int, name: str) -> Share:
    """The parts of one rank, of as many for each.

    Raises:
        ModelError: they do not come out even.
    """
    if parts % ranks:
        raise ModelError(f"{name}: {parts} heads cannot be shared by {ranks} ranks; use an intra_op that divides {parts}")
    return Share(first=rank * (parts // ranks), count=parts // ranks, total=parts)


class ColumnLinear(nn.Linear):
    """The outputs of one rank: (..., inputs) to (..., this rank's outputs).

    Args:
        inputs, outputs: of the whole layer.
        parts: the share of its outputs that this rank has.
    """

    def __init__(self, inputs: int, outputs: int, parts: Share) -> None:
        super().__init__(inputs, outputs // parts.total * parts.count)
        self.parts = parts

    def share(self, name: str) -> Share:
        """Rows of the weight, and their biases."""
        return self.parts


class RowLinear(nn.Linear):
    """All outputs from the inputs of one rank, summed over the ranks: (..., this rank's inputs) to (..., outputs).

    Args:
        inputs, outputs: of the whole layer.
        parts: the share of its inputs that this rank has.
        group: the ranks.
    """

    def __init__(self, inputs: int, outputs: int, parts: Share, group: Group) -> None:
        super().__init__(inputs // parts.total * parts.count, outputs)
        self.parts, self.group = parts, group

    def share(self, name: str) -> Share:
        """Columns of the weight; every rank has the whole bias, and adds it after the sum."""
        return Share(1, self.parts.first, self.parts.count, self.parts.total) if name == "weight" else WHOLE

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The whole sum, the same on every rank."""
        total = nn.functional.linear(x, self.weight)
        self.group.all_reduce(total)
        return total + self.bias

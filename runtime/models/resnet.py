"""ResNets for images of 224 x 224, or of another side (He et al., CVPR 2016), with torchvision's names of tensors.

As in torchvision ("v1.5"), a bottleneck that halves the picture does so in its 3 x 3 convolution, not in the first 1 x 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from runtime.models.model import Group, ModelError
from runtime.models.network import Block, Network
from runtime.models.torch_model import Tensors

SIDE, CLASSES = 224, 1000


class Residual(nn.Module):
    """What basic blocks and bottlenecks share: relu(branch(x) + shortcut(x))."""

    downsample: nn.Module | None

    def branch(self, x: torch.Tensor) -> torch.Tensor:
        """The learned part."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, inner channels, side, side) to (batch, outer channels, side / stride, side / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        return torch.relu_(self.branch(x) + shortcut)


class Basic(Residual):
    """Two 3 x 3 convolutions."""

    expansion = 1
    last_norm = "bn2"

    def __init__(self, inner: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(inner, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3), nn.BatchNorm2d(width)
        self.downsample = _downsample(inner, width, stride)

    def branch(self, x: torch.Tensor) -> torch.Tensor:
        """The learned part."""
        x = torch.relu_(self.bn1(self.conv1(x)))
        return self.bn2(self.conv2(x))


class Bottleneck(Residual):
    """A 1 x 1 convolution to fewer channels, a 3 x 3 one, and a 1 x 1 one to four times as many."""

    expansion = 4
    last_norm = "bn3"

    def __init__(self, inner: int, width: int, stride: int) -> None:
        super().__init__()
        outer = width * self.expansion
        self.conv1, self.bn1 = _conv(inner, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = _conv(width, outer, 1), nn.BatchNorm2d(outer)
        self.downsample = _downsample(inner, outer, stride)

    def branch(self, x: torch.Tensor) -> torch.Tensor:
        """The learned part."""
        x = torch.relu_(self.bn1(self.conv1(x)))
        x = torch.relu_(self.bn2(self.conv2(x)))
        return self.bn3(self.conv3(x))


class Stem(nn.Module):
    """From the picture to 64 channels of a quarter of its side."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(3, 64, 7, 2), nn.BatchNorm2d(64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, 3, side, side) to (batch, 64, side / 4, side / 4)."""
        return nn.functional.max_pool2d(torch.relu_(self.bn1(self.conv1(x))), 3, 2, 1)


class Head(nn.Module):
    """From the mean of each channel to the classes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, side, side) to (batch, classes)."""
        return self.fc(x.mean((2, 3)))


@dataclass(frozen=True)
class ResNet(Network):
    """A ResNet: which residual blocks, how many in each of its four layers, and the side of its pictures in pixels."""

    name: str
    block: type[Basic] | type[Bottleneck]
    depths: tuple[int, int, int, int]
    side: int = SIDE

    input_names = ("image",)
    output_names = ("logits",)

    def blocks(self, group: Group, rank: int, ranks: int) -> list[Block]:
        """Stem, residual blocks, head."""
        if ranks > 1:
            raise ModelError(f"{self.name}: a ResNet cannot be shared by {ranks} ranks; use intra_op 1, and stages")
        row = [Block("", Stem)]
        inner = 64
        for layer, depth in enumerate(self.depths):
            width = 64 << layer
            for i in range(depth):
                make: Callable[[], nn.Module] = partial(self.block, inner, width, 2 if layer and i == 0 else 1)
                row.append(Block(f"layer{layer + 1}.{i}.", make))
                inner = width * self.block.expansion
        return [*row, Block("", partial(Head, inner))]

    def requests(self, batch: int) -> Tensors:
        """Pictures."""
        return (torch.ones(batch, 3, self.side, self.side),)

    def moments(self, name: str, shape: tuple[int, ...]) -> tuple[float, float]:
        """He's for convolutions; the last norm of a branch is scaled so that the sum over all branches stays near 1."""
        if len(shape) == 4:
            return 0.0, math.sqrt(2 / math.prod(shape[1:]))
        if name.startswith("fc."):
            return 0.0, 0.01
        if name.endswith(f"{self.block.last_norm}.weight") and "." in name[: -len(".weight")]:
            return 1 / math.sqrt(sum(self.depths)), 0.0
        return (1.0 if name.endswith(("weight", "running_var")) else 0.0), 0.0


def _conv(inner: int, outer: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inner, outer, size, stride, size // 2, bias=False)


def _downsample(inner: int, outer: int, stride: int) -> nn.Module | None:
    """What brings the shortcut to the shape of the branch, where they differ."""
    if inner == outer and stride == 1:
        return None
    return nn.Sequential(_conv(inner, outer, 1, stride), nn.BatchNorm2d(outer))


RESNETS = {
    network.name: network
    for network in (
        ResNet("resnet18", Basic, (2, 2, 2, 2)),
        ResNet("resnet34", Basic, (3, 4, 6, 3)),
        ResNet("resnet50", Bottleneck, (3, 4, 6, 3)),
        ResNet("resnet101", Bottleneck, (3, 4, 23, 3)),
        ResNet("resnet152", Bottleneck, (3, 8, 36, 3)),
    )
}

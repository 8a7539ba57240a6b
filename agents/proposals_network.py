"""The network over proposals while it learns: two hidden layers, a score for each proposal, and how much a move is minded."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from agents.brain import Layers


def make_network(inputs: int, hidden: int, proposals: int) -> nn.Sequential:
    """A network to which all proposals are alike, and a move costs what it costs."""
    network = nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(),
                            nn.Linear(hidden, proposals + 1))
    with torch.no_grad():
        last_of(network).weight.mul_(0.1)
        last_of(network).bias.zero_()
        last_of(network).bias[-1] = float(np.log(np.expm1(1.0)))
    return network


def last_of(network: nn.Sequential) -> nn.Linear:
    """Its last layer."""
    last = network[-1]
    assert isinstance(last, nn.Linear)
    return last


def layers_of(network: nn.Sequential) -> Layers:
    """Weights and biases, as `agents.brain.forward` takes them."""
    return [(part.weight.detach().numpy().copy(), part.bias.detach().numpy().copy())
            for part in network if isinstance(part, nn.Linear)]

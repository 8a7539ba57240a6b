"""The order/keep network in torch: what is trained, and how its outputs become a soft band over a menu."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from agents.order_keep_chain import Band, Chain
from agents.order_keep_features import names
from agents.order_keep_menu import Menu
from agents.order_keep_rules import HEADS_S, Base, liking


def make_network(hidden: int, families: int) -> nn.Sequential:
    """A network for a menu of so many families that corrects nothing at first."""
    outputs = 3 * families * len(HEADS_S)
    network = nn.Sequential(nn.Linear(len(names()), hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(),
                            nn.Linear(hidden, outputs))
    last = network[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.zero_()
        last.bias.zero_()
    return network


def layers_of(network: nn.Sequential) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights and biases, as `agents.network_policy.forward` takes them."""
    return [(part.weight.detach().numpy().copy(), part.bias.detach().numpy().copy())
            for part in network if isinstance(part, nn.Linear)]


def band_of(outputs: torch.Tensor, now_rps: torch.Tensor, base: Base) -> Band:
    """`agents.order_keep_rules.levels_of` with gradients, and with probabilities of the families."""
    order, gap, family = outputs.chunk(3, dim=-1)
    order = order + now_rps.clamp_min(1e-3).log()[..., None] + torch.tensor(base.order).float()
    keep = order + nn.functional.softplus(gap + torch.tensor(base.gap).float())
    liked = torch.from_numpy(liking(base.family, family.shape[-1])).float()
    return Band(order, keep, (family + liked).softmax(-1))


def chain_of(menu: Menu, budget: float) -> Chain:
    """The menu as tensors."""
    return Chain(torch.from_numpy(menu.log_rps).float(), torch.from_numpy(menu.family),
                 torch.from_numpy(menu.units / budget).float(), torch.from_numpy(menu.union_units / budget).float())

"""The expected reward of an order/keep band, as a differentiable function of its levels.

The cluster on a menu of M deployments is a chain: a deployment is in force, and either it stays for an interval, or another
is ordered, loads for D intervals while the old one serves, and is in force then; the next decision comes K = ceil(D)
intervals after the order. Load does not hang on decisions, so the chance of each deployment and the reward of each move
are known exactly: no sampling, no critic. Gradients reach *whether* to order as well as *how much*.

With families h (`agents.order_keep_menu`), a deployment a in force, meant for the load x_a, leaves upwards with probability
sigmoid((S_h(a) - x_a) / tau), downwards with sigmoid((x_a - U_h(a)) / tau) where it does not leave upwards. What is
ordered is of family h with probability w_h, and there near S_h, or U_h: proportional to exp(-|x_b - S_h| / tau). As tau
falls to 0 this is the policy that is exported: order up to S, keep up to U.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor


class Band(NamedTuple):
    """Levels and families over time, each (B, T, H): log of order levels and keep levels (req/s), probability of families."""

    order: Tensor
    keep: Tensor
    family: Tensor


class Chain(NamedTuple):
    """The menu as tensors."""

    log_rps: Tensor  # (M,)
    family: Tensor  # (M,) int64
    cost: Tensor  # (M,) share of the budget
    union_cost: Tensor  # (M, M) share of the budget while the column loads beside the row


class Moves(NamedTuple):
    """(B, T, M) each: probability of leaving each deployment upwards and downwards; of each one being ordered then."""

    up: np.ndarray
    down: np.ndarray
    to_order: np.ndarray
    to_keep: np.ndarray


class Prices(NamedTuple):
    """What cost and changes are worth, (B,) each; `change` once for each order."""

    cost: Tensor
    change: Tensor


def expected_reward(chain: Chain, band: Band, value: Tensor, prices: Prices, start: Tensor, load_intervals: float,
                    tau: float) -> Tensor:
    """(B,) expected reward of an interval, with the gradient to the band.

    Decisions are made in the first T intervals; `value` goes on for E >= 2 K more, so that what is ordered last is paid for.

    The gradient is that of the policy gradient theorem, exact here: each move's probability is worth what follows from it. So
    two passes over time (probabilities forwards, what is still to come backwards) need no graph, and all moves are
    differentiated at once.

    Args:
        chain: the menu.
        band: of T intervals; that of interval t may know the loads before t only.
        value: (B, T + E, M) reward for accuracy and violations of each deployment.
        prices: of the rest of the reward.
        start: (B, M) probability of each deployment at first.
        load_intervals: D.
        tau: softness, in units of log load.
    """
    intervals, decisions = value.shape[1], band.order.shape[1]
    wait = max(1, math.ceil(load_intervals - 1e-6))
    old, new = _while_loading(value, load_intervals, wait, decisions)
    stay = value - prices.cost[:, None, None] * chain.cost
    beside = load_intervals * chain.union_cost + (wait - load_intervals) * chain.cost  # (M, M), each order's
    up, down, to_order, to_keep = _moves(chain, band, tau)

    def ordering(to: Tensor) -> Tensor:  # (B, T, M) reward of ordering another deployment, until the next decision
        held = to @ beside.T - to * beside.diagonal()
        paid = prices.cost[:, None, None] * held + prices.change[:, None, None] * (1 - to)
        return (1 - to) * old - paid + _of_others(to, new)

    rise, fall = ordering(to_order), ordering(to_keep)
    with torch.no_grad():
        moves = Moves(*(part.numpy() for part in (up, down, to_order, to_keep)))
        here = _forwards(moves, start.numpy(), intervals, wait)
        to_come = _backwards(moves, rise.numpy(), fall.numpy(), stay.numpy(), wait)
    expected = torch.from_numpy((start.numpy() * to_come[:, 0]).sum(1) / intervals)
    after, later = (torch.from_numpy(to_come[:, k : k + decisions]) for k in (1, wait))
    worth = (1 - up * (1 - to_order) - down * (1 - to_keep)) * (stay[:, :decisions] + after)
    worth = worth + up * (rise + _of_others(to_order, later)) + down * (fall + _of_others(to_keep, later))
    slope = (torch.from_numpy(here[:, :decisions]) * worth).sum((1, 2)) / intervals
    return expected + slope - slope.detach()


def _of_others(to: Any, worth: Any) -> Any:
    """(..., M) for each deployment in force: what those ordered in its place are worth; to order itself is to stay."""
    each = to * worth
    return each.sum(-1)[..., None] - each


def _forwards(moves: Moves, start: np.ndarray, intervals: int, wait: int) -> np.ndarray:
    """(B, T + E, M) probability of each deployment being in force with a decision due."""
    up, down, to_order, to_keep = moves
    here = np.zeros((len(start), intervals + wait, start.shape[1]), start.dtype)
    here[:, 0] = start
    for t in range(intervals):
        if t < up.shape[1]:
            rise, fall = here[:, t] * up[:, t], here[:, t] * down[:, t]
            others = (mass.sum(1, keepdims=True) - mass for mass in (rise, fall))
            here[:, t + wait] += sum(to[:, t] * mass for to, mass in zip((to_order, to_keep), others))
            here[:, t + 1] += here[:, t] - rise * (1 - to_order[:, t]) - fall * (1 - to_keep[:, t])
        else:
            here[:, t + 1] += here[:, t]
    return here[:, :intervals]


def _backwards(moves: Moves, rise: np.ndarray, fall: np.ndarray, stay: np.ndarray, wait: int) -> np.ndarray:
    """(B, T + E + 1, M) expected reward from each time on, all intervals together, where a decision is due."""
    up, down, to_order, to_keep = moves
    to_come = np.zeros((stay.shape[0], stay.shape[1] + 1, stay.shape[2]), stay.dtype)
    for t in range(stay.shape[1] - 1, -1, -1):
        kept = stay[:, t] + to_come[:, t + 1]
        if t < up.shape[1]:
            later = to_come[:, t + wait]
            higher = rise[:, t] + _of_others(to_order[:, t], later) - (1 - to_order[:, t]) * kept
            lower = fall[:, t] + _of_others(to_keep[:, t], later) - (1 - to_keep[:, t]) * kept
            kept = kept + up[:, t] * higher + down[:, t] * lower
        to_come[:, t] = kept
    return to_come


def _while_loading(value: Tensor, load_intervals: float, wait: int, decisions: int) -> tuple[Tensor, Tensor]:
    """(B, T, M) twice: earned from an order to the next decision, by the old deployment and by the new one."""
    old, new = torch.zeros_like(value[:, :decisions]), torch.zeros_like(value[:, :decisions])
    for j in range(wait):
        share = min(max(load_intervals - j, 0.0), 1.0)
        later = value[:, j : j + decisions]
        old, new = old + share * later, new + (1 - share) * later
    return old, new


def _moves(chain: Chain, band: Band, tau: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(B, T, M) each: probability of leaving each deployment upwards and downwards; of each one being ordered then."""
    x, h = chain.log_rps, chain.family
    order, keep, family = (part[..., h] for part in band)
    up = torch.sigmoid((order - x) / tau)
    down = (1 - up) * torch.sigmoid((x - keep) / tau)
    member = torch.nn.functional.one_hot(h, band.family.shape[-1]).to(x.dtype)

    def near(level: Tensor) -> Tensor:
        closeness = -(x - level).abs() / tau
        peak = torch.stack([closeness[..., h == f].amax(-1) for f in range(member.shape[1])], -1)[..., h]
        weight = torch.exp(closeness - peak.detach())
        return family * weight / (weight @ member)[..., h]

    return up, down, near(order), near(keep)

"""What a policy over proposals earns in expectation, exactly and with its gradient: nothing is sampled, there is no critic.

The cluster is a chain over the M proposals. Load does not hang on decisions, so the chance of each proposal being in force in
each interval, and what it earns there, are known. In an interval in which proposal a gives way to b, a serves until b has
loaded, and both are held meanwhile (`agents.proposals.Moves`).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Course(NamedTuple):
    """In expectation.

    Attributes:
        served: (B, T, M) share of each interval that each proposal serves; sums to 1.
        paid: (B, T) reward that cost and changes take.
    """

    served: Tensor
    paid: Tensor


def choice(score: Tensor, mind: Tensor, extra: Tensor, tau: float) -> Tensor:
    """(B, T, M, M) chance of going from the row to the column; as tau falls to 0, all of it at the greatest.

    Args:
        score: (B, T, M) how good each proposal is, in rewards.
        mind: (B, T) how much a move is minded, times what it costs.
        extra: (M, M) what it costs, 0 for staying.
        tau: softness, in rewards.
    """
    return ((score[:, :, None, :] - mind[..., None, None] * extra) / tau).softmax(-1)


def expected(start: Tensor, chosen: Tensor, late: Tensor, paid: Tensor) -> Course:
    """The course of clusters that choose like this.

    Args:
        start: (B, M) chance of each proposal before the first decision.
        chosen: (B, T, M, M), see `choice`.
        late: (M, M), see `agents.proposals.Moves`.
        paid: (M, M), see there.
    """
    here, moves = start, []
    for t in range(chosen.shape[1]):
        move = here[:, :, None] * chosen[:, t]
        here = move.sum(1)
        moves.append(move)
    moved = torch.stack(moves, 1)
    waiting = moved * late
    return Course((moved - waiting).sum(2) + waiting.sum(3), (moved * paid).sum((2, 3)))

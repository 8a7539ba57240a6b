"""The rule that is exported: to the proposal of the greatest score, less what the move there costs. Numpy alone."""

from __future__ import annotations

import numpy as np

from agents.proposals import Moves

LEAST_EXTRA = 0.002  # reward of any move: what counting noise alone would make it flap for


def parted(outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(..., M + 1) outputs of a network as scores (..., M) and how much a move is minded (...)."""
    return outputs[..., :-1], np.logaddexp(0.0, outputs[..., -1])


def minded(moves: Moves) -> np.ndarray:
    """(M, M) what a network weighs a move by: its cost, and a little."""
    return np.asarray(moves.extra + LEAST_EXTRA * (1 - np.eye(len(moves.late))))


def wanted(score: np.ndarray, mind: np.ndarray, extra: np.ndarray, here: np.ndarray) -> np.ndarray:
    """(N,) entries wanted by scores (N, M) and minds (N,), where `here` (N,) is in force."""
    return np.asarray((score - mind[:, None] * extra[here]).argmax(-1))


def play(score: np.ndarray, mind: np.ndarray, extra: np.ndarray, moves: Moves, value: np.ndarray) -> np.ndarray:
    """(W, T) rewards of scores (W, T, M) and minds (W, T) that begin at entry 0, by values (W, T, M) of each proposal."""
    rows, here = np.arange(len(score)), np.zeros(len(score), np.int64)
    earned = np.empty(mind.shape)
    for t in range(mind.shape[1]):
        there = wanted(score[:, t], mind[:, t], extra, here)
        late = moves.late[here, there]
        earned[:, t] = late * value[rows, t, here] + (1 - late) * value[rows, t, there] - moves.paid[here, there]
        here = there
    return earned

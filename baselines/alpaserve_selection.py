"""Which models go on which groups, the groups being given: AlpaServe's Algorithm 1 and its fast greedy.

Both grow a placement by one model on one group at a time and judge it by replaying requests (Li et al., OSDI 2023,
section 4.2; the rules for ties are those of the published program).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from baselines.placement import Group, Placement, normal, room, with_model
from baselines.placement_replay import Replay
from envs.contract import Shape

Order = Callable[[np.ndarray], np.ndarray]

EPSILON = 1e-6


def as_published(values: np.ndarray) -> np.ndarray:
    """Indices, ascending by value; equal ones in the order in which the published program's sort left them.

    That was numpy's quicksort, which is not stable and differs by processor today; in extended precision it is as it was.
    """
    return np.argsort(values.astype(np.longdouble))


def shuffled(seed: int) -> Order:
    """Ascending by value too; equal ones in an order drawn anew each time."""
    rng = np.random.default_rng(seed)

    def order(values: np.ndarray) -> np.ndarray:
        drawn = rng.permutation(len(values))
        return drawn[np.argsort(values[drawn], kind="stable")]

    return order


def greedy(replay: Replay, shapes: Sequence[Shape], models: Sequence[int] | None = None,
           order: Order = as_published) -> Placement:
    """One replay a step: the model that goes unserved most is added to the group that is asked least, where it fits.

    The order of groups comes before that of models. It ends when nothing fits anywhere, and what it has then is the answer,
    though an earlier placement may have scored better: that is how it is published. So is EPSILON: of models that go unserved
    as often, the one whose load is served to the larger share comes first.

    Args:
        replay: plays the requests to plan on.
        shapes: of the groups.
        models: which may be placed; None: all.
        order: of values, ascending: what comes first of equal ones.

    Returns:
        The placement, one group for each shape, in normal order.
    """
    placement = normal([Group(shape) for shape in shapes])
    chosen = np.arange(len(replay.problem.models)) if models is None else np.asarray(models)
    while (fits := room(replay.problem, placement)[:, chosen]).any():
        outcome = replay.play(placement)
        asked = outcome.asked[chosen]
        groups, most = order(outcome.dispatched), order(asked * (1 - outcome.good[chosen] / (asked + EPSILON)))[::-1]
        first = np.argmax(fits[np.ix_(groups, most)])
        g, m = np.unravel_index(first, fits.shape)
        placement = with_model(placement, int(groups[g]), int(chosen[most[m]]))
    return placement


def beam_search(replay: Replay, shapes: Sequence[Shape], models: Sequence[int] | None = None, width: int = 3) -> Placement:
    """Algorithm 1: every model on every group is tried, and the `width` best placements are grown further.

    Placements that were seen are not tried again; shapes belong to what makes a placement (in the published program they do
    not, so that with mixed shapes it takes different placements for the same). The best one ever seen is returned.

    Args:
        replay: as for `greedy`.
        shapes: as for `greedy`.
        models: as for `greedy`.
        width: of the beam; the paper's default is 1, its program uses 3.
    """
    beam = [normal([Group(shape) for shape in shapes])]
    wanted = _wanted(replay, models)
    best, best_score, seen = beam[0], replay.play(beam[0]).score, set(beam)
    while True:
        grown = dict.fromkeys(with_model(placement, int(g), int(m)) for placement in beam
                              for g, m in np.argwhere(room(replay.problem, placement) & wanted))
        new = [placement for placement in grown if placement not in seen]
        if not new:
            return best
        seen.update(new)
        scores = np.array([replay.play(placement).score for placement in new])
        order = np.argsort(scores, kind="stable")[::-1][:width]
        beam = [new[i] for i in order]
        if scores[order[0]] > best_score:
            best, best_score = beam[0], scores[order[0]]


def _wanted(replay: Replay, models: Sequence[int] | None) -> np.ndarray:
    wanted = np.ones(len(replay.problem.models), dtype=bool)
    if models is not None:
        wanted[:] = False
        wanted[list(models)] = True
    return wanted

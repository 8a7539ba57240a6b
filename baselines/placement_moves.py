"""Moves from a placement to one like it: a model is added, removed, swapped or exchanged; groups are reshaped.

Every move keeps memory and the number of devices of each type. Which model and which group is drawn at random, models that go
unserved before others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from baselines.placement import Group, Placement, PlacementProblem, fits, normal
from baselines.placement_incremental import Scored
from envs.contract import Shape

MOST_RESHAPED = 3  # groups at once


def put(problem: PlacementProblem, scored: Scored, unserved: np.ndarray, rng: np.random.Generator) -> Placement | None:
    """One more model on a group, in the place of others where it does not fit beside them. None: no group is without it."""
    m = int(rng.choice(len(unserved), p=(unserved + 1) / (unserved + 1).sum()))
    groups = [g for g, group in enumerate(scored.placement)
              if m not in group.models and fits(problem, group.shape, (m,))]
    if not groups:
        return None
    g = int(rng.choice(groups))
    group = scored.placement[g]
    staying = list(rng.permutation(group.models))
    while not fits(problem, group.shape, (*staying, m)):
        staying.pop()
    return _with(scored.placement, g, (*staying, m))


def remove(scored: Scored, rng: np.random.Generator) -> Placement | None:
    """One model less on a group."""
    groups = [g for g, group in enumerate(scored.placement) if group.models]
    if not groups:
        return None
    g = int(rng.choice(groups))
    models = scored.placement[g].models
    out = int(rng.choice(models))
    return _with(scored.placement, g, [m for m in models if m != out])


def exchange(problem: PlacementProblem, scored: Scored, rng: np.random.Generator) -> Placement | None:
    """Two groups give each other a model."""
    groups = [g for g, group in enumerate(scored.placement) if group.models]
    if len(groups) < 2:
        return None
    a, b = (scored.placement[int(g)] for g in rng.choice(groups, 2, replace=False))
    only_a, only_b = sorted({*a.models} - {*b.models}), sorted({*b.models} - {*a.models})
    if not only_a or not only_b:
        return None
    out, back = int(rng.choice(only_a)), int(rng.choice(only_b))
    new_a, new_b = ({*a.models} - {out}) | {back}, ({*b.models} - {back}) | {out}
    if not fits(problem, a.shape, tuple(new_a)) or not fits(problem, b.shape, tuple(new_b)):
        return None
    others = list(scored.placement)
    others.remove(a)
    others.remove(b)
    return normal([*others, Group(a.shape, tuple(new_a)), Group(b.shape, tuple(new_b))])


def emptied(problem: PlacementProblem, placement: Placement, rng: np.random.Generator) -> tuple[Placement, tuple[Shape, ...]]:
    """Some groups of one device type taken away, with idle devices of it, and shapes that their devices are cut into anew.

    Returns:
        The groups that stay, and the shapes of those to be filled.
    """
    types = list(problem.stocks)
    device = types[int(rng.integers(len(types)))]
    own = [g for g, group in enumerate(placement) if group.shape.device == device]
    count = min(len(own), int(rng.integers(1, MOST_RESHAPED + 1)))
    taken = {int(g) for g in rng.choice(own, count, replace=False)} if count else set()
    staying = tuple(group for g, group in enumerate(placement) if g not in taken)
    free = problem.stocks[device].devices - sum(group.shape.units for group in staying if group.shape.device == device)
    return staying, cut(free, [shape for shape in problem.shapes if shape.device == device], rng)


def cut(devices: int, shapes: Sequence[Shape], rng: np.random.Generator) -> tuple[Shape, ...]:
    """Devices cut into groups: equal ones of a shape drawn at random as far as they go, then the same with what is left."""
    found: list[Shape] = []
    while possible := [shape for shape in shapes if shape.units <= devices]:
        shape = possible[int(rng.integers(len(possible)))]
        number = int(rng.integers(1, devices // shape.units + 1))
        found += [shape] * number
        devices -= number * shape.units
    return tuple(found)


def _with(placement: Placement, g: int, models: Sequence[int]) -> Placement:
    return normal([*placement[:g], Group(placement[g].shape, tuple(int(m) for m in models)), *placement[g + 1:]])

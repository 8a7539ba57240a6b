"""Placements without a search, to compare with: models dealt out in turn, and a group for each model alone.

Source: AlpaServe's published program (`mp-round-robin`, `mp-equal-pp-op`, `mp-greedy-n`).
"""

from __future__ import annotations

from collections.abc import Sequence

from baselines.alpaserve_partitions import group_partitions
from baselines.placement import Group, Placement, PlacementProblem, normal, room, with_model
from envs.contract import Shape

STAGES = 4


def pipelines(problem: PlacementProblem, stages: int = STAGES) -> tuple[Shape, ...]:
    """All devices in pipelines of so many stages, what is left over in shorter ones.

    Raises:
        ValueError: no model runs on such a pipeline, or there are too few devices.
    """
    for partition in group_partitions(problem.devices, problem.shapes):
        if (partition[0].inter_op, partition[0].intra_op) == (stages, 1):
            return partition
    raise ValueError(f"{problem.devices} devices make no pipeline of {stages} stages that a model runs on")


def round_robin(problem: PlacementProblem, shapes: Sequence[Shape]) -> Placement:
    """Deals models out: each goes on the current group if it fits there, and the next group's turn comes.

    It ends when a whole round of models placed nothing on the current group, even where other groups have room: a weak
    baseline, as published.

    Args:
        problem: the models.
        shapes: of the groups, for example `pipelines(problem)`.
    """
    groups = [Group(shape) for shape in shapes]
    current, placed = 0, True
    while placed:
        placed = False
        for m in range(len(problem.models)):
            if room(problem, (groups[current],))[0, m]:
                groups[current] = with_model((groups[current],), 0, m)[0]
                current, placed = (current + 1) % len(groups), True
    return normal(groups)


def dedicated(problem: PlacementProblem, shape: Shape) -> Placement:
    """Group i serves model i alone.

    Raises:
        ValueError: too few devices, or a model does not fit on its group.
    """
    groups = tuple(Group(shape, (m,)) for m in range(len(problem.models)))
    needed = shape.units * len(groups)
    if needed > problem.devices:
        raise ValueError(f"{len(groups)} models on {shape} each need {needed} devices, there are {problem.devices}")
    for group in groups:
        if not room(problem, (Group(shape),))[0, group.models[0]]:
            raise ValueError(f"{problem.models[group.models[0]].name} does not fit on {shape}")
    return groups

"""Selective Replication: whole models on single devices, as many copies of each as pays (AlpaServe's main baseline).

Source: Li et al., OSDI 2023, section 6 (`sr-greedy`, `sr-search`, `sr-uniform` of the published program; `sr-ilp` is
`baselines.selective_replication_ilp`).
"""

from __future__ import annotations

from baselines.alpaserve_selection import beam_search, greedy
from baselines.placement import Group, Placement, PlacementProblem, normal, room, with_model
from baselines.placement_replay import Replay
from envs.contract import Shape

BEAM = 3


def single_devices(problem: PlacementProblem) -> tuple[Shape, ...]:
    """Every device a group of its own.

    Raises:
        ValueError: no model runs on one device.
    """
    single = [shape for shape in problem.shapes if shape.units == 1]
    if not single:
        raise ValueError("no model runs on a single device, so that none can be replicated; use pipelines")
    return (single[0],) * problem.devices


def replicate(replay: Replay) -> Placement:
    """By the fast greedy: one replay for each copy."""
    return greedy(replay, single_devices(replay.problem))


def replicate_by_search(replay: Replay) -> Placement:
    """By Algorithm 1 with a beam of 3: one replay for each copy that might be."""
    return beam_search(replay, single_devices(replay.problem), width=BEAM)


def replicate_uniformly(problem: PlacementProblem) -> Placement:
    """Device i hosts the models i, i + 1, ... (in a ring), as many as fit."""
    groups = []
    for i, shape in enumerate(single_devices(problem)):
        group = Group(shape)
        for step in range(len(problem.models)):
            m = (i + step) % len(problem.models)
            if not room(problem, (group,))[0, m]:
                break
            group = with_model((group,), 0, m)[0]
        groups.append(group)
    return normal(groups)

"""The envelope's projection for the levels of many clusters at once: compiled, and equal to `envs.envelope.project`."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from envs.contract import CPU
from envs.envelope import worth
from envs.scenario import Scenario


class Steps(NamedTuple):
    """A scenario's tables for `project_levels`. C candidates, L most levels, Z services, D device types, M most nodes."""

    units: np.ndarray  # (C, L) units of one replica at a level
    memory: np.ndarray  # (C, L) bytes of one replica on its node; 0 where nodes do not share it
    loss_rank: np.ndarray  # (C, L) order in which steps down from a level are taken
    size_rank: np.ndarray  # (C, L) order in which first-fit-decreasing places kinds
    runs: np.ndarray  # (C, L) whether an empty node can hold a replica
    sized: np.ndarray  # (C,) whether a level is a size, not a count
    hosts: np.ndarray  # (C, Z) whether a candidate hosts a service
    device: np.ndarray  # (C,)
    budget: np.ndarray  # (D,)
    node_units: np.ndarray  # (D, M), 0: no such node
    node_memory: np.ndarray  # (D,)


def steps_of(scenario: Scenario) -> Steps:
    """The tables of a scenario."""
    candidates, devices = scenario.candidates, list(scenario.devices.values())
    shape = len(candidates), max(c.levels for c in candidates)
    units, memory, runs = np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape, bool)
    losses, sizes = {}, {}
    for c, candidate in enumerate(candidates):
        device = scenario.devices[candidate.device]
        for level in range(1, candidate.levels):
            kind = candidate.kinds[level - 1 if candidate.sized else 0]
            smaller = candidate.kinds[level - 2] if candidate.sized and level > 1 else None
            units[c, level], memory[c, level] = (
                kind.shape.units,
                scenario.memory_bytes(kind) if candidate.device == CPU else 0.0,
            )
            room = min(device.budget, max(device.nodes, default=device.budget))
            runs[c, level] = kind.shape.units <= room and scenario.memory_bytes(kind) <= device.memory_bytes
            freed = kind.shape.units - (smaller.shape.units if smaller else 0)
            lost = worth(kind, scenario) - (worth(smaller, scenario) if smaller else 0.0)
            losses[c, level] = (lost / freed if freed else -math.inf, -kind.shape.units, kind)
            sizes[c, level] = (-kind.shape.units, kind)
    nodes = [list(d.nodes) or [d.budget] for d in devices]
    return Steps(
        units,
        memory,
        _ranks(losses, shape),
        _ranks(sizes, shape),
        runs,
        np.array([c.sized for c in candidates]),
        np.array([[bool(set(c.variants) & set(s.variants)) for s in scenario.services.values()] for c in candidates]),
        np.array([list(scenario.devices).index(c.device) for c in candidates]),
        np.array([d.budget for d in devices]),
        np.array([row + [0] * (max(map(len, nodes)) - len(row)) for row in nodes]),
        np.array([d.memory_bytes for d in devices]),
    )


def _ranks(keys: dict, shape: tuple[int, int]) -> np.ndarray:
    """The place of each (candidate, level) among all by its key; equal keys share a place."""
    order = {key: i for i, key in enumerate(sorted(set(keys.values())))}
    ranks = np.zeros(shape, np.int64)
    for at, key in keys.items():
        ranks[at] = order[key]
    return ranks


@njit(cache=True)
def project_levels(steps: Steps, levels: np.ndarray) -> np.ndarray:
    """Lowers levels (N, C) in place until they are feasible, by the rule of `envs.envelope.project`.

    Returns:
        (N,) whether a cluster's levels were lowered.
    """
    changed = np.zeros(len(levels), np.bool_)
    for e in range(len(levels)):
        row = levels[e]
        for c in range(len(row)):
            while row[c] > 0 and not steps.runs[c, row[c]]:
                row[c] = row[c] - 1 if steps.sized[c] else 0
                changed[e] = True
        for d in range(len(steps.budget)):
            while not _placed(steps, row, d):
                row[_least_loss(steps, row, d)] -= 1
                changed[e] = True
    return changed


@njit(cache=True)
def _count(steps: Steps, row: np.ndarray, c: int) -> int:
    """Replicas of a candidate."""
    return min(row[c], 1) if steps.sized[c] else row[c]


@njit(cache=True)
def _placed(steps: Steps, row: np.ndarray, d: int) -> bool:
    """Whether a device type's replicas are within the budget and first-fit-decreasing places each on a node."""
    held = 0
    for c in range(len(row)):
        if steps.device[c] == d:
            held += _count(steps, row, c) * steps.units[c, row[c]]
    if held > steps.budget[d]:
        return False
    room = steps.node_units[d].copy()
    memory = np.full(len(room), steps.node_memory[d])
    last = -1
    while True:
        largest = -1
        for c in range(len(row)):
            if (
                steps.device[c] == d
                and row[c] > 0
                and steps.size_rank[c, row[c]] > last
                and (largest < 0 or steps.size_rank[c, row[c]] < steps.size_rank[largest, row[largest]])
            ):
                largest = c
        if largest < 0:
            return True
        level = row[largest]
        last = steps.size_rank[largest, level]
        for _ in range(_count(steps, row, largest)):
            node = 0
            while node < len(room) and (
                room[node] < steps.units[largest, level] or memory[node] < steps.memory[largest, level]
            ):
                node += 1
            if node == len(room):
                return False
            room[node] -= steps.units[largest, level]
            memory[node] -= steps.memory[largest, level]


@njit(cache=True)
def _least_loss(steps: Steps, row: np.ndarray, d: int) -> int:
    """The candidate whose step down is to be taken next; one that takes a service's last replica goes after all others."""
    best, best_last = -1, False
    for c in range(len(row)):
        if steps.device[c] != d or row[c] == 0:
            continue
        last = False
        if row[c] == 1 or not steps.sized[c]:
            for z in range(steps.hosts.shape[1]):
                hosts = 0
                for other in range(len(row)):
                    if steps.device[other] == d and steps.hosts[other, z]:
                        hosts += _count(steps, row, other)
                last = last or (steps.hosts[c, z] and hosts == 1)
        if (
            best < 0
            or (best_last and not last)
            or (best_last == last and steps.loss_rank[c, row[c]] < steps.loss_rank[best, row[best]])
        ):
            best, best_last = c, last
    return best

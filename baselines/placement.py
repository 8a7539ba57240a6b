"""Placement with model parallelism: which groups of devices there are, and which models each of them hosts.

The problem is AlpaServe's (Li et al., OSDI 2023): a model can be sliced into pipeline stages (inter-op) and each stage
sharded over devices (intra-op). A group of devices has one such shape, and every device of it holds a slice of every
model that the group hosts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from frozendict import frozendict

from envs.contract import Shape


class Group(NamedTuple):
    """Devices that work together, and the models (indices, ascending) that they host."""

    shape: Shape
    models: tuple[int, ...] = ()


Placement = tuple[Group, ...]


@dataclass(frozen=True, eq=False)
class PlacedModel:
    """One model, as it was measured on each shape.

    Attributes:
        name: of the model.
        slo_s: latency limit of its requests.
        latency_s: by shape, seconds of each stage; it cannot run on a shape that is not there.
        weight_bytes: by shape, weights on the fullest device.
        activation_bytes: working memory of one request, on each device.
        load_s: until its weights are on a device.
    """

    name: str
    slo_s: float
    latency_s: Mapping[Shape, tuple[float, ...]]
    weight_bytes: Mapping[Shape, float]
    activation_bytes: float = 0.0
    load_s: float = 0.0

    @property
    def size_s(self) -> float:
        """Latency on the fewest devices that it runs on: what model is long, and what is short."""
        return sum(self.latency_s[min(self.latency_s, key=lambda shape: (shape.units, shape.intra_op))])


class Stock(NamedTuple):
    """Equal devices: how many, and the memory of one."""

    devices: int
    memory_bytes: float


@dataclass(frozen=True, eq=False)
class PlacementProblem:
    """What is to be placed, and on what.

    Attributes:
        models: M of them; a placement names them by index.
        devices: equal devices to be cut into groups.
        memory_bytes: of one device.
        stage_overhead_ratio: a stage takes (1 + ratio x stages) times its latency.
        overhead_s: added to each answer; occupies no device.
        others: further types of device by name, where there is more than one.

    Raises:
        ValueError: a stage is missing, or a shape has latencies but no weights.
    """

    models: tuple[PlacedModel, ...]
    devices: int
    memory_bytes: float
    stage_overhead_ratio: float = 0.0
    overhead_s: float = 0.0
    others: Mapping[str, Stock] = frozendict()

    def __post_init__(self) -> None:
        for model in self.models:
            for shape, stages in model.latency_s.items():
                if len(stages) != shape.inter_op:
                    raise ValueError(f"{model.name} on {shape}: {len(stages)} latencies for {shape.inter_op} stages")
                if shape not in model.weight_bytes:
                    raise ValueError(f"{model.name} on {shape}: no weight_bytes beside its latencies")

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """All shapes that some model runs on."""
        return tuple(sorted({shape for model in self.models for shape in model.latency_s}))

    @cached_property
    def stocks(self) -> Mapping[str, Stock]:
        """Devices of every type that some model runs on."""
        first = Stock(self.devices, self.memory_bytes)
        return {shape.device: self.others.get(shape.device, first) for shape in self.shapes}

    def of_type(self, device: str) -> PlacementProblem:
        """The same models on devices of one type alone; those that do not run on it have no shape there."""
        if tuple(self.stocks) == (device,):
            return self
        models = tuple(replace(model, latency_s={s: t for s, t in model.latency_s.items() if s.device == device})
                       for model in self.models)
        return replace(self, models=models, devices=self.stocks[device].devices,
                       memory_bytes=self.stocks[device].memory_bytes, others=frozendict())

    @cached_property
    def stage_s(self) -> np.ndarray:
        """(M, shapes, most stages) float64, seconds of each stage with its overhead; nan where there is none."""
        table = np.full((len(self.models), len(self.shapes), max(shape.inter_op for shape in self.shapes)), np.nan)
        for m, model in enumerate(self.models):
            for shape, stages in model.latency_s.items():
                stretched = np.asarray(stages) * (1 + self.stage_overhead_ratio * shape.inter_op)
                table[m, self.shapes.index(shape), : shape.inter_op] = stretched
        return table

    @cached_property
    def weight_bytes(self) -> np.ndarray:
        """(M, shapes) float64, weights on the fullest device; inf where the model does not run."""
        return np.array([[model.weight_bytes[s] if s in model.latency_s else np.inf for s in self.shapes]
                         for model in self.models])

    @cached_property
    def activation_bytes(self) -> np.ndarray:
        """(M,) float64."""
        return np.array([model.activation_bytes for model in self.models])

    @cached_property
    def slo_s(self) -> np.ndarray:
        """(M,) float64."""
        return np.array([model.slo_s for model in self.models])


def memory_bytes(problem: PlacementProblem, group: Group) -> float:
    """What the fullest device of a group holds: all weights, and the activations of the request that needs most."""
    models = [problem.models[m] for m in group.models]
    return (sum(model.weight_bytes[group.shape] for model in models)
            + max((model.activation_bytes for model in models), default=0.0))


def check(problem: PlacementProblem, placement: Placement) -> None:
    """Refuses a placement that cannot be.

    Raises:
        ValueError: too many devices, too much memory, or a model on a shape that it does not run on.
    """
    for device, stock in problem.stocks.items():
        held = sum(group.shape.units for group in placement if group.shape.device == device)
        if held > stock.devices:
            raise ValueError(f"the groups hold {held} devices of type {device}, there are {stock.devices}")
    for g, group in enumerate(placement):
        for m in group.models:
            if group.shape not in problem.models[m].latency_s:
                raise ValueError(f"group {g} hosts {problem.models[m].name}, which has no latency on {group.shape}")
        limit = problem.stocks[group.shape.device].memory_bytes
        if memory_bytes(problem, group) > limit:
            raise ValueError(f"group {g} needs {memory_bytes(problem, group):.4g} bytes of a device's {limit:.4g}")


def normal(groups: Sequence[Group]) -> Placement:
    """The same placement in one fixed order: models ascending in a group, groups by their models, large groups first.

    The order of groups breaks ties between equal clocks; it is AlpaServe's, with the size where models are the same.
    """
    ascending = (Group(group.shape, tuple(sorted(group.models))) for group in groups)
    return tuple(sorted(ascending, key=lambda group: (group.models, -group.shape.units, group.shape)))


def room(problem: PlacementProblem, placement: Placement) -> np.ndarray:
    """Where one more model fits.

    Returns:
        (groups, M) bool: the group does not host the model yet, and can.
    """
    shape = np.array([problem.shapes.index(group.shape) for group in placement])
    hosted = np.zeros((len(placement), len(problem.models)), dtype=bool)
    for g, group in enumerate(placement):
        hosted[g, list(group.models)] = True
    weights = problem.weight_bytes[:, shape].T  # (groups, M)
    used = np.where(hosted, weights, 0.0).sum(axis=1, keepdims=True)
    working = np.where(hosted, problem.activation_bytes, 0.0).max(axis=1, keepdims=True)
    limit = np.array([[problem.stocks[group.shape.device].memory_bytes] for group in placement])
    return ~hosted & (used + weights + np.maximum(working, problem.activation_bytes) <= limit)


def fits(problem: PlacementProblem, shape: Shape, models: Sequence[int]) -> bool:
    """Whether a group of a shape can host these models together."""
    runs = all(shape in problem.models[m].latency_s for m in models)
    return runs and memory_bytes(problem, Group(shape, tuple(models))) <= problem.stocks[shape.device].memory_bytes


def with_model(placement: Placement, g: int, m: int) -> Placement:
    """The placement with one more model on one group, normal."""
    group = placement[g]
    return normal((*placement[:g], Group(group.shape, (*group.models, m)), *placement[g + 1:]))


def replicas(placement: Placement) -> int:
    """How many times any model is hosted."""
    return sum(len(group.models) for group in placement)

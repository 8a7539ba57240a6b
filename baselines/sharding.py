"""Intra-op parallelism: how each operator of a layer is divided over the devices of a stage, by an integer linear program.

As in Alpa (Zheng et al., OSDI 2022, section 4), each operator has strategies, each with a layout that it takes and one that it
gives; between two operators the layout may have to be changed, which communicates. With x the choice of each operator,

    minimise  sum over operators of execution(x_v)  +  sum over neighbours of resharding(x_v, x_u)
    subject to  one strategy for each operator,  weights held by a device <= its memory

AlpaServe takes out the strategies that divide the batch, and so do we. Of layouts there are three: `whole` on every device,
`split` (each device has some of the features), `partial` (each device has a sum, which have to be added up). Dividing the
sequence between two layers, which saves memory and not time, is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from baselines.hardware import Device, Link
from baselines.operators import Layer, Operator

Layout = Literal["whole", "split", "partial"]
INF = float("inf")


class Strategy(NamedTuple):
    """One way to run an operator.

    Attributes:
        name: for plans and messages.
        takes, gives: layouts of its input and output.
        divided: each device does 1 / ranks of the work and holds as much of the weights; otherwise each does all of it.
    """

    name: str
    takes: Layout
    gives: Layout
    divided: bool


REPLICATED = Strategy("replicated", "whole", "whole", False)
COLUMNS = Strategy("columns", "whole", "split", True)
ROWS = Strategy("rows", "split", "partial", True)
PARTS = Strategy("parts", "split", "split", True)
_DIVIDED = {"matmul": (COLUMNS, ROWS), "heads": (PARTS,), "pointwise": (PARTS,), "whole": (), "lookup": (COLUMNS,)}


class Seconds(NamedTuple):
    """Time of one layer or row, by what it is spent on."""

    computing: float
    communicating: float


@dataclass(frozen=True)
class ShardedLayer:
    """A layer, and a strategy for each of its operators.

    Attributes:
        layer: which.
        ranks: devices that it is divided over.
        row, beside: strategies of the operators of either row.
    """

    layer: Layer
    ranks: int
    row: tuple[Strategy, ...]
    beside: tuple[Strategy, ...] = ()

    @property
    def weight_bytes(self) -> float:
        """On each device."""
        return sum(_held(op, strategy, self.ranks) for op, strategy in self.choices)

    @property
    def choices(self) -> tuple[tuple[Operator, Strategy], ...]:
        """Every operator, those of the first row first, with its strategy."""
        return (*zip(self.layer.operators, self.row, strict=True), *zip(self.layer.beside, self.beside, strict=True))

    def seconds(self, device: Device, link: Link, batch: int = 1) -> float:
        """Time of one batch. The device computes one thing at a time, so does the link; two rows hide each other's waits."""
        a = row_seconds(self.layer.operators, self.row, self.layer.answers, self.ranks, device, link, batch)
        b = row_seconds(self.layer.beside, self.beside, self.layer.answers, self.ranks, device, link, batch)
        return max(sum(a), sum(b), a.computing + b.computing, a.communicating + b.communicating)


def shard(layer: Layer, ranks: int, device: Device, link: Link, batch: int = 1, memory_bytes: float = INF) -> ShardedLayer:
    """The fastest way to divide a layer.

    Args:
        layer: which.
        ranks: devices to divide it over.
        device: what they are.
        link: what joins them.
        batch: size that is planned for.
        memory_bytes: of each device, for this layer's weights.

    Raises:
        ValueError: it does not fit, however it is divided.
    """
    if ranks == 1 and layer.weight_bytes <= memory_bytes:  # nothing to choose
        return ShardedLayer(layer, 1, (REPLICATED,) * len(layer.operators), (REPLICATED,) * len(layer.beside))
    program = _Program(memory_bytes)
    for row in filter(None, (layer.operators, layer.beside)):
        program.add(row, layer.answers, ranks, device, link, batch)
    chosen = program.solve()
    if chosen is None:
        raise ValueError(f"layer {layer.name} does not fit {memory_bytes:.4g} bytes on each of {ranks} devices")
    cut = len(layer.operators)
    return ShardedLayer(layer, ranks, tuple(chosen[:cut]), tuple(chosen[cut:]))


def strategies(operator: Operator, ranks: int) -> tuple[Strategy, ...]:
    """The ways to run an operator; heads are divided where they come out even."""
    if ranks == 1 or (operator.heads and operator.heads % ranks):
        return (REPLICATED,)
    return (REPLICATED, *_DIVIDED[operator.kind])


def reshard_s(gives: Layout, takes: Layout, size: float, ranks: int, link: Link) -> float:
    """Seconds to make one layout into another; `size` is of the whole. inf: it cannot be."""
    if gives == takes or gives == "whole":  # a device takes its part of the whole
        return INF if takes == "partial" else 0.0
    if gives == "split":
        return link.all_gather_s(size, ranks) if takes == "whole" else INF
    return link.all_reduce_s(size, ranks) if takes == "whole" else link.reduce_scatter_s(size, ranks)


def row_seconds(row: tuple[Operator, ...], chosen: tuple[Strategy, ...], answers: bool, ranks: int, device: Device, link: Link,
                batch: int) -> Seconds:
    """Time of a row of operators with these strategies, from a whole input to a whole output (or, if it answers, a split)."""
    computing = sum(device.operator_s(op, batch, 1 / ranks if s.divided else 1.0) for op, s in zip(row, chosen, strict=True))
    communicating = sum(reshard_s(a.gives, b.takes, batch * op.output_bytes, ranks, link)
                        for op, (a, b) in zip(row, pairwise(chosen)))
    if row:
        communicating += _end_s(row[-1], chosen[-1], answers, ranks, link, batch)
    return Seconds(computing, communicating)


def _end_s(last: Operator, strategy: Strategy, answers: bool, ranks: int, link: Link, batch: int) -> float:
    if answers and strategy.gives == "split":
        return 0.0
    return reshard_s(strategy.gives, "whole", batch * last.output_bytes, ranks, link)


def _held(operator: Operator, strategy: Strategy, ranks: int) -> float:
    return operator.weight_bytes / ranks if strategy.divided else operator.weight_bytes


class _Program:
    """The integer program: one column for each (operator, strategy), one for each pair of strategies of neighbours."""

    def __init__(self, memory_bytes: float) -> None:
        self.memory_bytes = memory_bytes
        self.cost: list[float] = []
        self.held: list[float] = []
        self.equal: list[tuple[dict[int, float], float]] = []
        self.choices: list[list[tuple[int, Strategy]]] = []  # for each operator its columns

    def add(self, row: tuple[Operator, ...], answers: bool, ranks: int, device: Device, link: Link, batch: int) -> None:
        """The operators of one row, and what lies between them."""
        start = len(self.choices)
        for i, op in enumerate(row):
            columns = []
            for s in strategies(op, ranks):
                seconds = device.operator_s(op, batch, 1 / ranks if s.divided else 1.0)
                if i == len(row) - 1:
                    seconds += _end_s(op, s, answers, ranks, link, batch)
                columns.append((self._column(seconds, _held(op, s, ranks)), s))
            self.equal.append(({column: 1.0 for column, _ in columns}, 1.0))
            self.choices.append(columns)
        for op, (before, after) in zip(row, pairwise(self.choices[start:])):
            self._between(before, after, [[reshard_s(a.gives, b.takes, batch * op.output_bytes, ranks, link) for _, b in after]
                                          for _, a in before])

    def _between(self, before: list[tuple[int, Strategy]], after: list[tuple[int, Strategy]], cost: list[list[float]]) -> None:
        """Pairs that add up to the choice on either side, as Alpa linearises the product of two choices."""
        pairs = {(a, b): self._column(cost[a][b], 0.0) for a in range(len(before)) for b in range(len(after))
                 if cost[a][b] < INF}
        for a, (column, _) in enumerate(before):
            self.equal.append(({column: -1.0, **{pair: 1.0 for (x, _), pair in pairs.items() if x == a}}, 0.0))
        for b, (column, _) in enumerate(after):
            self.equal.append(({column: -1.0, **{pair: 1.0 for (_, x), pair in pairs.items() if x == b}}, 0.0))

    def _column(self, cost: float, held: float) -> int:
        self.cost.append(cost)
        self.held.append(held)
        return len(self.cost) - 1

    def solve(self) -> list[Strategy] | None:
        """A strategy for each operator; None: they do not fit."""
        matrix = np.zeros((len(self.equal), len(self.cost)))
        for i, (entries, _) in enumerate(self.equal):
            matrix[i, list(entries)] = list(entries.values())
        right = [value for _, value in self.equal]
        constraints = [LinearConstraint(matrix, right, right)]
        if self.memory_bytes < INF:  # in units of the memory: bytes are too large for the solver's tolerances
            constraints.append(LinearConstraint(np.array([self.held]) / max(self.memory_bytes, 1.0), -np.inf, 1.0))
        scale = max(self.cost) or 1.0
        found = milp(np.array(self.cost) / scale, constraints=constraints, integrality=np.ones(len(self.cost)),
                     bounds=Bounds(0, 1), options={"mip_rel_gap": 0.0})
        if found.x is None:
            return None
        return [max(columns, key=lambda column: found.x[column[0]])[1] for columns in self.choices]

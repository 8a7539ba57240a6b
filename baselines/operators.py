"""What models are made of, as far as their speed goes: operators in a row make a layer, layers in a row a model.

Numbers are of one request; a batch of n takes n times the arithmetic and the activations, and reads the weights once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["matmul", "heads", "pointwise", "whole", "lookup"]
"""How an operator can be divided over devices.

matmul: by outputs (each device has some columns of the weights) or by inputs (some rows; the results are summed).
heads: device by device, each with the features (attention heads, channels) that it has.
pointwise: the same, for activation functions; in place, so that it needs no memory of its own.
whole: not at all (it needs all features, as a normalisation does, or whole sums).
lookup: embedding tables; each device has some of them, or some columns.
"""


@dataclass(frozen=True)
class Operator:
    """One operator.

    Attributes:
        name: for plans and messages.
        kind: how it can be divided.
        flops: floating-point operations (a multiplication and an addition are two).
        moved_bytes: activations read and written, and for a lookup the rows read.
        weight_bytes: held on the device, and read once for a batch unless it is a lookup.
        output_bytes: what comes out.
        heads: attention heads, small matrices that it works through one by one.
        scores: attention scores of all heads.
    """

    name: str
    kind: Kind
    flops: float = 0.0
    moved_bytes: float = 0.0
    weight_bytes: float = 0.0
    output_bytes: float = 0.0
    heads: int = 0
    scores: float = 0.0


@dataclass(frozen=True)
class Layer:
    """What is never cut between stages: operators in a row, and perhaps another row beside it.

    Attributes:
        name: for plans and messages; layers of equal name are equal.
        operators: one after the other; each reads what the one before wrote. The layer's input and output are whole.
        beside: a second row on the same input, whose work can hide behind the first's communication and the other way round.
        answers: its output may stay divided, as each device can answer its part.
        residual: its last operator adds what came into the layer.
    """

    name: str
    operators: tuple[Operator, ...]
    beside: tuple[Operator, ...] = ()
    answers: bool = False
    residual: bool = False

    @property
    def output_bytes(self) -> float:
        """What goes on to the next layer, of one request."""
        return sum(row[-1].output_bytes for row in (self.operators, self.beside) if row)

    @property
    def weight_bytes(self) -> float:
        """Of all operators, undivided."""
        return sum(op.weight_bytes for op in (*self.operators, *self.beside))

    @property
    def flops(self) -> float:
        """Of one request."""
        return sum(op.flops for op in (*self.operators, *self.beside))


@dataclass(frozen=True)
class Architecture:
    """A model as a row of layers.

    Attributes:
        name: of the model.
        layers: in order; the answer comes out of the last.
        ends: layers at either end that slicing by hand does not count (embedding, head).
    """

    name: str
    layers: tuple[Layer, ...]
    ends: int = 0

    def by_operator(self) -> Architecture:
        """The same with every operator a layer of its own.

        What passes in the middle of a residual layer is an operator's output, and what came into the layer. Layers of two
        rows stay whole.
        """
        layers: list[Layer] = []
        came_in = 0.0
        for layer in self.layers:
            carried = came_in if layer.residual else 0.0
            came_in = layer.output_bytes
            if layer.beside:
                layers.append(layer)
                continue
            for i, op in enumerate(layer.operators):
                last = i == len(layer.operators) - 1
                passed = op if last else replace(op, output_bytes=op.output_bytes + carried)
                layers.append(Layer(f"{layer.name}: {op.name}", (passed,), answers=last and layer.answers))
        return Architecture(self.name, tuple(layers))

    @property
    def weight_bytes(self) -> float:
        """Of the whole model."""
        return sum(layer.weight_bytes for layer in self.layers)

    @property
    def flops(self) -> float:
        """Of one request."""
        return sum(layer.flops for layer in self.layers)

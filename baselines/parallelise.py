"""A model made parallel: every layer sharded, layers sliced into stages, and what that takes and holds.

    plan = parallelise(architecture("bert-1.3b"), machine("v100"), inter_op=4, intra_op=2)
    plan.stage_s(batch=1)                   # 4 latencies
    plan.weight_bytes                       # on each device of each stage

One plan serves all batches, as weights are where they are: it is made for batches of one. The devices of a stage share its
weights evenly, as scenarios count memory, though to hold all of them on each may be faster over a slow link.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from baselines.hardware import Link, Machine
from baselines.operators import Architecture, Layer
from baselines.sharding import ShardedLayer, row_seconds, shard
from baselines.stage_slicing import Slices, equal_slices, slice_stages, stage_latencies

ROUNDING = 1e-6


@dataclass(frozen=True)
class ParallelModel:
    """A model on a shape.

    Attributes:
        architecture: the model.
        machine: what it runs on.
        layers: sharded, in order.
        slices: the layers of each stage.
    """

    architecture: Architecture
    machine: Machine
    layers: tuple[ShardedLayer, ...]
    slices: Slices

    @property
    def inter_op(self) -> int:
        """Stages."""
        return len(self.slices)

    @property
    def intra_op(self) -> int:
        """Devices of a stage."""
        return self.layers[0].ranks

    def stage_s(self, batch: int = 1) -> tuple[float, ...]:
        """Seconds of one batch in each stage, with receiving it."""
        return stage_latencies(_layer_s(self.layers, self.machine, batch), self.slices,
                               _receive_s(self.architecture, self.machine, self.inter_op, self.intra_op, batch))

    def communication_s(self, batch: int = 1) -> float:
        """Seconds in which the devices of the stages change layouts, of all stages together."""
        on = self.machine
        return sum(row_seconds(row, chosen, layer.layer.answers, layer.ranks, on.device, on.link, batch).communicating
                   for layer in self.layers for row, chosen in ((layer.layer.operators, layer.row),
                                                                (layer.layer.beside, layer.beside)))

    @cached_property
    def weight_bytes(self) -> tuple[float, ...]:
        """On each device of each stage."""
        return tuple(sum(self.layers[i].weight_bytes for i in part) for part in self.slices)

    @cached_property
    def activation_bytes(self) -> float:
        """Of one request, on the device that needs most: an output and what it is made from, as far as it is not in place."""
        choices = [choice for layer in self.layers for choice in layer.choices]
        sizes = [op.output_bytes / (self.intra_op if strategy.gives == "split" else 1) for op, strategy in choices]
        return max(after + (0.0 if op.kind == "pointwise" else before)
                   for before, after, (op, _) in zip([0.0, *sizes], sizes, choices))


def parallelise(architecture: Architecture, machine: Machine, inter_op: int, intra_op: int, by_hand: bool = False
                ) -> ParallelModel:
    """The fastest shards of each layer, and the slices whose slowest stage is fastest.

    Args:
        architecture: the model.
        machine: what it runs on; its nodes hold `node_devices` each, filled stage by stage.
        inter_op: stages.
        intra_op: devices of each stage.
        by_hand: the same number of layers for each stage, as AlpaServe's baseline has.

    Raises:
        ValueError: it has fewer layers than stages, or a stage is larger than a node.
    """
    if intra_op > machine.node_devices:
        raise ValueError(f"{intra_op} devices share a stage of {architecture.name}, a node has {machine.node_devices}")
    if intra_op == 1 and not by_hand:
        architecture = architecture.by_operator()  # what is whole on one device can be cut anywhere
    known: dict[Layer, ShardedLayer] = {}
    for layer in architecture.layers:
        if layer not in known:
            known[layer] = shard(layer, intra_op, machine.device, machine.link,
                                 memory_bytes=layer.weight_bytes / intra_op * (1 + ROUNDING))
    layers = tuple(known[layer] for layer in architecture.layers)
    if by_hand:
        slices = equal_slices(len(layers), inter_op, architecture.ends)
    else:
        slices = slice_stages(_layer_s(layers, machine, 1), inter_op, _receive_s(architecture, machine, inter_op, intra_op, 1))
    return ParallelModel(architecture, machine, layers, slices)


def _layer_s(layers: tuple[ShardedLayer, ...], machine: Machine, batch: int) -> list[float]:
    known = {layer: layer.seconds(machine.device, machine.link, batch) for layer in set(layers)}
    return [known[layer] for layer in layers]


def _receive_s(architecture: Architecture, machine: Machine, inter_op: int, intra_op: int, batch: int) -> list[list[float]]:
    """By stage and layer, in which what the layer gives arrives over the link that the stage has to the one before."""
    sizes = [batch * layer.output_bytes for layer in architecture.layers]
    return [[link.send_s(size) for size in sizes] for link in _links(machine, inter_op, intra_op)]


def _links(machine: Machine, inter_op: int, intra_op: int) -> list[Link]:
    per_node = machine.node_devices // intra_op  # stages
    return [machine.network if stage % per_node == 0 else machine.link for stage in range(inter_op)]

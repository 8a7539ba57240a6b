"""EdgeShard's testbed: Llama 2 on twelve Jetson AGX Orin, two Orin NX and one RTX 3090 as the cloud.

Devices and links are the paper's defaults: 50 Mbit/s between all, 1 Mbit/s from the source to the cloud. Seconds of each layer
for one token are those that a public re-implementation of its program measured on such devices (Llama 2 7B in 32 bits; 32
blocks of nearly one time, whose mean is taken), and so are the memory left for weights and the 2.1 ms of a message. A token
reads all weights, so that other sizes of the model take as much longer as their weights are larger.

    python -m baselines.edgeshard_testbed       # prints the profile of scenario `edge`
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from baselines.edgeshard_partition import EdgeKind, EdgeProblem, Partition, even, fits, partition, steps_s

GIB, MEGABIT = 2**30, 1e6 / 8
FLOAT, TOKEN = 4, 4  # bytes of an activation, and of an answer: a token is its number
MESSAGE_S = 0.0021
SOURCE_CLOUD, OTHERS = 1.0, 50.0  # Mbit/s
AGX, BESIDE, NX, CLOUD = range(4)  # the source is an AGX Orin, and eleven are beside it


class Measured(NamedTuple):
    """Seconds of a token in the embedding, a block and the head of Llama 2 7B, and bytes of memory left for weights."""

    embedding_s: float
    block_s: float
    head_s: float
    memory_bytes: float


AGX_ORIN = Measured(0.627e-3, 5.268e-3, 4.482e-3, 29 * GIB)
ORIN_NX = Measured(0.476e-3, 6.017e-3, 5.482e-3, 14 * GIB)
RTX_3090 = Measured(0.077e-3, 0.792e-3, 0.648e-3, 22 * GIB)


class Llama(NamedTuple):
    """A size of Llama 2 (Touvron et al., 2023): width, blocks, width of the feed-forward layer, of keys and values."""

    hidden: int
    blocks: int
    wide: int
    keys: int

    @property
    def block_bytes(self) -> float:
        """Weights of a block: queries and outputs, keys and values, three feed-forward matrices."""
        return FLOAT * float(2 * self.hidden**2 + 2 * self.hidden * self.keys + 3 * self.hidden * self.wide)

    @property
    def word_bytes(self) -> float:
        """Weights of the embedding, and of the head."""
        return FLOAT * 32000.0 * self.hidden


SIZES = {"llama2-7b": Llama(4096, 32, 11008, 4096), "llama2-13b": Llama(5120, 40, 13824, 5120),
         "llama2-70b": Llama(8192, 80, 28672, 1024)}


def problem_of(model: str = "llama2-7b", source_cloud: float = SOURCE_CLOUD, tokens: int = 1) -> EdgeProblem:
    """A model on the testbed.

    Args:
        model: one of `SIZES`.
        source_cloud: Mbit/s between the source and the cloud.
        tokens: sequences of a batch; they read the weights together, and each sends its own activations.
    """
    size, known = SIZES[model], SIZES["llama2-7b"]
    block, word = size.block_bytes / known.block_bytes, size.word_bytes / known.word_bytes
    rate = np.full((4, 4), OTHERS * MEGABIT)
    rate[AGX, CLOUD] = rate[CLOUD, AGX] = source_cloud * MEGABIT
    kinds = tuple(
        EdgeKind(name, count, (m.embedding_s, *(m.block_s * block,) * size.blocks, m.head_s * word), m.memory_bytes)
        for name, count, m in (("source", 1, AGX_ORIN), ("agx-orin", 11, AGX_ORIN), ("orin-nx", 2, ORIN_NX),
                               ("cloud", 1, RTX_3090)))
    return EdgeProblem(kinds, (size.word_bytes, *(size.block_bytes,) * size.blocks, size.word_bytes),
                       (*(tokens * size.hidden * FLOAT,) * (size.blocks + 1), tokens * TOKEN), rate, MESSAGE_S)


def partitions(problem: EdgeProblem) -> Mapping[str, Partition | None]:
    """EdgeShard's and what it is compared with, by the paper's names; None: it does not fit."""
    return {
        "edge-solo": _if_it_fits(problem, even(problem, (AGX,))),
        "cloud-edge-even": _if_it_fits(problem, even(problem, (AGX, CLOUD))),
        "cloud-edge-opt": _cloud_edge(problem),
        "edgeshard-latency": partition(problem, "latency"),
        "edgeshard-throughput": partition(problem, "throughput"),
    }


def _cloud_edge(problem: EdgeProblem) -> Partition | None:
    try:
        found = partition(problem.only((AGX, CLOUD)), "latency")
    except ValueError:
        return None
    return tuple(shard._replace(kind=(AGX, CLOUD)[shard.kind]) for shard in found)


def _if_it_fits(problem: EdgeProblem, shards: Partition) -> Partition | None:
    return shards if fits(problem, shards) else None


def profile() -> str:
    """The profile of scenario `edge`: steps of each partition for one token, devices and links in order."""
    problem = problem_of()
    lines = ["# Seconds of one token in each step of a partition of Llama 2 7B: a device's layers, or a link. Made by:",
             "# python -m baselines.edgeshard_testbed",
             "variant,device,cores,inter_op,intra_op,batch,stage,latency_s,partition,step"]
    for name, shards in partitions(problem).items():
        if shards is not None and (name == "edge-solo" or len(shards) > 1):
            steps = steps_s(problem, shards)
            for i, seconds in enumerate(steps):
                shard = shards[min(i // 2, len(shards) - 1)]
                step = "link" if i % 2 else f"{problem.kinds[shard.kind].name}: {len(shard.layers)} layers"
                lines.append(f"llama2-7b,testbed,0,{len(steps)},1,1,{i},{seconds:.6g},{name},{step}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(profile(), end="")

"""Cutting a row of blocks into pipeline stages whose largest cost is as small as it can be."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from runtime.models.model import ModelError


def cut(costs: Sequence[float], stages: int, name: str) -> list[range]:
    """Consecutive blocks of each stage; every stage gets one or more.

    The dynamic programme over (blocks, stages) is exact: of all cuts, one with the smallest cost of the largest stage.

    Args:
        costs: of each block, >= 0.
        stages: how many.
        name: what messages call the model.

    Raises:
        ModelError: there are fewer blocks than stages.
    """
    if stages > len(costs):
        raise ModelError(f"{name}: {len(costs)} blocks cannot be cut into {stages} stages; use inter_op {len(costs)} or less")
    before = [0.0, *accumulate(costs)]
    best = {0: 0.0}  # largest cost of the first n blocks in the stages so far, by n
    last_start: list[dict[int, int]] = []
    for stage in range(stages):
        found = {}
        starts = {}
        for end in range(stage + 1, len(costs) + 1):
            largest, start = min((max(best[n], before[end] - before[n]), n) for n in best if n < end)
            found[end], starts[end] = largest, start
        best = found
        last_start.append(starts)
    parts: list[range] = []
    end = len(costs)
    for starts in reversed(last_start):
        parts.insert(0, range(starts[end], end))
        end = starts[end]
    return parts

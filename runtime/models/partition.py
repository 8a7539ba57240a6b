"""Cutting a row of blocks into pipeline stages whose largest cost is as small as it can be."""

from __future__ import annotations

from collections.abc import Sequence

from baselines.stage_slicing import slice_stages
from runtime.models.model import ModelError


def cut(costs: Sequence[float], stages: int, name: str) -> list[range]:
    """Consecutive blocks of each stage; every stage gets one or more.

    Args:
        costs: of each block, >= 0.
        stages: how many.
        name: what messages call the model.

    Raises:
        ModelError: there are fewer blocks than stages.
    """
    if stages > len(costs):
        raise ModelError(f"{name}: {len(costs)} blocks cannot be cut into {stages} stages; use inter_op {len(costs)} or less")
    return list(slice_stages(costs, stages))

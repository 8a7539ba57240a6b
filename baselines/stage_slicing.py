"""Inter-op parallelism: a row of layers sliced into pipeline stages.

AlpaServe (Li et al., OSDI 2023, section 4.1) slices by a dynamic programme over single layers: in inference a stage takes
as long as its layers together, so K profiled layers are enough. With F(s, k) the slowest of s stages of the first k layers,

    F(s, k) = min over i of max(F(s - 1, i), stage(i, k)),    stage(i, k) = receiving from layer i, layers i + 1 .. k

in O(K^2 s). Its baseline is by hand: as many layers for each stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

Slices = tuple[range, ...]
"""The layers of each stage, in order, none empty."""
Receive = Sequence[Sequence[float]]
"""By stage and layer: seconds in which the stage receives what comes out of the layer; the first stage receives nothing."""


class Overhead(NamedTuple):
    """What a pipeline costs beyond the model itself, in device seconds of one batch (AlpaServe's figure 8).

    Attributes:
        communication_s: all stages together, less the model on one device.
        imbalance_s: waiting for the slowest stage.
    """

    communication_s: float
    imbalance_s: float

    @property
    def total_s(self) -> float:
        """Of both."""
        return self.communication_s + self.imbalance_s


def slice_stages(layer_s: Sequence[float], stages: int, receive_s: Receive | None = None) -> Slices:
    """The slices whose slowest stage is fastest; of equal ones, those whose last stages begin early.

    Args:
        layer_s: seconds of each layer, >= 0.
        stages: how many.
        receive_s: for each stage, the seconds that it takes to receive what comes out of each layer; None: nothing.

    Raises:
        ValueError: there are fewer layers than stages, or no stages.
    """
    count = len(layer_s)
    _check(count, stages)
    before = np.cumsum([0.0, *layer_s])
    start, end = np.indices((count + 1, count + 1))
    work_s = np.where(start < end, before[end] - before[start], np.inf)
    slowest = np.full(count + 1, np.inf)  # of the first k layers in the stages so far, by k
    slowest[0] = 0.0
    starts = []
    for stage in range(stages):
        received = [0.0] * count if receive_s is None or not stage else receive_s[stage]
        total = np.maximum(slowest[:, None], work_s + np.array([0.0, *received])[:, None])
        starts.append(total.argmin(axis=0))
        slowest = total.min(axis=0)
    cuts = [count]
    for first in reversed(starts):
        cuts.append(int(first[cuts[-1]]))
    return _slices(cuts[::-1])


def equal_slices(layers: int, stages: int, ends: int = 0) -> Slices:
    """As many layers for each stage, the first stages one more where it does not come out even.

    Args:
        layers: how many.
        stages: how many.
        ends: layers at either end that do not count (embedding, head): they go with the first and the last stage.

    Raises:
        ValueError: there are fewer layers that count than stages, or no stages.
    """
    inner = layers - 2 * ends
    _check(inner, stages)
    each, more = divmod(inner, stages)
    cuts = [ends + s * each + min(s, more) for s in range(stages + 1)]
    return _slices([0, *cuts[1:-1], layers])


def stage_latencies(layer_s: Sequence[float], slices: Slices, receive_s: Receive | None = None) -> tuple[float, ...]:
    """Seconds of each stage, with receiving what the one before gives."""
    return tuple(sum(layer_s[i] for i in part) + (receive_s[stage][part.start - 1] if receive_s and stage else 0.0)
                 for stage, part in enumerate(slices))


def overhead(stage_s: Sequence[float], single_s: float) -> Overhead:
    """What stages cost beyond the model on one device, as AlpaServe's program accounts for it."""
    communication_s = max(sum(stage_s) - single_s, 0.0)
    return Overhead(communication_s, max(max(stage_s) * len(stage_s) - communication_s - single_s, 0.0))


def _check(layers: int, stages: int) -> None:
    if not 1 <= stages <= layers:
        raise ValueError(f"{layers} layers cannot be sliced into {stages} stages; use 1 to {layers}")


def _slices(cuts: Sequence[int]) -> Slices:
    return tuple(range(a, b) for a, b in pairwise(cuts))

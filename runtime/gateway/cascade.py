"""When a request leaves a cascade early, and how accurate an answer then is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from envs.randomness import CERTAINTY, draw, key, uniform
from envs.scenario import Scenario, Variant
from runtime.gateway.request import Request
from runtime.models.model import TensorSpec
from runtime.serving.replica import Tensors

CERTAINTY_OUTPUT = "certainty"


class Leaving(Protocol):
    """Decides whether an answer that is not the last stage's is certain enough."""

    def leaves(self, request: Request, threshold: float, outputs: Sequence[TensorSpec], answer: Tensors) -> bool:
        """Whether the request leaves with the answer of the variant that it was served by."""


class ByOutput:
    """For real models: they say how certain they are in an output called `certainty`; one that does not is never certain."""

    def leaves(self, request: Request, threshold: float, outputs: Sequence[TensorSpec], answer: Tensors) -> bool:
        """See `Leaving`."""
        said = [tensor for spec, tensor in zip(outputs, answer) if spec.name == CERTAINTY_OUTPUT]
        return bool(said) and float(said[0].min()) >= threshold


class ByDraw:
    """For emulated replicas: the same share leaves as in the simulator, and with the same seed the same requests.

    Args:
        scenario: certainty curves of the variants.
        seed: of the draws.
    """

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self._variants = scenario.variants
        self._keys = [key(seed, CERTAINTY, i) for i in range(len(scenario.applications))]

    def leaves(self, request: Request, threshold: float, outputs: Sequence[TensorSpec], answer: Tensors) -> bool:
        """See `Leaving`."""
        word = draw(np.uint64(self._keys[request.application.row]), request.number, request.stage)
        return bool(uniform(np.uint64(word)) < leave_ratio(self._variants[request.variant], threshold))


def leave_ratio(variant: Variant, threshold: float) -> float:
    """The share that leaves at a threshold, as the variant's curve says; 0 without one."""
    rows = variant.certainty
    return float(np.interp(threshold, [r.threshold for r in rows], [r.leave_ratio for r in rows])) if rows else 0.0


def accuracy_of_leavers(variant: Variant, threshold: float) -> float:
    """Accuracy of those that leave at a threshold."""
    rows = variant.certainty
    return float(np.interp(threshold, [r.threshold for r in rows], [r.accuracy for r in rows])) if rows else variant.accuracy

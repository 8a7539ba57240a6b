"""IPA's base allocation: the cores of one replica of each variant of a stage.

Source: artefact of Ghafouri et al., JSys 2024. A shape is the better, the more batch sizes carry a threshold load on it within
the stage's SLO. A pointer into the shapes goes through the variants by rising accuracy and never moves back: it moves on to
the next shape while that is strictly better, or while no batch size does.
"""

from __future__ import annotations

from collections.abc import Sequence

from envs.contract import ReplicaKind, Shape
from envs.scenario import Scenario


def base_allocation(scenario: Scenario, service: str, kinds: Sequence[tuple[ReplicaKind, str]], threshold_rps: float,
                    capacity_ratio: float = 1.0) -> set[tuple[Shape, str]]:
    """The shape of each variant.

    Args:
        scenario: its profile.
        service: the stage.
        kinds: kinds that may serve it, each with its variant.
        threshold_rps: load that one replica should carry.
        capacity_ratio: factor on throughputs.

    Raises:
        ValueError: a variant carries the threshold on no shape.
    """
    slo_s, place, found = scenario.services[service].slo_s, 0, set()
    shapes = sorted({kind.shape for kind, _ in kinds}, key=lambda shape: (shape.units, shape))

    def batches(variant: str, shape: Shape) -> int:
        """Batch sizes that carry the threshold in time."""
        return sum(capacity_ratio * scenario.capacity_rps(k, v) >= threshold_rps
                   and sum(scenario.profile.latency_s(v, k.shape, k.batch)) <= slo_s
                   for k, v in kinds if (v, k.shape) == (variant, shape))

    for variant in sorted({v for _, v in kinds}, key=lambda v: scenario.variants[v].accuracy):
        own = [i for i, shape in enumerate(shapes) if any((v, k.shape) == (variant, shape) for k, v in kinds)]
        at = next((i for i in own if i >= place), own[-1])
        for following in (i for i in own if i > at):
            if batches(variant, shapes[at]) and batches(variant, shapes[following]) <= batches(variant, shapes[at]):
                break
            at = following
        if not batches(variant, shapes[at]):
            raise ValueError(f"no shape of '{variant}' carries {threshold_rps:g} req/s in {slo_s:g} s; lower the threshold")
        place = max(place, at)
        found.add((shapes[at], variant))
    return found

"""AlpaServe's published experiments: its six models on V100s of 16 GB, their requests, and how attainment is counted.

The profile that the paper planned with is not public. Latencies on one device were recovered from its recorded results
exactly (table 1 of the paper rounds them); of pipelines the sum and the slowest stage, and shards over four devices, by fits
to recorded rows (mean error 0.001 of attainment); weights of the fullest device lie within bounds that recorded placements
set (their middle is taken; on one device the size of the model). Two stages and two shards are assumptions, as no row tells,
and so are load times: the weights at what a copy to a device over PCIe 3.0 x16 reaches (AlpaServe charges none).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from baselines.placement import PlacedModel, PlacementProblem
from baselines.placement_replay import Requests
from envs.contract import Shape
from traces.alpaserve import split_rate, workload

GIB = 2**30
DEVICE = "v100"
BUDGET_BYTES = 13 * GIB  # of 16 GB, for weights
STAGE_OVERHEAD_RATIO, OVERHEAD_S = 0.009, 0.011
TRIM_S = 10.0
TRAINING_SEED, TRAINING_REQUESTS, TRAINING_S = 1234, 30_000, 100.0
LOAD_BYTES_PER_S = 12e9
TWO_STAGES, TWO_SHARDS = (0.505, 0.515), 0.60  # of the latency on one device: assumed

SHAPES = ((1, 1), (2, 1), (1, 2), (4, 1), (1, 4), (8, 1))  # (inter_op, intra_op)
_PROFILE = {  # one device (s), four stages (sum, slowest), four shards, eight stages (sum, slowest); weights by shape (GiB)
    "bert-1.3b": (0.15125, (0.15711, 0.04074), 0.05900, (0.15484, 0.02207), (2.644, 1.322, 1.372, 0.695, 0.6575, 0.383)),
    "bert-2.6b": (0.23750, (0.23869, 0.06264), 0.08873, (0.24314, 0.03355), (5.180, 2.590, 2.568, 1.3685, 1.298, 0.689)),
    "bert-6.7b": (0.39475, (0.39672, 0.10189), 0.15451, (0.39524, 0.05391), (12.788, 6.394, 6.237, 3.2705, 3.2175, 1.767)),
    "moe-1.3b": (0.15000, (0.16200, 0.04069), 0.05700, (0.15075, 0.02372), (2.421, 1.211, 1.246, 0.6565, 0.6425, 0.348)),
    "moe-2.4b": (0.17100, (0.18340, 0.04799), 0.06339, (0.17250, 0.02624), (4.470, 2.235, 2.248, 1.151, 1.1125, 0.6035)),
    "moe-5.3b": (0.23400, (0.23517, 0.06347), 0.08593, (0.26062, 0.03634), (9.872, 4.936, 5.026, 2.564, 2.548, 1.331)),
}
NAMES = tuple(_PROFILE)
MIXED = ("bert-6.7b", "moe-5.3b", "bert-2.6b", "moe-2.4b", "bert-1.3b", "moe-1.3b")  # the order that recorded placements tell


class Traffic(NamedTuple):
    """Gamma arrivals: models share the rate by a power law."""

    models: int
    rate_rps: float
    cv: float
    length_s: float = 200.0

    def test(self, seed: int = 0) -> Requests:
        """The requests that results are of; seed 0: the published ones."""
        return Requests.of(workload(split_rate(self.rate_rps, self.models), self.cv, self.length_s, seed))

    def training(self, times: int = 1, seed: int = TRAINING_SEED) -> Requests:
        """Others of the same kind, about 30,000, to plan on; or these and as many more as so many times their length has."""
        length_s = times * max(TRAINING_S, TRAINING_REQUESTS / self.rate_rps)
        return Requests.of(workload(split_rate(self.rate_rps, self.models), self.cv, length_s, seed))


def problem(names: Sequence[str], devices: int, slo_scale: float) -> PlacementProblem:
    """Models of these names (one may come many times), each with an SLO of so many times its latency on one device.

    Raises:
        LookupError: no model of that name.
    """
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        raise LookupError(f"no published model '{unknown[0]}'; there are {', '.join(NAMES)}")
    known = {name: _latencies(name) for name in set(names)}
    models = tuple(
        PlacedModel(f"{name}#{i}", single(slo_scale * known[name][_shape(1, 1)][0]), known[name],
                    {_shape(*shape): weight * GIB for shape, weight in zip(SHAPES, _PROFILE[name][-1], strict=True)},
                    load_s=_PROFILE[name][-1][0] * GIB / LOAD_BYTES_PER_S)
        for i, name in enumerate(names))
    return PlacementProblem(models, devices, BUDGET_BYTES, STAGE_OVERHEAD_RATIO, OVERHEAD_S)


def attainment(requests: Requests, latency_s: np.ndarray) -> float:
    """Share answered (nan is refused), without the first and the last ten seconds' worth of requests."""
    trim = int(TRIM_S / (requests.arrival_s[-1] - requests.arrival_s[0]) * len(requests))
    return float(np.mean(~np.isnan(latency_s[trim: len(latency_s) - trim])))


def single(x: float) -> float:
    """The published program keeps latencies and SLOs in single precision, clocks in double."""
    return float(np.float32(x))


def _latencies(name: str) -> dict[Shape, tuple[float, ...]]:
    one_s, four, shards_s, eight, _ = _PROFILE[name]
    stages = {(1, 1): (one_s,), (2, 1): tuple(share * one_s for share in TWO_STAGES), (1, 2): (TWO_SHARDS * one_s,),
              (4, 1): pipeline(4, *four), (1, 4): (shards_s,), (8, 1): pipeline(8, *eight)}
    return {_shape(*shape): tuple(single(s) for s in seconds) for shape, seconds in stages.items()}


def pipeline(stages: int, sum_s: float, slowest_s: float) -> tuple[float, ...]:
    """The slowest stage first, the others alike: their order changes no finish where models are equal."""
    return (slowest_s, *[(sum_s - slowest_s) / (stages - 1)] * (stages - 1))


def _shape(inter_op: int, intra_op: int) -> Shape:
    return Shape(0, inter_op, intra_op, DEVICE)

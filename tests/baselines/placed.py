"""Problems of placement for the tests: AlpaServe's experiment of table 2, and small ones that can be enumerated."""

import numpy as np

from baselines.placement import PlacedModel, PlacementProblem
from baselines.placement_replay import Requests
from envs.contract import Shape
from traces.alpaserve import split_rate, workload

GIB = 2**30
SINGLE, PAIR, SHARDS, FOUR, FOUR_SHARDS, EIGHT = (
    Shape(0, inter_op, intra_op, "gpu") for inter_op, intra_op in ((1, 1), (2, 1), (1, 2), (4, 1), (1, 4), (8, 1)))
BERT_2_6B = {  # shape: sum of all stages and the slowest (s), weights of the fullest device (GiB)
    SINGLE: (0.2375, 0.2375, 5.18), FOUR_SHARDS: (0.08873, 0.08873, 1.295), FOUR: (0.23869, 0.06264, 1.37),
    EIGHT: (0.24314, 0.03355, 0.69)}
TABLE_2_SLO_SCALES = (0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 10)
TABLE_2_REPLICATION = (0, 0, 0.302, 0.368, 0.485, 0.578, 0.640, 0.689, 0.771, 0.826)
MODELS, TOTAL_RPS, CV, LENGTH_S, TRIM_S = 24, 40.0, 4.0, 200.0, 10.0
TRAINING_SEED, TRAINING_REQUESTS = 1234, 30_000


def single(x):
    """The published program keeps latencies and SLOs in single precision."""
    return float(np.float32(x))


def stages_s(shape):
    """Seconds of each stage: the slowest first, the others equal."""
    sum_s, slowest_s, _ = BERT_2_6B[shape]
    return (single(slowest_s), *[single((sum_s - slowest_s) / max(shape.inter_op - 1, 1))] * (shape.inter_op - 1))


def table_2(slo_scale):
    """24 x BERT-2.6B on 16 V100 with 13 GiB each."""
    latency_s = {shape: stages_s(shape) for shape in BERT_2_6B}
    weight_bytes = {shape: weight * GIB for shape, (_, _, weight) in BERT_2_6B.items()}
    slo_s = single(slo_scale * latency_s[SINGLE][0])
    models = tuple(PlacedModel(f"m{i}", slo_s, latency_s, weight_bytes, load_s=0.5) for i in range(MODELS))
    return PlacementProblem(models, 16, 13 * GIB, stage_overhead_ratio=0.009, overhead_s=0.011)


def table_2_test():
    """The requests that the figures are of."""
    return Requests.of(workload(split_rate(TOTAL_RPS, MODELS), CV, LENGTH_S))


def table_2_training():
    """The requests that the published planner saw: other seeds, 30,000 of them."""
    return Requests.of(workload(split_rate(TOTAL_RPS, MODELS), CV, TRAINING_REQUESTS / TOTAL_RPS, TRAINING_SEED))


def trimmed_attainment(requests, latency_s):
    """Share answered, without the first and last ten seconds' worth of requests."""
    trim = int(TRIM_S / (requests.arrival_s[-1] - requests.arrival_s[0]) * len(requests))
    return np.mean(~np.isnan(latency_s[trim:-trim]))


def small(rng, models=3, devices=2, copies=1.5, activation=0.0):
    """Unlike models on few devices that hold one or two of them each, and a minute of bursts."""
    latency_s = rng.uniform(0.1, 0.4, models)
    weight = rng.uniform(0.6, 1.0, models)
    placed = tuple(PlacedModel(
        f"m{i}", 3 * x, {SINGLE: (x,), PAIR: (0.55 * x, 0.5 * x), SHARDS: (0.62 * x,)},
        {SINGLE: w, PAIR: 0.52 * w, SHARDS: 0.51 * w}, activation * w, load_s=w)
        for i, (x, w) in enumerate(zip(latency_s, weight)))
    problem = PlacementProblem(placed, devices, copies, stage_overhead_ratio=0.01, overhead_s=0.01)
    seed = int(rng.integers(1000))
    return problem, Requests.of(workload(split_rate(1.6 * devices, models), 3.0, 60.0, seed))

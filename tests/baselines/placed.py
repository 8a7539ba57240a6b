"""Problems of placement for the tests: AlpaServe's experiment of table 2, and small ones that can be enumerated."""

from baselines.alpaserve_published import DEVICE, Traffic, problem
from baselines.placement import PlacedModel, PlacementProblem
from baselines.placement_replay import Requests
from envs.contract import Shape
from traces.alpaserve import split_rate, workload

SINGLE, PAIR, SHARDS, FOUR, FOUR_SHARDS, EIGHT = (
    Shape(0, inter_op, intra_op, DEVICE) for inter_op, intra_op in ((1, 1), (2, 1), (1, 2), (4, 1), (1, 4), (8, 1)))
TABLE_2 = Traffic(24, 40.0, 4.0)
TABLE_2_SLO_SCALES = (0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 10)
TABLE_2_REPLICATION = (0, 0, 0.302, 0.368, 0.485, 0.578, 0.640, 0.689, 0.771, 0.826)


def table_2(slo_scale):
    """24 x BERT-2.6B on 16 V100 with 13 GiB each."""
    return problem(("bert-2.6b",) * 24, 16, slo_scale)


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

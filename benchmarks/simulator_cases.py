"""What the simulator's benchmark plays: queues that do not change, placements of AlpaServe, whole clusters that change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from envs.cluster import SimulatedCluster
from envs.contract import Deployment
from envs.profiles import Profile
from envs.scenario import Scenario
from envs.scenario_file import load as load_scenario
from traces.samplers import POISSON, make_load

SEED = 1


# ---- V1, V2, V3: one queue that does not change

SERVERS = 8
DROP_AFTER_S = 0.1
UNBATCHED_TARGET = 35e6
BATCHED_TARGET = 60e6


class Queue(NamedTuple):
    """One queue before 8 servers."""

    name: str
    batch: int
    max_wait_s: float
    rate_rps: float
    target: float

    @property
    def latency_s(self) -> np.ndarray:
        """(batch + 1,) seconds of a batch of each size."""
        return np.array([0.0, *(0.010 + 0.002 * b for b in range(1, self.batch + 1))])

    @property
    def scenario(self) -> Scenario:
        """The same for the event kernel."""
        return Scenario.model_validate(
            {
                "name": self.name,
                "source": "speed cases",
                "interval_s": 10,
                "binding": "late",
                "service_cv": 0.1,
                "devices": {"cpu": {"budget": SERVERS}},
                "variants": {"model": {"accuracy": 1, "load_s": 1}},
                "services": {"answer": {"variants": ["model"], "slo_s": DROP_AFTER_S}},
                "candidates": [
                    {
                        "variants": ["model"],
                        "cores": [1],
                        "batch": self.batch,
                        "max_wait_s": self.max_wait_s,
                        "max_count": SERVERS,
                    }
                ],
                "initial": [{"candidate": 0, "level": SERVERS}],
                "admission": {"drop_after_s": DROP_AFTER_S},
                "workload": {},
                "profile": one_stage_profile({"model": self.latency_s[1:]}),
            }
        )


QUEUES = (
    Queue("V1 no batches", 1, 0.0, 560.0, UNBATCHED_TARGET),
    Queue("V2 greedy batches", 8, 0.0, 1800.0, BATCHED_TARGET),
    Queue("V3 batches wait 5 ms", 8, 0.005, 1800.0, BATCHED_TARGET),
)


def one_stage_profile(latency_s: dict[str, np.ndarray]) -> Profile:
    """A profile for replicas of one core: seconds of a batch of 1, 2, ... of each variant."""
    return Profile(
        pd.DataFrame(
            [
                {
                    "variant": variant,
                    "device": "cpu",
                    "cores": 1,
                    "inter_op": 1,
                    "intra_op": 1,
                    "batch": b,
                    "stage": 0,
                    "latency_s": s,
                }
                for variant, seconds in latency_s.items()
                for b, s in enumerate(seconds, 1)
            ]
        )
    )


# ---- A to D: placements of AlpaServe that do not change

BERT_S = 0.15125  # one BERT-1.3B on one V100, fitted to AlpaServe's recorded rows
SLOWEST_STAGE = {1: 1.0, 4: 1.08, 8: 1.17}  # x the mean stage, by number of stages
STAGE_OVERHEAD_RATIO = 0.009
OVERHEAD_S = 0.011
SLO_SCALE = 5.0


class Placement(NamedTuple):
    """Which group hosts which models, and what arrives."""

    name: str
    rate_rps: float
    cv: float
    duration_s: float
    stages: int
    groups: tuple[tuple[int, ...], ...]  # models of each group
    target: float  # AlpaServe's own replay, warm
    goodput: float | None  # as measured on it, where the whole case was

    @property
    def models(self) -> int:
        """How many."""
        return 1 + max(m for group in self.groups for m in group)


PLACEMENTS = (
    Placement("A 1 model, 1 GPU", 4.0, 1.0, 20_000.0, 1, ((0,),), 40.6e6, None),
    Placement("B 16 models, 2 x 4 stages", 64.0, 4.0, 1000.0, 4, (tuple(range(16)),) * 2, 29.6e6, 0.696),
    Placement("C 32 models, 4 x 8 stages", 64.0, 4.0, 1000.0, 8, (tuple(range(32)),) * 4, 17.2e6, None),
    Placement(
        "D 32 models, 32 GPUs of 4",
        64.0,
        4.0,
        1000.0,
        1,
        tuple(tuple(sorted((g + i) % 32 for i in range(4))) for g in range(32)),
        14.5e6,
        None,
    ),
)


def stage_seconds(stages: int) -> np.ndarray:
    """Latency of each pipeline stage: one is slower than the mean, the others share what is left."""
    slowest = SLOWEST_STAGE[stages] * BERT_S / stages
    others = (BERT_S - slowest) / max(stages - 1, 1)
    return np.array([others] * (stages - 1) + [slowest]) * (1 + STAGE_OVERHEAD_RATIO * stages)


def tables(placement: Placement) -> tuple[Any, ...]:
    """A placement as the replay takes it: all its arguments between the arrivals and the result, with new clocks."""
    hosts = [[g for g, group in enumerate(placement.groups) if m in group] for m in range(placement.models)]
    counts = [len(h) for h in hosts]
    return (
        np.concatenate([[0], np.cumsum(counts)]),
        np.concatenate([np.array(h, np.int64) for h in hosts]),
        np.tile(stage_seconds(placement.stages), (sum(counts), 1)),
        np.full(len(placement.groups), placement.stages),
        np.full(placement.models, SLO_SCALE * BERT_S),
        OVERHEAD_S,
        np.zeros((len(placement.groups), placement.stages)),
    )


# ---- The whole simulated cluster, while it changes

CHAIN_RPS = 1500.0


def chain_scenario(batch: int, counts: tuple[int, int]) -> Scenario:
    """Chains of two services on replicas that take seconds to load, sometimes in vain, and break after minutes."""
    return Scenario.model_validate(
        {
            "name": "chain",
            "source": "speed case",
            "interval_s": 10,
            "binding": "late",
            "service_cv": 0.1,
            "devices": {"cpu": {"budget": 64}},
            "variants": {"detector": {"accuracy": 0.9, "load_s": 6}, "classifier": {"accuracy": 0.8, "load_s": 4}},
            "services": {
                "detect": {"variants": ["detector"], "slo_s": 1},
                "classify": {"variants": ["classifier"], "slo_s": 1},
            },
            "applications": {"recognise": {"services": ["detect", "classify"], "slo_s": 0.2}},
            "candidates": [
                {"variants": [v], "cores": [1], "batch": batch, "max_count": 40} for v in ("detector", "classifier")
            ],
            "initial": [{"candidate": i, "level": n} for i, n in enumerate(counts)],
            "failures": {"load_cv": 0.3, "load_failure_ratio": 0.05, "mean_time_s": 300, "detection_s": 1},
            "workload": {},
            "profile": one_stage_profile(
                {"detector": 0.010 + 0.002 * np.arange(1, batch + 1), "classifier": 0.006 + 0.001 * np.arange(1, batch + 1)}
            ),
        }
    )


def chain_cluster(batch: int, counts: Sequence[tuple[int, int]]) -> tuple[SimulatedCluster, list[Deployment]]:
    """A cluster under Poisson load without end, and the deployments that it goes through, one after the other."""
    scenario = chain_scenario(batch, counts[0])
    load = make_load(POISSON, np.full(1000, CHAIN_RPS), 3600.0)
    return SimulatedCluster(scenario, {"recognise": load}, seed=SEED), [scenario.deployment(levels) for levels in counts]


BATCHED = ((8, 5), (9, 5), (8, 6), (7, 5))
UNBATCHED = ((24, 14), (26, 14), (24, 16), (23, 14))


def variants_cluster() -> tuple[SimulatedCluster, list[Deployment]]:
    """`resnet-variants` at 100 req/s, and deployments such as InfAdapter's: shares in proportion to capacity."""
    scenario = load_scenario("resnet-variants")
    load = make_load(POISSON, np.full(1000, 100.0), 3600.0)
    deployments = []
    for cores in ({2: 13}, {1: 8, 3: 12}, {0: 6, 2: 14}, {0: 4, 1: 6, 4: 10}):
        held = scenario.deployment([cores.get(c, 1) - 1 for c in range(len(scenario.candidates))])
        capacity = {(kind, kind.variants[0]): scenario.capacity_rps(kind, kind.variants[0]) for kind in held.replicas}
        total = sum(capacity.values())
        deployments.append(replace(held, routes={"classify": {route: rps / total for route, rps in capacity.items()}}))
    return SimulatedCluster(scenario, {"classify": load}, seed=SEED), deployments

"""The kernel compiled for what a scenario needs and no more agrees with the plain Python reference too, to the last bit.

The kernels are those of two built-in scenarios, and the one into which the second grows.
"""

import numpy as np
import pandas as pd
import pytest
import test_kernel_agrees
from cases import Case, extra_kinds
from reference import Reference
from test_kernel_agrees import compare_on_the_way

from envs.cluster import SimulatedCluster
from envs.contract import Deployment, ReplicaKind, Shape
from envs.model import kernel_flags
from envs.profiles import LATENCY_COLUMNS, Profile
from envs.scenario import Scenario
from envs.scenario_file import load
from traces.samplers import RECORDED, make_load

SEEDS = range(60)
END_S = 16.0


class Played(test_kernel_agrees.Played):
    """With the features that the scenario asks for; it learns of kinds when they are deployed, and keeps no records."""

    def __init__(self, case: Case, seed: int):
        loads = {name: make_load(RECORDED, recorded_s=np.array(times)) for name, times in case.arrivals.items()}
        SimulatedCluster.__init__(self, case.scenario, loads, seed=seed)

    def _features(self):
        return SimulatedCluster._features(self)


def rows(dice, variant, shape, batch):
    """A profile of one shape: (variant, device, cores, stages, 1, batch, stage, seconds) up to a batch."""
    return [(variant, "cpu", shape.cores, shape.inter_op, 1, b, stage, s)
            for stage in range(shape.inter_op)
            for b, s in enumerate(np.cumsum(dice.uniform([0.2, *[0.05] * (batch - 1)], [0.5, *[0.2] * (batch - 1)])), 1)]


def case_of(dice, kinds, levels, requests, **changes):
    """A case whose deployments are of these kinds, at levels up to these, and whose profile has all their shapes."""
    profile = [row for kind in kinds for row in rows(dice, kind.variants[0], kind.shape, 4)]
    name = "c" if "applications" in changes else "y"
    scenario = Scenario.model_validate({
        "name": "few features", "source": "random", "interval_s": 3.0, "workload": {}, "devices": {"cpu": {"budget": 64}},
        "variants": {v: {"accuracy": float(dice.uniform(0.5, 1)), "load_s": float(dice.uniform(0.1, 2))} for v in "abc"},
        "initial": [{"candidate": 0, "level": 2}],
        "failures": {"load_cv": 0.3, "load_failure_ratio": 0.2, "mean_time_s": 8.0, "detection_s": 0.7,
                     "in_flight": str(dice.choice(["lost", "requeued"]))},
        "profile": Profile(pd.DataFrame(profile, columns=LATENCY_COLUMNS)), **changes})
    deployments = [(float(t), Deployment({kind: int(dice.integers(0, level + 1)) for kind, level in zip(kinds, levels)}))
                   for t in np.sort(dice.uniform(0, END_S - 1, 5))]
    return Case(scenario, {name: np.sort(dice.uniform(0, END_S, requests)).tolist()}, deployments, END_S)


def chain(seed):
    """Late binding, a chain of two services, of which the first has two hosts; batches that wait, requests given up."""
    dice = np.random.default_rng(seed)
    kinds = [ReplicaKind((v,), Shape(1), 4, 0.1) for v in "abc"]
    return case_of(
        dice, kinds, (3, 3, 5), int(dice.integers(40, 400)), binding="late", service_cv=0.5, admission={"drop_after_s": 2.0},
        services={"y": {"variants": ["a", "b"], "slo_s": 1}, "z": {"variants": ["c"], "slo_s": 1}},
        applications={"c": {"services": ["y", "z"], "slo_s": 3.0}},
        candidates=[{"variants": [v], "cores": [1], "batch": 4, "max_wait_s": 0.1, "max_count": 5} for v in "abc"])


def growing(seed):
    """Early binding, replicas of one server; those of two servers and two stages come while requests are in flight."""
    dice = np.random.default_rng(seed)
    kinds = [ReplicaKind(("a",), Shape(1)), ReplicaKind(("b",), Shape(2, 2))]
    return case_of(
        dice, kinds, (4, 2), int(dice.integers(40, 300)), binding="early", admission={"queue_limit_s": 2.0},
        services={"y": {"variants": ["a", "b"], "slo_s": 1}},
        candidates=[{"variants": ["a"], "cores": [1], "max_count": 4}])


@pytest.mark.parametrize("make, like", [(chain, "video"), (growing, "live-demo")])
def test_few_features_agree(make, like):
    builtin = load(like)
    for seed in SEEDS:
        case = make(seed)
        ours = Played(case, seed)
        assert ours.flags == kernel_flags(builtin, builtin.kinds, record=False)
        compare_on_the_way(Reference(case.scenario, case.arrivals, seed, extra_kinds(case)), ours, case)

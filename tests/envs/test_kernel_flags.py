"""The kernel compiled for what a scenario needs and no more agrees with the plain Python reference too, to the last bit."""

import numpy as np
import pandas as pd
import pytest
from cases import Case, extra_kinds, play
from reference import Reference

from envs.cluster import SimulatedCluster
from envs.contract import Deployment, ReplicaKind, Shape
from envs.profiles import LATENCY_COLUMNS, Profile
from envs.scenario import Scenario
from traces.samplers import RECORDED, make_load

SEEDS = range(60)
END_S = 16.0


class Played(SimulatedCluster):
    """The simulated cluster with the reference's interface; it learns of kinds when they are deployed."""

    def __init__(self, case: Case, seed: int):
        loads = {name: make_load(RECORDED, recorded_s=np.array(times)) for name, times in case.arrivals.items()}
        super().__init__(case.scenario, loads, seed=seed, record=True)

    def run(self, t_end):
        counts = self._arrivals(t_end)
        self._kernel.run(self.model, self.state, self._times, counts, np.zeros_like(counts), t_end)
        self._keep_records()
        self.t_s = t_end


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
        "variants": {v: {"accuracy": float(dice.uniform(0.5, 1)), "load_s": float(dice.uniform(0.1, 2))} for v in "ab"},
        "initial": [{"candidate": 0, "level": 2}],
        "failures": {"load_cv": 0.3, "load_failure_ratio": 0.2, "mean_time_s": 8.0, "detection_s": 0.7,
                     "in_flight": str(dice.choice(["lost", "requeued"]))},
        "profile": Profile(pd.DataFrame(profile, columns=LATENCY_COLUMNS)), **changes})
    deployments = [(float(t), Deployment({kind: int(dice.integers(0, level + 1)) for kind, level in zip(kinds, levels)}))
                   for t in np.sort(dice.uniform(0, END_S - 1, 5))]
    return Case(scenario, {name: np.sort(dice.uniform(0, END_S, requests)).tolist()}, deployments, END_S)


def chain(seed):
    """Late binding, a chain of two services with one host each, of one core, in batches."""
    dice = np.random.default_rng(seed)
    kinds = [ReplicaKind((v,), Shape(1), 4) for v in "ab"]
    return case_of(
        dice, kinds, (5, 5), int(dice.integers(40, 400)), binding="late", service_cv=0.5,
        services={z: {"variants": [v], "slo_s": 1} for z, v in zip("yz", "ab")},
        applications={"c": {"services": ["y", "z"], "slo_s": 3.0}},
        candidates=[{"variants": [v], "cores": [1], "batch": 4, "max_count": 5} for v in "ab"])


def growing(seed):
    """Early binding, replicas of one server; those of two servers and two stages come while requests are in flight."""
    dice = np.random.default_rng(seed)
    kinds = [ReplicaKind(("a",), Shape(1)), ReplicaKind(("b",), Shape(2, 2))]
    return case_of(
        dice, kinds, (4, 2), int(dice.integers(40, 300)), binding="early", admission={"queue_limit_s": 2.0},
        services={"y": {"variants": ["a", "b"], "slo_s": 1}},
        candidates=[{"variants": ["a"], "cores": [1], "max_count": 4}])


@pytest.mark.parametrize("make", [chain, growing])
def test_few_features_agree(make):
    for seed in SEEDS:
        case = make(seed)
        ours = play(Played(case, seed), case).records()
        theirs = play(Reference(case.scenario, case.arrivals, seed, extra_kinds(case)), case).records
        expected = sorted((a, n, fate, t, v if fate in ("good", "late") else "") for a, n, fate, t, v in theirs)
        assert sorted(ours.itertuples(index=False, name=None)) == expected, f"seed {seed}"

"""AlpaServe and Selective Replication as policies: what they planned by replay is what the simulated cluster does."""

import numpy as np
import pandas as pd
import pytest

from baselines.alpaserve import AlpaServe, SelectiveReplication
from baselines.placement import Group
from baselines.placement_scenario import deployment_of, problem_of, requests_of
from envs.cluster import SimulatedCluster
from envs.contract import ReplicaKind, Shape
from envs.profiles import LATENCY_COLUMNS, Profile
from envs.scenario import Scenario
from envs.scenario_file import load
from traces.samplers import RECORDED, make_load

LENGTH_S = 100.0
ONE = Shape(0, 1, 1, "gpu")
LATENCY_S = {"m0": 0.10, "m1": 0.12, "m2": 0.14, "m3": 0.3, "m4": 0.33}


def scenario(folder):
    """Five models, four devices that hold two of them each; a file of arrivals in bursts for each model."""
    rng = np.random.default_rng(0)
    workload = {}
    for name, latency_s in LATENCY_S.items():
        times = np.cumsum(rng.gamma(1 / 9, 9 * 4 * latency_s, 2000))
        path = folder / f"{name}.csv"
        pd.DataFrame({"arrival_s": times[times < LENGTH_S]}).to_csv(path, index=False)
        workload[name] = {"trace": str(path), "arrivals": "recorded"}
    rows = [(name, "gpu", 0, inter_op, intra_op, 1, stage, share * latency_s)
            for name, latency_s in LATENCY_S.items()
            for inter_op, intra_op, share in ((1, 1, 1.0), (2, 1, 0.52), (1, 2, 0.6), (4, 1, 0.27))
            for stage in range(inter_op)]
    return Scenario.model_validate({
        "name": "placed", "source": "made up", "interval_s": 10.0, "binding": "early", "dispatch": "last-stage-clock",
        "admission": {"deadline": True}, "overhead_s": 0.011, "stage_overhead_ratio": 0.009,
        "devices": {"gpu": {"budget": 4, "memory_bytes": 10.0}},
        "variants": {name: {"accuracy": 1.0, "load_s": 0.0, "memory_bytes": 5.0} for name in LATENCY_S},
        "services": {name: {"variants": [name], "slo_s": 4 * s} for name, s in LATENCY_S.items()},
        "candidates": [{"variants": ["m0"], "device": "gpu"}], "workload": workload,
        "profile": Profile(pd.DataFrame(rows, columns=LATENCY_COLUMNS))})


@pytest.mark.parametrize("policy", [AlpaServe("search", LENGTH_S), AlpaServe("search-sep", LENGTH_S),
                                    SelectiveReplication("greedy", LENGTH_S), SelectiveReplication("search", LENGTH_S)])
def test_the_cluster_does_what_was_planned(policy, tmp_path):
    """Played on the requests that were planned on, the share of answers is the planned attainment, request for request."""
    problem = scenario(tmp_path)
    policy.reset(problem)
    requests = requests_of(problem, LENGTH_S)
    loads = {name: make_load(RECORDED, recorded_s=requests.only([i]).arrival_s) for i, name in enumerate(problem.services)}
    cluster = SimulatedCluster(problem, loads, record=True)
    decision = policy.decide(None)
    assert decision.deployment.units("gpu") <= 4
    cluster.apply(decision.deployment)
    while cluster.t_s < LENGTH_S:
        cluster.advance()
    cluster.finish()
    records = cluster.records()
    assert len(records) == len(requests)
    assert (records.fate == "good").mean() == pytest.approx(decision.details["planned_attainment"], abs=1e-12)


def test_problem_is_the_scenario(tmp_path):
    problem = problem_of(scenario(tmp_path))
    assert [model.name for model in problem.models] == list(LATENCY_S) and problem.devices == 4
    assert {(s.inter_op, s.intra_op) for s in problem.shapes} == {(1, 1), (2, 1), (1, 2), (4, 1)}
    assert problem.models[3].latency_s[ONE] == (0.3,)
    assert {weight for model in problem.models for weight in model.weight_bytes.values()} == {5.0, 2.5, 1.25}


def test_the_training_load_is_what_is_planned_on(tmp_path):
    made = scenario(tmp_path)
    requests = requests_of(made, 50.0)
    assert (np.diff(requests.arrival_s) >= 0).all() and requests.arrival_s[-1] < 50.0
    times = pd.read_csv(tmp_path / "m3.csv").arrival_s.to_numpy()
    assert np.allclose(requests.only([3]).arrival_s, times[times < 50.0])


def test_pipelines_beat_copies_where_memory_is_short(tmp_path):
    """A device holds two whole models, a pipeline of four all of them, and bursts find four devices: AlpaServe's point."""
    made = scenario(tmp_path)
    planned = []
    for policy in (AlpaServe("search", LENGTH_S), SelectiveReplication("greedy", LENGTH_S)):
        policy.reset(made)
        planned.append(policy.decide(None).details["planned_attainment"])
    assert planned[0] > planned[1]


def test_empty_groups_are_not_deployed(tmp_path):
    made = scenario(tmp_path)
    deployment = deployment_of(made, (Group(ONE, (0, 1)), Group(ONE), Group(ONE, (0, 1))))
    assert deployment.replicas == {ReplicaKind(("m0", "m1"), ONE): 2}


def test_other_scenarios_are_refused():
    with pytest.raises(ValueError, match="types of device"):
        AlpaServe().reset(load("resnet-variants"))

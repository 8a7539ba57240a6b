"""AlpaServe's sets of models as scenarios: their files are what is written, their numbers what was published or recovered."""

import numpy as np
import pytest
from placed import EIGHT, SINGLE

from baselines.alpaserve_published import MIXED
from baselines.alpaserve_scenarios import FOLDER, SETS, files, numbered, problem_of_set
from baselines.placement import Group, check, normal
from baselines.placement_replay import Replay
from baselines.placement_scenario import deployment_of, problem_of, requests_of
from envs.cluster import SimulatedCluster
from envs.scenario_file import load
from traces.samplers import RECORDED, make_load

LENGTH_S = 60.0


def test_the_files_are_what_is_written():
    for name, text in files().items():
        assert (FOLDER / name).read_text() == text, name


@pytest.mark.parametrize(("name", "copies", "devices"), [("s1", 32, 16), ("s2", 32, 64), ("s3", 60, 32), ("s4", 4, 64)])
def test_each_set_has_its_copies_and_devices(name, copies, devices):
    """Table 1 of the paper; devices of its synthetic experiments."""
    scenario = load(f"alpaserve-{name}")
    assert len(scenario.services) == copies and scenario.devices["v100"].budget == devices
    assert scenario.devices["v100"].memory_bytes == 13 * 2**30
    rates = [load.mean_rps for load in scenario.workload.values()]
    assert sum(rates) == pytest.approx(8 if name == "s4" else 64, rel=1e-4)
    assert np.allclose(np.array(rates) / rates[0], np.arange(1, copies + 1) ** -0.5, rtol=1e-4)
    assert scenario.initial_deployment.units("v100") == devices


@pytest.mark.parametrize("name", ["alpaserve-s1", "alpaserve-s2", "alpaserve-s3"])
def test_the_problem_is_the_published_one(name):
    """Latencies and SLOs to the bit; scenarios spread weights evenly over devices, which measured ones are not quite."""
    ours, published = problem_of(load(name)), problem_of_set(SETS[name])
    assert ours.devices == published.devices and ours.overhead_s == published.overhead_s
    for own, theirs in zip(ours.models, published.models, strict=True):
        assert own.latency_s == theirs.latency_s and own.slo_s == theirs.slo_s
        assert own.weight_bytes[SINGLE] == pytest.approx(theirs.weight_bytes[SINGLE], rel=1e-4)
        assert own.weight_bytes[EIGHT] == pytest.approx(theirs.weight_bytes[EIGHT], rel=0.2)


def test_the_large_model_needs_sixteen_devices():
    """Its stages are near even, and together take no less than the operations of 103.5e9 weights at a V100's full speed."""
    large = problem_of(load("alpaserve-s4")).models[0]
    assert sorted(shape.units for shape in large.latency_s) == [16, 16, 32]
    assert large.slo_s == 9.2
    for shape, stages in large.latency_s.items():
        least_s = 2 * 103.5e9 * 1024 / (125e12 * shape.intra_op)  # V100: 125 Tflop/s in half precision
        assert least_s < sum(stages) < 9.2 and max(stages) < 1.2 * sum(stages) / len(stages)


def test_models_are_numbered_by_their_copies():
    assert numbered(MIXED * 2)[4:8] == ["bert-1.3b-01", "moe-1.3b-01", "bert-6.7b-02", "moe-5.3b-02"]


def test_the_cluster_serves_them_as_the_replay_does():
    """Pipelines of eight, each hosting every eighth of the 60 models: the same requests are answered within their SLO."""
    scenario = load("alpaserve-s3")
    problem = problem_of(scenario)
    placement = normal([Group(EIGHT, tuple(range(g, 60, 4))) for g in range(4)])
    check(problem, placement)
    requests = requests_of(scenario, LENGTH_S)
    scenario = scenario.with_(candidates=tuple(  # it is there from the start
        {"variants": kind.variants, "device": "v100", "inter_op": 8} for kind in deployment_of(scenario, placement).replicas),
        initial=tuple({"candidate": g, "level": 1} for g in range(4)))
    loads = {name: make_load(RECORDED, recorded_s=requests.only([i]).arrival_s) for i, name in enumerate(scenario.services)}
    cluster = SimulatedCluster(scenario, loads, record=True)
    cluster.advance()
    cluster.finish()
    records = cluster.records()
    outcome = Replay(problem, requests).play(placement)
    assert len(records) == len(requests) > 1000
    assert (records.fate == "good").sum() == outcome.good.sum()

"""`tidal placement`: plans from files and from a scenario, what is printed, the picture, and mistakes told in one line."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest

from runtime.__main__ import main
from traces.alpaserve import split_rate, workload

MODELS = ("large#1", "large#2", "large#3", "small")
LATENCY_S, GB = {"large": 0.2, "small": 0.1}, 1e9


@pytest.fixture
def files(tmp_path):
    """Four models of two sizes, each of which fills a device alone, in bursts of 6 req/s."""
    rows = [f"{name},gpu,0,{stages},1,1,{stage},{seconds * 1.05 / stages},{GB / stages},0"
            for name, seconds in LATENCY_S.items() for stages in (1, 2) for stage in range(stages)]
    profile, requests = tmp_path / "mine.csv", tmp_path / "requests.csv"
    profile.write_text("\n".join(["# made up", "variant,device,cores,inter_op,intra_op,batch,stage,latency_s,weight_bytes,"
                                  "activation_bytes", *rows]))
    arrivals = workload(split_rate(6.0, len(MODELS)), 3.0, 300.0)
    arrivals.assign(model=[MODELS[m] for m in arrivals.model]).to_csv(requests, index=False)
    return ["placement", "--profile", str(profile), "--requests", str(requests)]


def test_a_placement_is_planned_printed_and_drawn(files, tmp_path, capsys):
    words = [*files, "--devices", "gpu=4,2.1", "--slo", "5x", "--method", "search"]
    assert main([*words, "--json", str(tmp_path / "p.json"), "--svg", str(tmp_path / "p.svg")]) == 0
    told = capsys.readouterr().out.splitlines()
    plan = json.loads((tmp_path / "p.json").read_text())
    assert told[0].startswith("4 models on 4 gpu, search: ") and len(told) == 2 + len(plan["groups"])
    hosted = {name for group in plan["groups"] for name in group["models"]}
    assert hosted == set(MODELS) and all(name in "".join(told) for name in MODELS)
    held = [len(group["models"]) * GB / group["inter_op"] for group in plan["groups"]]
    assert max(held) <= 2.1 * GB and sum(group["inter_op"] for group in plan["groups"]) <= 4
    assert plan["attainment"] > plan["replication_attainment"]  # in bursts, pipelines share what replicas have alone
    slices = [node for node in ElementTree.parse(tmp_path / "p.svg").iter() if node.get("class", "").startswith("slice")]
    assert len(slices) == sum(len(group["models"]) for group in plan["groups"])
    assert sum(float(node.get("height")) for node in slices) / 150 * 2.1 * GB == pytest.approx(sum(held), rel=0.01)


def test_the_better_plan_is_scored_on_requests_of_its_own(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("baselines.placement_improve.BUDGET", 1e5)
    assert main([*files, "--devices", "gpu=4,2.1", "--slo", "0.9", "--json", str(tmp_path / "p.json")]) == 0
    plan, requests = json.loads((tmp_path / "p.json").read_text()), np.loadtxt(files[-1], delimiter=",", skiprows=1, usecols=0)
    assert plan["requests"] == len(requests) - int(0.75 * len(requests)) and 0 < plan["attainment"] <= 1
    assert sum(group["requests"] for group in plan["groups"]) <= plan["requests"]
    capsys.readouterr()


@pytest.mark.parametrize(("words", "told"), [
    (["--devices", "gpu=4,2.1"], "all of --profile, --requests, --devices and --slo"),
    (["--devices", "tpu=4,2.1", "--slo", "5x"], "has no large on tpu; it has none"),
    (["alpaserve-s1", "--devices", "gpu=4,2.1", "--slo", "5x"], "--profile does not go with a scenario"),
])
def test_mistakes_are_one_line(files, words, told, capsys):
    assert main([*files, *words]) == 1
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_a_scenario_without_devices_to_slice_over_is_told(capsys):
    assert main(["placement", "resnet-variants"]) == 1
    assert "no types of device that models can be sliced over" in capsys.readouterr().err


def test_a_profile_without_weights_is_told(files, tmp_path, capsys):
    bare = tmp_path / "bare.csv"
    bare.write_text("variant,device,cores,inter_op,intra_op,batch,stage,latency_s\nlarge,gpu,0,1,1,1,0,0.2\n")
    assert main(["placement", "--profile", str(bare), *files[3:], "--devices", "gpu=4,2.1", "--slo", "5x"]) == 1
    assert "no column weight_bytes" in capsys.readouterr().err

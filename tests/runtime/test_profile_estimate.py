"""`tidal profile estimate`: a profile that a scenario can use, and mistakes told in one line."""

import pytest
import yaml

from envs import scenario_file
from envs.contract import Shape
from envs.profiles import Profile
from runtime.__main__ import main

OWN = "mine=transformer:sequence=128,hidden=256,layers=4,heads=4,vocabulary=1000"


def test_a_scenario_can_use_it(tmp_path, capsys):
    path = tmp_path / "mine.csv"
    words = ["profile", "estimate", "bert-1.3b", OWN, "--device", "v100", "--shapes", "1x1,4x1,1x2", "--batches", "1,4"]
    assert main([*words, "--out", str(path)]) == 0
    told = capsys.readouterr()
    assert not told.out and len(told.err.splitlines()) == 12 and "bert-1.3b 4x1 v100, batch 4:" in told.err
    profile = Profile.read(path)
    single = profile.latency_s("bert-1.3b", Shape(0, 1, 1, "v100"), 1)
    assert single[0] == pytest.approx(0.151, rel=0.05)  # AlpaServe's table 1
    assert len(profile.latency_s("mine", Shape(0, 4, 1, "v100"), 2)) == 4  # between batches of 1 and 4
    scenario = {"name": "mine", "source": "estimated", "interval_s": 10, "binding": "early", "profile": "mine.csv",
                "devices": {"v100": {"budget": 8, "memory_bytes": 16_000_000_000}},
                "variants": {"bert-1.3b": {"accuracy": 0.9, "load_s": 5, "memory_bytes": 2_838_000_000}},
                "services": {"ask": {"variants": ["bert-1.3b"], "slo_s": 1}},
                "candidates": [{"variants": ["bert-1.3b"], "device": "v100", "inter_op": 4, "batch": 4}],
                "workload": {"ask": {"trace": "diurnal", "mean_rps": 10}}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(scenario))
    assert scenario_file.check(tmp_path / "mine.yaml") == []


def test_what_does_not_fit_is_left_out(capsys):
    assert main(["profile", "estimate", "bert-15b", "--device", "v100", "--shapes", "1x1,4x1", "--batches", "1"]) == 0
    told = capsys.readouterr()
    assert "does not fit, left out" in told.err and told.err.count("left out") == 1
    rows = [line for line in told.out.splitlines() if line.startswith("bert-15b,")]
    assert [row.split(",")[3] for row in rows] == ["4"] * 4
    assert "# tidal profile estimate bert-15b --device v100 --shapes 1x1,4x1 --batches 1\n" in told.out


def test_a_core_serves_any_number_of_cores(capsys):
    assert main(["profile", "estimate", "resnet18", "--device", "cpu", "--batches", "1"]) == 0
    assert any(line.startswith("resnet18,cpu,,1,1,1,0,0.04") for line in capsys.readouterr().out.splitlines())


@pytest.mark.parametrize(("words", "told"), [
    (["bert", "--device", "v100"], "no model 'bert'"),
    (["resnet50", "--device", "v10"], "no device 'v10', did you mean 'v100'"),
    (["resnet18", "--device", "v100", "--shapes", "64x1"], "cannot be sliced into 64 stages"),
    (["resnet18", "--device", "cpu", "--shapes", "2x1"], "leave out --shapes"),
    (["bert-1.3b", "--device", "v100", "--shapes", "1x16"], "a node has 8"),
])
def test_mistakes_are_one_line(words, told, capsys):
    assert main(["profile", "estimate", *words]) == 1
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


@pytest.mark.parametrize("words", [["--shapes", "1"], ["--shapes", "0x1"], ["--batches", "a"], ["--batches", "0"]])
def test_wrong_words_are_refused(words):
    with pytest.raises(SystemExit) as ended:
        main(["profile", "estimate", "bert-1.3b", "--device", "v100", *words])
    assert ended.value.code == 2

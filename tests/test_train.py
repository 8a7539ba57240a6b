"""The command line of training, on a scenario of two cores."""

import csv
import json

import pytest
import yaml

import train
from agents import training
from agents.network_policy import NetworkPolicy

SMALL = ["--scenario", "live-demo", "--steps", "384", "--windows", "2", "--evaluate-every", "192", "--set", "clusters=4",
         "--set", "rollout_intervals=24"]  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIDAL_TRACES", raising=False)
    return tmp_path


def weights(folder):
    return json.loads((folder / "manifest.json").read_text())["weights_sha256"]


def test_a_run_leaves_what_is_needed_and_its_config_reproduces_it(folder, capsys):
    assert train.main([*SMALL, "--seed", "3", "--name", "one", "--export", "out/agent"]) == 0
    run = folder / "runs" / "one"
    assert "384 of 384 steps" in capsys.readouterr().out
    assert {path.name for path in run.iterdir()} == {"config.yaml", "checkpoint.pt", "evaluations.csv", "tensorboard", "best"}
    assert list((run / "tensorboard").rglob("events*"))
    with (run / "evaluations.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(float(row["steps"])) for row in rows] == [0, 192, 384]
    best = NetworkPolicy(folder / "out" / "agent").manifest.training["best_reward"]
    assert best == max(float(row["reward"]) for row in rows)
    assert train.main(["--config", str(run / "config.yaml"), "--name", "again"]) == 0
    assert (folder / "runs" / "again" / "evaluations.csv").read_text() == (run / "evaluations.csv").read_text()
    assert weights(folder / "runs" / "again" / "best") == weights(run / "best")


def test_an_interrupted_run_is_saved_and_goes_on(folder, capsys, monkeypatch):
    assert train.main([*SMALL, "--name", "whole"]) == 0
    evaluate = training.Run.evaluate

    def interrupted(run):
        if run.steps == 192:
            raise KeyboardInterrupt
        return evaluate(run)

    monkeypatch.setattr(training.Run, "evaluate", interrupted)
    assert train.main([*SMALL, "--name", "parts"]) == train.INTERRUPTED
    assert "--resume runs/parts" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert train.main(["--resume", "runs/parts"]) == 0
    whole, parts = (folder / "runs" / name for name in ("whole", "parts"))
    assert (parts / "evaluations.csv").read_text() == (whole / "evaluations.csv").read_text()
    assert weights(parts / "best") == weights(whole / "best")
    checkpoint = (parts / "checkpoint.pt").read_bytes()
    assert train.main(["--resume", "runs/parts"]) == 0
    assert (parts / "checkpoint.pt").read_bytes() == checkpoint, "a finished run has nothing left to learn"


def test_a_run_that_is_interrupted_before_its_first_step_is_saved(folder, monkeypatch, capsys):
    def interrupted(run):
        raise KeyboardInterrupt

    monkeypatch.setattr(training.Run, "_imitate", interrupted)
    said = ["--set", "teacher=infadapter", "--name", "early"]
    assert train.main([*SMALL, *said]) == train.INTERRUPTED
    assert "--resume runs/early" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert train.main([*SMALL, *said[:2], "--name", "whole-taught"]) == 0
    assert train.main(["--resume", "runs/early"]) == 0
    early, whole = (folder / "runs" / name / "best" for name in ("early", "whole-taught"))
    assert weights(early) == weights(whole)


def test_a_residual_run_corrects_a_baseline(folder):
    assert train.main([*SMALL, "--name", "residual", "--set", "action_mode=residual", "--set", "base=infadapter"]) == 0
    manifest = json.loads((folder / "runs/residual/best/manifest.json").read_text())
    assert manifest["base"] == "baselines.infadapter:InfAdapter"


@pytest.mark.parametrize(("wrong", "told"), [
    (["--scenario", "nowhere"], "no scenario of this name"),
    (["--trace", "nothing"], "TIDAL_TRACES"),
    (["--set", "speed=3"], "unknown setting speed"),
    (["--set", "action_mode=residual"], "base_policy"),
    (["--set", "action_mode=residual", "--set", "base=nobody"], "no policy 'nobody'"),
    (["--selection", "1.5"], "--selection 1.5"),
    (["--resume", "runs/none"], "config.yaml"),
])  # fmt: skip
def test_what_is_wrong_is_told_in_one_line(wrong, told, capsys):
    assert train.main([*SMALL, *wrong]) == train.WRONG
    said = capsys.readouterr().err.strip()
    assert told in said and "\n" not in said


def test_a_run_is_not_overwritten_and_strange_configs_are_refused(folder, capsys):
    (folder / "runs" / "mine").mkdir(parents=True)
    (folder / "runs" / "mine" / "checkpoint.pt").write_bytes(b"")
    assert train.main([*SMALL, "--name", "mine"]) == train.WRONG
    assert "--resume" in capsys.readouterr().err
    (folder / "config.yaml").write_text(yaml.safe_dump({"speed": 3}))
    assert train.main(["--config", "config.yaml"]) == train.WRONG
    assert "unknown speed" in capsys.readouterr().err


SWEPT = [*SMALL, "--seed", "1", "--seeds", "1", "--sweep", "gamma=0.9,0.99", "--name", "swept"]


def as_alone(folder, said):
    """Two were trained elsewhere, and one of them is what it is when it is trained here."""
    names = ["swept-gamma=0.9-seed1", "swept-gamma=0.99-seed1"]
    assert sorted(path.name for path in (folder / "runs").iterdir()) == names
    assert all(f"[{name}] runs/{name}: 384 of 384 steps" in said for name in names)
    assert train.main([*SMALL, "--seed", "1", "--set", "gamma=0.9", "--name", "alone"]) == 0
    assert weights(folder / "runs" / "alone" / "best") == weights(folder / "runs" / names[0] / "best")
    assert yaml.safe_load((folder / "runs" / names[1] / "config.yaml").read_text())["settings"]["gamma"] == 0.99


def test_several_are_trained_in_processes_as_each_would_be_alone(folder, capfd):
    assert train.main([*SWEPT, "--jobs", "2"]) == 0
    as_alone(folder, capfd.readouterr().out)
    assert train.main([*SWEPT, "--jobs", "2"]) == 0  # nothing is left to be done


@pytest.mark.slow
def test_several_are_trained_on_ray_as_each_would_be_alone(folder, capfd):
    pytest.importorskip("ray", reason="the extra ray is not installed")
    assert train.main([*SWEPT, "--engine", "ray"]) == 0
    as_alone(folder, capfd.readouterr().out)


@pytest.mark.parametrize("wish", ["gamma", "gamma="])
def test_a_sweep_without_values_is_refused(wish, capsys):
    assert train.main([*SMALL, "--sweep", wish]) == train.WRONG
    assert "give a setting and its values" in capsys.readouterr().err

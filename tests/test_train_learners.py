"""`train.py --agent NAME` for the learners beside PPO: runs, goes on, and leaves what an evaluation can play."""

import csv
import json
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

import train
from agents import registry
from agents.cem import Distribution
from agents.learners import LEARNERS
from baselines.hold import HoldPlanner
from envs.scenario_file import load

HOUSE = Path(__file__).parents[1]
SMALL = ["--scenario", "live-demo", "--windows", "2", "--steps", "192", "--evaluate-every", "96"]
SETTINGS = {
    "recurrent-ppo": ["clusters=4", "rollout_intervals=24", "batches=2", "epochs=1", "memory_units=8"],
    "qr-dqn": ["clusters=4", "learning_starts=16", "batch=16", "memory=400", "quantiles=4"],
    "residual": ["clusters=4", "rollout_intervals=24", "epochs=1", "group=2"],
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIDAL_TRACES", raising=False)
    return tmp_path


def words(agent, *more):
    return [*SMALL, "--agent", agent, *(x for setting in SETTINGS.get(agent, []) for x in ("--set", setting)), *more]


def rewards(run):
    with (run / "evaluations.csv").open() as file:
        return {int(float(row["steps"])): float(row["reward"]) for row in csv.DictReader(file)}


@pytest.mark.parametrize("agent", [*SETTINGS])
def test_an_agent_is_trained_exported_and_played_by_its_folder(agent, folder):
    assert train.main(words(agent, "--name", "one")) == 0
    run, scenario = folder / "runs/one", load("live-demo")
    found = rewards(run)
    assert max(found) == 192 and min(found) == 0
    policy = registry.make(str(run / "best"), scenario)
    policy.reset(scenario)
    assert policy.manifest.training["agent"] == agent
    assert policy.manifest.training["best_reward"] == max(found.values())


CEM = ["--scenario", "live-demo", "--agent", "cem", "--windows", "2", "--steps", "240", "--set", "population=4", "--set",
       "windows=2", "--set", "intervals=15", "--set", "policy=infadapter-hold"]  # fmt: skip


def test_cem_moves_a_planners_settings_and_goes_on_to_the_same_end(folder, monkeypatch):
    assert train.main([*CEM, "--name", "whole"]) == 0
    whole = folder / "runs/whole"
    assert [*rewards(whole)] == [0, 120, 240]
    planner = registry.make(str(whole / "best"), load("live-demo"))
    assert isinstance(planner.planner, HoldPlanner)
    told = json.loads((whole / "best/planner.json").read_text())
    assert told["training"]["best_reward"] == max(rewards(whole).values())

    from agents.cem import CEMRun

    improve = CEMRun._improve

    def interrupted(run, remaining):
        if run.steps == 120:
            raise KeyboardInterrupt
        improve(run, remaining)

    monkeypatch.setattr(CEMRun, "_improve", interrupted)
    assert train.main([*CEM, "--name", "parts"]) == train.INTERRUPTED
    monkeypatch.setattr(CEMRun, "_improve", improve)
    assert train.main(["--resume", "runs/parts"]) == 0
    assert rewards(folder / "runs/parts") == rewards(whole)
    assert train.main([*CEM, "--name", "whole"]) == train.WRONG  # it is not overwritten


def test_a_distribution_over_settings_moves_towards_the_best():
    import numpy as np

    space = {"margin": [0.9, 1.1, 1.5], "release": [1, 4, 20], "forecast": ["max", "last"], "wait": [True, False]}
    distribution, rng = Distribution(space), np.random.default_rng(0)
    for _ in range(25):
        drawn = [distribution.draw(rng) for _ in range(40)]
        assert all(0.9 <= s["margin"] <= 1.5 and isinstance(s["release"], int) and 1 <= s["release"] <= 20 for s in drawn)
        best = sorted(drawn, key=lambda s: abs(s["margin"] - 1.33) + abs(s["release"] - 13) / 20 + (s["forecast"] == "max")
                      + (not s["wait"]))[:10]
        distribution.move(best, 0.3, 0.0)
    middle = distribution.middle()
    assert middle["margin"] == pytest.approx(1.33, abs=0.05) and abs(middle["release"] - 13) <= 1
    assert middle["forecast"] == "last" and middle["wait"] is True


@pytest.mark.parametrize(("more", "told"), [
    (["--agent", "cem", "--set", "policy=nobody"], "no policy 'nobody'"),
    (["--agent", "residual", "--set", "action_mode=absolute"], "base_policy"),
    (["--agent", "residual", "--set", "group=3"], "groups of 3"),
    (["--agent", "dqn", "--set", "epochs=3"], "unknown setting epochs of dqn"),
    (["--agent", "recurrent-ppo", "--set", "teacher=static"], "only ppo"),
])  # fmt: skip
def test_what_is_wrong_is_told_in_one_line(more, told, capsys):
    assert train.main([*SMALL, *more]) == train.WRONG
    said = capsys.readouterr().err.strip()
    assert told in said and "\n" not in said


ZOO = {  # settings of ours by the zoo's names
    "n_envs": "clusters", "n_steps": "rollout_intervals", "n_epochs": "epochs", "gamma": "gamma", "gae_lambda": "gae_lambda",
    "clip_range": "clip", "ent_coef": "entropy", "vf_coef": "value_weight", "buffer_size": "memory",
    "learning_starts": "learning_starts", "gradient_steps": "gradient_steps", "target_update_interval": "target_every",
    "exploration_fraction": "exploration_ratio", "exploration_final_eps": "exploration_final",
}  # fmt: skip


@pytest.mark.parametrize("agent", [*LEARNERS])
def test_the_zoos_file_says_what_train_does(agent):
    path = HOUSE / "agents/hyperparameters" / f"{agent.replace('-', '_')}.yml"
    row = yaml.safe_load(path.read_text())["tidal/Serving-v0"]
    settings = asdict(LEARNERS[agent].settings_class()())
    for theirs, ours in ZOO.items():
        assert (theirs in row) == (ours in settings), theirs
        assert theirs not in row or row[theirs] == settings[ours]
    assert row["learning_rate"] == f"lin_{settings['learning_rate']:.0e}".replace("e-0", "e-")
    rollout = settings["clusters"] * settings.get("rollout_intervals", 1)
    assert row["batch_size"] == settings.get("batch", rollout // settings.get("batches", 1))
    network = row["policy_kwargs"]
    assert set(network["net_arch"]) == {settings["hidden"]}
    assert network.get("lstm_hidden_size") == settings.get("memory_units")
    assert network.get("n_quantiles") == settings.get("quantiles")
    assert row["n_timesteps"] == train.DEFAULTS["steps"]

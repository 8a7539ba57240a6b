"""Policies by name."""

import subprocess
import sys

import pytest

from agents import registry
from agents.export import export
from agents.network_policy import NetworkPolicy
from agents.ppo import layers_of
from baselines import settings_file
from envs.contract import Policy
from envs.episode import run_episode
from envs.scenario_file import load


class Own(Policy):
    """A policy of a user's own."""

    def reset(self, scenario):
        pass

    def decide(self, observation):
        raise NotImplementedError


@pytest.mark.parametrize("name", [*registry.BASELINES])
def test_baselines_are_made_by_name(name):
    policy = registry.make(name, load("resnet-variants"))
    assert isinstance(policy, Policy)
    assert policy.calibrated == (registry.settings(name, load("resnet-variants")) is not None)


def test_calibrated_settings_are_used(tmp_path, monkeypatch):
    monkeypatch.setattr(settings_file, "FOLDER", tmp_path)
    assert registry.make("infadapter", load("resnet-variants")).calibrated is False
    (tmp_path / "resnet-variants.yaml").write_text("infadapter: {hold: 7}\nhpa: {}\n")
    policy = registry.make("infadapter", load("resnet-variants"))
    assert policy.calibrated is True and policy.hold == 7


def test_settings_for_another_form_of_the_scenario_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(settings_file, "FOLDER", tmp_path)
    scenario = load("resnet-variants")
    header = [f"Of: {settings_file.fitted_to(scenario)}."]
    settings_file.write(tmp_path / "resnet-variants.yaml", header, {"hpa": {}}, {"hpa": ""})
    assert registry.make("hpa", scenario).calibrated is True
    dearer = scenario.with_(weights=scenario.weights.model_copy(update={"cost": 0.1}))
    assert registry.make("hpa", dearer).calibrated == "outdated"
    assert registry.make("kpa", dearer).calibrated is False


def test_agents_are_made_from_folders_names_and_classes(trained, scenario, tmp_path, monkeypatch):
    export(layers_of(trained), tmp_path / "live-demo-ppo", scenario, "absolute", {})
    assert isinstance(registry.make(str(tmp_path / "live-demo-ppo"), scenario), NetworkPolicy)
    monkeypatch.setattr(registry, "PRETRAINED", tmp_path)
    assert isinstance(registry.make("ppo", scenario), NetworkPolicy)
    with pytest.raises(LookupError, match="only for live-demo; train one"):
        registry.make("ppo", load("tenants"))
    assert isinstance(registry.make(f"{__name__}:Own", scenario), Own)


def test_a_model_of_sb3_plays_after_a_warning(trained, scenario, loads, tmp_path):
    trained.save(tmp_path / "model.zip")
    with pytest.warns(UserWarning, match="runs the code"):
        policy = registry.make(str(tmp_path / "model.zip"), scenario)
    export(layers_of(trained), tmp_path / "agent", scenario, "absolute", {})
    mine = run_episode(scenario, policy, loads, seed=1)
    theirs = run_episode(scenario, NetworkPolicy(tmp_path / "agent"), loads, seed=1)
    assert mine.intervals["reward"].tolist() == theirs.intervals["reward"].tolist()
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="are not those of 'tenants'"):
        registry.make(str(tmp_path / "model.zip"), load("tenants"))


@pytest.mark.parametrize(
    ("name", "error", "told"),
    [
        ("nobody", LookupError, "infadapter-fast, .*ppo"),
        ("missing.zip", LookupError, "no such file"),
        ("agents.registry:Nobody", ImportError, "no 'Nobody'"),
        ("nowhere.at.all:Nobody", ImportError, "nowhere"),
        ("pathlib:PurePath", ValueError, "not a policy"),
        ("agents.network_policy:NetworkPolicy", ValueError, "without arguments"),
    ],
)
def test_what_cannot_be_made_is_told(name, error, told):
    with pytest.raises(error, match=told):
        registry.make(name, load("resnet-variants"))


def test_asking_for_names_imports_nothing_heavy():
    heavy = ("torch", "stable_baselines3", "numba")
    code = f"import sys; from agents import registry; registry.names(); print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"

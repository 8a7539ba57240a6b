"""The agents that come with the checkout."""

import pytest

from agents import registry
from agents.network_policy import NetworkPolicy
from envs.observation import missing_observation
from envs.scenario_file import load

FOLDERS = sorted(registry.PRETRAINED.glob("*-ppo"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_pretrained_agent_fits_its_scenario_and_its_card_names_its_weights(folder):
    policy = NetworkPolicy(folder)
    scenario = load(policy.manifest.scenario)
    assert folder.name == f"{scenario.name}-ppo"
    assert policy.manifest.weights_sha256 in (folder / "README.md").read_text()
    made = registry.make("ppo", scenario)
    made.reset(scenario)
    decision = made.decide(missing_observation(scenario, scenario.kinds, scenario.initial_deployment, 0.0))
    assert decision.deployment.units("cpu") <= scenario.devices["cpu"].budget


def test_there_is_one_for_resnet_variants():
    assert "resnet-variants-ppo" in [folder.name for folder in FOLDERS]

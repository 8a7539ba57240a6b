"""Exported agents: the same decisions by numpy alone, and nothing but the right files is taken."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from agents.export import export
from agents.manifest import AgentError
from agents.network_policy import NetworkPolicy, choose, forward
from agents.ppo import layers_of
from baselines.infadapter import InfAdapter
from envs.cluster import SimulatedCluster
from envs.reward import pricing, reward, terms
from envs.scenario_file import load
from envs.vector_env import ServingVectorEnv


@pytest.fixture
def exported(trained, scenario, tmp_path):
    export(layers_of(trained), tmp_path / "agent", scenario, "absolute", {"steps": 96, "seed": 1})
    return tmp_path / "agent"


def test_numpy_computes_what_torch_does(trained, exported):
    policy = NetworkPolicy(exported)
    seen = np.random.default_rng(0).random((1000, policy.manifest.observations), np.float32)
    with torch.no_grad():
        latent = trained.policy.mlp_extractor.forward_actor(torch.from_numpy(seen))
        logits = trained.policy.action_net(latent).numpy()
    mine = forward(policy.brain.layers, seen)
    np.testing.assert_allclose(mine, logits, atol=1e-5)
    theirs, _ = trained.predict(seen, deterministic=True)
    np.testing.assert_array_equal(choose(mine, policy.manifest.nvec), theirs)


@pytest.mark.parametrize("mode", ["absolute", "residual"])
def test_it_decides_on_a_cluster_as_it_does_in_the_environment(trained, scenario, loads, tmp_path, mode):
    rng = np.random.default_rng(3)
    layers = layers_of(trained)
    base = ""
    if mode == "residual":
        base = "baselines.infadapter:InfAdapter"
        layers = [*layers[:-1], (rng.normal(size=(9, layers[-1][0].shape[1])), rng.normal(size=9))]
    export(layers, tmp_path, scenario, mode, {}, base)
    policy = NetworkPolicy(tmp_path)
    env = ServingVectorEnv(1, scenario=scenario, loads=loads, action_mode=mode, base_policy=InfAdapter() if base else None)
    seen, info = env.reset(seed=8)
    rewards = []
    for _ in range(scenario.episode_intervals):
        seen, got, *_ = env.step(choose(forward(policy.brain.layers, seen), policy.manifest.nvec))
        rewards.append(float(got[0]))
    cluster = SimulatedCluster(scenario, loads, seed=int(info["cluster_seed"][0]), offset_s=float(info["offset_s"][0]))
    policy.reset(scenario)
    prices, look, earned = pricing(scenario, scenario.kinds), cluster.first_observation, []
    for _ in range(scenario.episode_intervals):
        cluster.apply(policy.decide(look).deployment)
        look = cluster.advance()
        found = terms(prices, cluster.last_truth, cluster.change_load_s, scenario.interval_s)
        earned.append(float(reward(scenario.weights, found)))
    assert earned == rewards


def test_its_imports_are_light(exported):
    code = (
        f"import sys; from agents.network_policy import NetworkPolicy; from envs.scenario_file import load; "
        f"NetworkPolicy({str(exported)!r}); "
        "print([m for m in ('torch', 'stable_baselines3', 'pickle5') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_it_refuses_weights_that_are_not_the_manifests(exported):
    weights = bytearray((exported / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (exported / "weights.safetensors").write_bytes(bytes(weights))
    with pytest.raises(AgentError, match="sha256"):
        NetworkPolicy(exported)


@pytest.mark.parametrize("name", ["format", "contract", "layout", "history"])
def test_it_refuses_other_versions(exported, name):
    manifest = json.loads((exported / "manifest.json").read_text())
    for version, way in ((99, "use the Tidal that wrote it"), (0, "train and export it again")):
        (exported / "manifest.json").write_text(json.dumps({**manifest, name: version}))
        with pytest.raises(AgentError, match=f"{name} {version}, here {manifest[name]}; {way}"):
            NetworkPolicy(exported)


def test_it_refuses_other_scenarios_and_other_files(exported, tmp_path):
    policy = NetworkPolicy(exported)
    with pytest.raises(AgentError, match="trained for 'live-demo'"):
        policy.reset(load("resnet-variants"))
    with pytest.raises(AgentError, match=r"manifest\.json"):
        NetworkPolicy(tmp_path / "nothing")
    (exported / "manifest.json").write_text("[]")
    with pytest.raises(AgentError, match="manifest"):
        NetworkPolicy(exported)


def test_a_manifest_names_baselines_only(trained, scenario, tmp_path):
    export(layers_of(trained), tmp_path, scenario, "absolute", {}, base="os:system", base_settings={"command": "true"})
    with pytest.raises(AgentError, match="baselines"):
        NetworkPolicy(tmp_path)

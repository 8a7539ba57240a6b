"""Learners beside PPO: each trains a little, and what is exported decides by numpy as the trained network does."""

import dataclasses

import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import VecEnv

from agents.brain import Brain, choose
from agents.entropy_floor import STEP, EntropyFloor, bonus_after
from agents.export import export
from agents.groups import GroupedVecEnv, relative
from agents.learners import LEARNERS
from agents.menu import MenuVecEnv, menu_of
from agents.network_policy import NetworkPolicy
from agents.ppo import PPOSettings, make_ppo
from agents.vec_env import ServingVecEnv
from baselines.hold import HoldPlanner
from envs.cluster import SimulatedCluster
from envs.episode import run_episode
from envs.layout import observation_names
from envs.vector_env import ServingVectorEnv

CLUSTERS = 4
SMALL = {
    "ppo": {"rollout_intervals": 12, "epochs": 2},
    "recurrent-ppo": {"rollout_intervals": 12, "epochs": 1, "batches": 2, "memory_units": 8},
    "dqn": {"learning_starts": 16, "batch": 16, "memory": 400, "target_every": 20},
    "qr-dqn": {"learning_starts": 16, "batch": 16, "memory": 400, "target_every": 20, "quantiles": 5},
    "residual": {"rollout_intervals": 12, "epochs": 2, "group": 2},
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def made(name, scenario, loads, base=None):
    """An untrained model, its settings and its environment."""
    learner = LEARNERS[name]
    settings = dataclasses.replace(learner.settings_class()(), clusters=CLUSTERS, **SMALL[name])
    outer: VecEnv = ServingVecEnv(ServingVectorEnv(
        CLUSTERS, scenario=scenario, loads=loads, action_mode=settings.action_mode, base_policy=base))
    if learner.menu:
        outer = MenuVecEnv(outer, menu_of(scenario))
    return learner, learner.model(settings, outer, 3, None), outer


@pytest.mark.parametrize("name", [name for name in LEARNERS if name != "ppo"])  # tests/agents/test_network_policy.py has PPO
def test_numpy_decides_as_the_trained_network(name, scenario, loads):
    base = HoldPlanner() if name == "residual" else None
    learner, model, environment = made(name, scenario, loads, base)
    model.learn(96)
    brain = Brain(learner.exported(model), learner.activation)
    environment.seed(9)
    seen, state, starts = environment.reset(), None, np.ones(CLUSTERS, bool)
    nvec = [environment.action_space.n] if learner.menu else environment.action_space.nvec.tolist()
    distinct = set()
    for _ in range(11):
        if name == "recurrent-ppo":
            wanted, state = model.predict(seen, state=state, episode_start=starts, deterministic=True)
            starts = np.zeros(CLUSTERS, bool)
        elif name == "residual":
            masks = np.stack(environment.env_method("action_masks"))
            wanted, _ = model.predict(seen, action_masks=masks, deterministic=True)
        else:
            wanted, _ = model.predict(seen, deterministic=True)
        found = choose(brain.logits(seen), nvec, masks if name == "residual" else None)
        assert (found == wanted.reshape(found.shape)).all()
        distinct |= set(map(tuple, found.tolist()))
        random = np.array([environment.action_space.sample() for _ in range(CLUSTERS)])
        seen, *_ = environment.step(random)
    if name == "recurrent-ppo":
        assert brain.recurrent
        first = brain.logits(seen)
        assert (brain.logits(seen) != first).any()  # it remembers


def test_an_untrained_residual_agent_is_the_planner_to_the_bit(scenario, loads, tmp_path):
    learner, model, _ = made("residual", scenario, loads, HoldPlanner())
    export(learner.exported(model), tmp_path, scenario, "residual", {}, "baselines.hold:HoldPlanner", {}, masked=True)
    agent, planner = (run_episode(scenario, p, loads, seed=5, start_s=120.0) for p in (NetworkPolicy(tmp_path), HoldPlanner()))
    assert agent.intervals.equals(planner.intervals)
    assert agent.decisions["deployment"].tolist() == planner.decisions["deployment"].tolist()
    assert planner.decisions["deployment"].nunique() > 2


def test_masks_keep_a_residual_agent_from_what_makes_no_sense(scenario, loads, tmp_path):
    """A network that would take everything away: with masks it takes what there is, and nothing that there is not."""
    tensors = {"weight.0": np.zeros((9, len(observation_names(scenario))), np.float32),
               "bias.0": np.tile(np.array([5.0, 0.0, 4.0], np.float32), 3)}
    export(tensors, tmp_path, scenario, "residual", {}, "baselines.static:Static", {"levels": [0, 0, 1]}, masked=True)
    agent = NetworkPolicy(tmp_path)
    agent.reset(scenario)
    decision = agent.decide(SimulatedCluster(scenario, loads, seed=1).first_observation)
    assert scenario.levels(decision.deployment) == (1, 1, 0)  # up where none can go down


def test_a_menu_holds_what_a_planner_would_deploy_and_the_beginning(scenario, loads, tmp_path):
    menu = menu_of(scenario)
    assert menu[0].tolist() == list(scenario.levels(scenario.initial_deployment))
    assert len({tuple(row) for row in menu.tolist()}) == len(menu)
    weight = np.zeros((len(menu), len(observation_names(scenario))), np.float32)
    bias = np.eye(len(menu), dtype=np.float32)[2]
    export({"weight.0": weight, "bias.0": bias}, tmp_path, scenario, "absolute", {}, menu=menu.tolist(), activation="relu")
    agent = NetworkPolicy(tmp_path)
    episode = run_episode(scenario, agent, loads, seed=1)
    assert agent.manifest.nvec == [len(menu)]
    assert set(episode.decisions["deployment"][1:]) == {str(scenario.deployment(menu[2]))}


def test_rewards_relative_to_a_group():
    """Whatever the load adds to all of a group drops out; the mean of the others does not hang on one's own reward."""
    rewards = np.array([1.0, 2.0, 3.0, 10.0, 10.0, 16.0])
    assert relative(rewards, 3) == pytest.approx([-1.5, 0.0, 1.5, -3.0, -3.0, 6.0])
    assert relative(rewards + np.repeat([7.0, -5.0], 3), 3) == pytest.approx(relative(rewards, 3))


def test_clusters_of_a_group_meet_the_same_requests(scenario, loads):
    inner = ServingVecEnv(ServingVectorEnv(4, scenario=scenario, loads=loads))
    environment = GroupedVecEnv(inner, 2)
    environment.seed(11)
    environment.reset()
    offered = []
    for _ in range(scenario.episode_intervals + 2):  # into the next episode
        _, rewards, _, _ = environment.step(np.tile([0, 0, 1], (4, 1)))
        offered.append(inner.envs.process.clusters.truth.offered_rps.sum(-1))
        assert rewards == pytest.approx(np.zeros(4), abs=1e-7)  # all do the same
    offered = np.array(offered)
    offered = np.nan_to_num(offered)  # at the first moment of an episode nothing has been offered
    assert (offered[:, 0] == offered[:, 1]).all() and (offered[:, 2] == offered[:, 3]).all()
    assert (offered[:, 0] != offered[:, 2]).any()
    with pytest.raises(ValueError, match="multiple"):
        GroupedVecEnv(inner, 3)


def test_the_bonus_of_entropy_grows_below_its_floor_and_falls_back_above_it(scenario, loads):
    settings = PPOSettings(clusters=CLUSTERS, rollout_intervals=12, epochs=1)
    environment = ServingVecEnv(ServingVectorEnv(CLUSTERS, scenario=scenario, loads=loads, action_mode="absolute"))
    for floor, expected in ((100.0, settings.entropy * STEP**2), (0.0, settings.entropy)):
        model = make_ppo(settings, environment, seed=0)
        model.learn(2 * CLUSTERS * 12, callback=EntropyFloor(floor))
        assert model.ent_coef == pytest.approx(expected)
    assert bonus_after(0.1, 0.002, entropy=1.0, floor=0.5) == pytest.approx(0.1 / STEP)

"""A small trained agent, made once: two updates of PPO on `live-demo`, a scenario of two cores."""

import dataclasses

import numpy as np
import pytest
import torch

from agents.ppo import PPOSettings, make_ppo
from agents.vec_env import ServingVecEnv
from envs.scenario_file import load
from envs.vector_env import ServingVectorEnv
from traces.samplers import POISSON, make_load

SETTINGS = PPOSettings(clusters=4, rollout_intervals=12, epochs=2)


@pytest.fixture(scope="session")
def scenario():
    return load("live-demo").with_(episode_intervals=12)


@pytest.fixture(scope="session")
def loads():
    return {"classify": make_load(POISSON, np.random.default_rng(0).uniform(5, 80, 200), 10.0)}


@pytest.fixture(scope="session")
def environment(scenario, loads):
    def make(**settings):
        chosen = dataclasses.replace(SETTINGS, **settings)
        return ServingVecEnv(ServingVectorEnv(chosen.clusters, scenario=scenario, loads=loads, action_mode=chosen.action_mode))

    return make


@pytest.fixture(scope="session")
def trained(environment):
    torch.set_num_threads(1)
    model = make_ppo(SETTINGS, environment(), seed=1)
    return model.learn(2 * SETTINGS.clusters * SETTINGS.rollout_intervals)

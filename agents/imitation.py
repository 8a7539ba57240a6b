"""A start for learning: the network imitates a teacher before PPO goes on from there.

From scratch, PPO spends most of its steps on deployments that no planner would make. A network that has seen a planner's
decisions begins near them, unsure where the planner's reasons cannot be seen in one observation, and PPO explores there.
The value function is fitted to the teacher's returns at the same time, or the first updates would undo what was imitated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from stable_baselines3 import PPO

from envs.contract import Policy
from envs.scenario import Scenario
from envs.vector_env import ServingVectorEnv
from traces.load import Load

BATCH = 512
LEARNING_RATE = 1e-3


@dataclass(frozen=True, eq=False)
class Lessons:
    """What a teacher did: observations (n, D), actions (n, candidates) in mode ``absolute``, discounted returns (n,)."""

    observations: np.ndarray
    actions: np.ndarray
    returns: np.ndarray


def watch(
    teacher: Policy,
    scenario: Scenario,
    loads: Mapping[str, Load],
    clusters: int,
    episodes: int,
    seed: int,
    load_scale: tuple[float, float],
    gamma: float,
) -> Lessons:
    """Plays a teacher and writes down what it saw, did and got.

    Args:
        teacher: any policy; copied for each cluster.
        scenario: the problem.
        loads: by application, as in training.
        clusters: how many play at the same time.
        episodes: of each.
        seed: of the episodes.
        load_scale: range of the factor on the load.
        gamma: discount of the returns; an episode's last interval counts as one that goes on.
    """
    envs = ServingVectorEnv(
        clusters, scenario=scenario, loads=loads, action_mode="residual", base_policy=teacher, load_scale=load_scale
    )
    keep = np.ones((clusters, len(scenario.candidates)), np.int64)
    seen, _ = envs.reset(seed=seed)
    observations, actions, returns = [], [], []
    for _ in range(episodes):
        rewards = np.zeros((scenario.episode_intervals, clusters))
        for t in range(scenario.episode_intervals):
            observations.append(seen)
            seen, rewards[t], *_ = envs.step(keep)
            actions.append(envs.process.decided)
        ahead = rewards.mean() / (1 - gamma)
        for t in range(scenario.episode_intervals - 1, -1, -1):
            ahead = rewards[t] + gamma * ahead
            rewards[t] = ahead
        returns.append(rewards.ravel())
    return Lessons(np.concatenate(observations), np.concatenate(actions), np.concatenate(returns).astype(np.float32))


def imitate(model: PPO, lessons: Lessons, epochs: int) -> float:
    """Fits the policy and value function of a model to what a teacher did.

    Returns:
        Mean log-likelihood of the teacher's actions in the last epoch.
    """
    optimizer = torch.optim.Adam(model.policy.parameters(), LEARNING_RATE)
    seen, done, got = (torch.from_numpy(x) for x in (lessons.observations, lessons.actions, lessons.returns))
    told = 0.0
    for _ in range(epochs):
        order = torch.randperm(len(seen))
        told = 0.0
        for at in range(0, len(seen), BATCH):
            rows = order[at : at + BATCH]
            value, likelihood, _ = model.policy.evaluate_actions(seen[rows], done[rows])
            loss = -likelihood.mean() + (value[:, 0] - got[rows]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            told += float(likelihood.detach().sum())
    return told / len(seen)

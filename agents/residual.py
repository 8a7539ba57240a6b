"""Residual agents: a planner decides, and the network may move each candidate a level; at first it moves none.

The last layer begins at zero but for a bias towards "as the planner says", so that step 0 *is* the planner, to the bit; what
cannot make sense (a level below none, or beyond the budget by itself) is masked. MaskablePPO (Huang and Ontañón, "A Closer
Look at Invalid Action Masking in Policy Gradient Algorithms", FLAIRS 2022) is sb3-contrib's; rewards are relative to a group
(`agents.groups`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.vec_env import VecEnv

from agents.ppo import PPOSettings, begin_with, first_bias, nvec_of, ppo_arguments, quiet
from envs.actions import Mode


@dataclass(frozen=True)
class ResidualSettings(PPOSettings):
    """Settings of PPO, and the group's.

    Attributes:
        group: clusters that meet the same requests and whose rewards are held against each other; 1: rewards as they are.
    """

    action_mode: Mode = "residual"
    base: str = "infadapter-hold"
    clusters: int = 32
    rollout_intervals: int = 60
    learning_rate: float = 3e-4
    gamma: float = 0.95
    entropy: float = 0.001
    group: int = 8


def make_residual(settings: ResidualSettings, environment: VecEnv, seed: int, tensorboard: str | None) -> MaskablePPO:
    """A new model.

    Raises:
        ValueError: it corrects no planner.
    """
    if settings.action_mode != "residual" or not settings.base:
        raise ValueError("a residual agent corrects a planner: leave action_mode at residual, and name a base")
    network = {"net_arch": [settings.hidden, settings.hidden], "activation_fn": torch.nn.Tanh}
    model = MaskablePPO("MlpPolicy", policy_kwargs=network, **ppo_arguments(settings, environment, seed, tensorboard))
    quiet(model, tensorboard)
    begin_with(model, first_bias("residual", nvec_of(environment)), weight=0.0)
    return model

"""PPO with an LSTM before the policy (sb3-contrib's RecurrentPPO): it remembers more load than an observation shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from agents.brain import LSTM, tensors_of
from agents.choices import Choices
from agents.ppo import PPOSettings, begin_with, first_bias, layers_of, nvec_of, ppo_arguments, quiet


@dataclass(frozen=True)
class RecurrentPPOSettings(PPOSettings):
    """Settings of PPO, and the LSTM's.

    Attributes:
        memory_units: of the LSTM.
    """

    clusters: int = 32
    rollout_intervals: int = 120
    batches: int = 4
    memory_units: int = 32


def make_recurrent_ppo(
    settings: RecurrentPPOSettings, environment: VecEnv, seed: int, tensorboard: str | None
) -> RecurrentPPO:
    """A new model."""
    network = {"net_arch": [settings.hidden], "activation_fn": torch.nn.Tanh, "enable_critic_lstm": False,
               "lstm_hidden_size": settings.memory_units}
    model = RecurrentPPO("MlpLstmPolicy", policy_kwargs=network, **ppo_arguments(settings, environment, seed, tensorboard))
    quiet(model, tensorboard)
    model.policy.action_dist = Choices(nvec_of(environment))
    begin_with(model, first_bias(settings.action_mode, nvec_of(environment)))
    return model


def recurrent_tensors(model: BaseAlgorithm) -> dict[str, np.ndarray]:
    """The LSTM and the policy's layers, as `Brain` takes them; torch's two biases of the LSTM are one here."""
    lstm = model.policy.lstm_actor
    enter, recur, *biases = (getattr(lstm, f"{name}_l0").detach().numpy() for name in (
        "weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    return {**dict(zip(LSTM, (enter.copy(), recur.copy(), biases[0] + biases[1]))), **tensors_of(layers_of(model))}

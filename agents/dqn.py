"""DQN and QR-DQN over a menu of deployments: what each would earn, and the best is chosen.

DQN (Mnih et al., Nature 2015) learns expected returns, QR-DQN (Dabney et al., AAAI 2018) their quantiles, whose mean decides.
The algorithms are Stable-Baselines3's and sb3-contrib's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sb3_contrib import QRDQN
from stable_baselines3 import DQN
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from agents.brain import tensors_of
from agents.ppo import falling, linear_layers, quiet
from envs.actions import Mode


@dataclass(frozen=True)
class DQNSettings:
    """Settings of a run; each says what it does.

    Attributes:
        clusters: played at the same time.
        memory: decisions that are kept to learn from; a run that goes on begins with none.
        learning_starts: decisions before the first update.
        batch: decisions in a gradient step.
        gradient_steps: after each decision of all clusters.
        target_every: decisions between copies to the target network.
        learning_rate: at the start; falls in a straight line to 0.
        gamma: weight of the next interval's reward.
        exploration_ratio: part of the run in which the share of random decisions falls to `exploration_final`.
        exploration_final: see there.
        hidden: units of the two hidden layers.
        load_scale_low, load_scale_high: range of the factor on the load in training; wider is more robust.
        cold_starts_s: seconds with commas between them, in place of the scenario's load times: parts of the clusters each.
        metric_lags_s: likewise, of the time that a metric takes to be seen.
        vary: other fields of the scenario with values in turn, by path: ``failures.load_cv=0/0.5,services.*.slo_s=0.5/0.75``.
        bursts_per_day: laid over the training load.
    """

    clusters: int = 16
    memory: int = 100_000
    learning_starts: int = 4_000
    batch: int = 256
    gradient_steps: int = 2
    target_every: int = 4_000
    learning_rate: float = 1e-3
    gamma: float = 0.8
    exploration_ratio: float = 0.3
    exploration_final: float = 0.03
    hidden: int = 64
    load_scale_low: float = 0.6
    load_scale_high: float = 1.6
    cold_starts_s: str = ""
    metric_lags_s: str = ""
    vary: str = ""
    bursts_per_day: float = 0.0

    action_mode: Mode = "absolute"


@dataclass(frozen=True)
class QRDQNSettings(DQNSettings):
    """The same, and the quantiles.

    Attributes:
        quantiles: of each return.
    """

    quantiles: int = 25


def make_dqn(settings: DQNSettings, environment: VecEnv, seed: int, tensorboard: str | None) -> BaseAlgorithm:
    """A new model: QR-DQN for settings with quantiles, else DQN."""
    network: dict = {"net_arch": [settings.hidden, settings.hidden]}
    algorithm: type[BaseAlgorithm] = DQN
    if isinstance(settings, QRDQNSettings):
        algorithm, network = QRDQN, {**network, "n_quantiles": settings.quantiles}
    model = algorithm(  # type: ignore[call-arg]  # those of both
        "MlpPolicy",
        environment,
        seed=seed,
        device="cpu",
        tensorboard_log=tensorboard,
        buffer_size=settings.memory,
        learning_starts=settings.learning_starts,
        batch_size=settings.batch,
        train_freq=1,
        gradient_steps=settings.gradient_steps,
        target_update_interval=settings.target_every,
        learning_rate=falling(settings.learning_rate),
        gamma=settings.gamma,
        exploration_fraction=settings.exploration_ratio,
        exploration_final_eps=settings.exploration_final,
        policy_kwargs=network,
    )
    quiet(model, tensorboard)
    return model


def dqn_tensors(model: BaseAlgorithm) -> dict[str, np.ndarray]:
    """The layers that give the expected return of each choice."""
    policy: Any = model.policy
    several = getattr(policy, "quantile_net", None)
    layers = linear_layers(several.quantile_net if several is not None else policy.q_net.q_net)
    if several is not None:  # the mean of the quantiles is linear in the last layer
        weight, bias = layers[-1]
        layers[-1] = (weight.reshape(several.n_quantiles, -1, weight.shape[1]).mean(0),
                      bias.reshape(several.n_quantiles, -1).mean(0))
    return tensors_of(layers)

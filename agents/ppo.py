"""PPO: how an agent is trained. The algorithm is Stable-Baselines3's; what is ours stands here.

    settings = PPOSettings(action_mode="absolute")
    model = make_ppo(settings, environment, seed=0)
    model.learn(1_000_000)

A rollout is `clusters * rollout_intervals` decisions. The network is small, since a decision has to be quick on one core.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import MultiDiscrete
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv

from agents.brain import Layers, tensors_of
from agents.choices import Choices
from envs.actions import Mode


@dataclass(frozen=True)
class PPOSettings:
    """Settings of a run; each says what it does.

    Attributes:
        action_mode: `absolute` learns all by itself; `delta` moves one level at a time; `residual` corrects a base policy.
        base: of `residual`: a name that `agents.registry` knows.
        teacher: of `absolute`: a name that `agents.registry` knows, to be imitated first; empty: from scratch.
        teacher_episodes: of each cluster, that the teacher is watched for.
        teacher_epochs: passes over what it did.
        clusters: played at the same time. More: steadier gradients and less overhead a decision, fewer updates.
        rollout_intervals: decisions of each cluster between updates.
        batches: parts of a rollout, a gradient step each. Few large ones suit one core.
        epochs: passes over a rollout. More: more learnt from each decision, further from the policy that made it.
        learning_rate: at the start; falls in a straight line to 0.
        gamma: weight of the next interval's reward. Decisions act within an interval or two: far below 1 learns faster.
        gae_lambda: how far advantages look ahead: lower trusts the value function more.
        clip: largest relative change of an action's probability in an update.
        entropy: bonus for trying things; too little, and the policy settles on one deployment for all loads.
        entropy_floor: nats of a decision; while the policy is surer, the bonus grows (`agents.entropy_floor`). 0: no floor.
        value_weight: of the value function's loss.
        hidden: units of the two hidden layers of policy and value function.
        load_scale_low, load_scale_high: range of the factor on the load in training; wider is more robust.
        cold_starts_s: seconds with commas between them, in place of the scenario's load times: parts of the clusters each.
        metric_lags_s: likewise, of the time that a metric takes to be seen.
        vary: other fields of the scenario with values in turn, by path: ``failures.load_cv=0/0.5,services.*.slo_s=0.5/0.75``.
        bursts_per_day: laid over the training load.
    """

    action_mode: Mode = "absolute"
    base: str = ""
    teacher: str = ""
    teacher_episodes: int = 8
    teacher_epochs: int = 15
    clusters: int = 64
    rollout_intervals: int = 60
    batches: int = 2
    epochs: int = 5
    learning_rate: float = 1e-3
    gamma: float = 0.8
    gae_lambda: float = 0.9
    clip: float = 0.2
    entropy: float = 0.002
    entropy_floor: float = 0.0
    value_weight: float = 0.5
    hidden: int = 64
    load_scale_low: float = 0.6
    load_scale_high: float = 1.6
    cold_starts_s: str = ""
    metric_lags_s: str = ""
    vary: str = ""
    bursts_per_day: float = 0.0


def make_ppo(settings: PPOSettings, environment: VecEnv, seed: int, tensorboard: str | None = None) -> PPO:
    """A new PPO model."""
    network = {"net_arch": [settings.hidden, settings.hidden], "activation_fn": torch.nn.Tanh}
    model = PPO("MlpPolicy", policy_kwargs=network, **ppo_arguments(settings, environment, seed, tensorboard))
    quiet(model, tensorboard)
    model.policy.action_dist = Choices(nvec_of(environment))
    begin_with(model, first_bias(settings.action_mode, nvec_of(environment)))
    return model


def ppo_arguments(settings: PPOSettings, environment: VecEnv, seed: int, tensorboard: str | None) -> dict[str, Any]:
    """What all of SB3's kinds of PPO take."""
    return {
        "env": environment,
        "seed": seed,
        "device": "cpu",
        "tensorboard_log": tensorboard,
        "n_steps": settings.rollout_intervals,
        "batch_size": settings.clusters * settings.rollout_intervals // settings.batches,
        "n_epochs": settings.epochs,
        "learning_rate": falling(settings.learning_rate),
        "gamma": settings.gamma,
        "gae_lambda": settings.gae_lambda,
        "clip_range": settings.clip,
        "ent_coef": settings.entropy,
        "vf_coef": settings.value_weight,
    }


def quiet(model: BaseAlgorithm, tensorboard: str | None) -> None:
    """Without TensorBoard nothing is logged: SB3's own logger leaves a folder in the temporary directory."""
    if tensorboard is None:
        model.set_logger(Logger(None, []))


def nvec_of(environment: VecEnv) -> list[int]:
    """Values of each entry of an action."""
    assert isinstance(environment.action_space, MultiDiscrete)
    return [int(n) for n in environment.action_space.nvec]


def first_bias(mode: Mode, nvec: Sequence[int]) -> torch.Tensor:
    """Logits at the start: steps mostly keep what is; levels are mostly 0, for a good deployment has few candidates on."""
    if mode != "absolute":
        return torch.tensor([0.0, KEEP_LOGIT, 0.0]).repeat(len(nvec))
    on = min(0.5, 1.5 / len(nvec))
    off = [math.log((n - 1) * (1 - on) / on) for n in nvec]
    return torch.cat([torch.cat([torch.tensor([logit]), torch.zeros(int(n) - 1)]) for logit, n in zip(off, nvec)])


KEEP_LOGIT = 4.0  # of "the same level": 96 % each


def falling(start: float) -> Callable[[float], float]:
    """A schedule from `start` to 0 in a straight line, by the progress that remains."""
    return lambda remaining: start * remaining


def layers_of(model: BaseAlgorithm) -> Layers:
    """Weights and biases of the policy's layers, float32 arrays; tanh after each but the last."""
    policy: Any = model.policy
    return linear_layers([*policy.mlp_extractor.policy_net, policy.action_net])


def ppo_tensors(model: BaseAlgorithm) -> dict[str, np.ndarray]:
    """The policy's layers by name, as `agents.brain.Brain` takes them."""
    return tensors_of(layers_of(model))


def linear_layers(modules: Iterable[torch.nn.Module]) -> Layers:
    """Weights and biases of those that are linear, float32 copies."""
    return [(module.weight.detach().numpy().copy(), module.bias.detach().numpy().copy())
            for module in modules if isinstance(module, torch.nn.Linear)]


def begin_with(model: BaseAlgorithm, bias: torch.Tensor, weight: float | None = None) -> None:
    """Sets the bias of the layer that gives the logits, and its weights too where a value is given."""
    output: Any = model.policy.action_net
    with torch.no_grad():
        output.bias.copy_(bias)
        if weight is not None:
            output.weight.fill_(weight)

"""The learners of `train.py --agent NAME`: for each its settings, how its model is made, and what of it is exported.

Nothing is imported until it is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv


@dataclass(frozen=True)
class Learner:
    """One way to learn from rewards.

    Attributes:
        module, settings, make, tensors: where its settings' class, the function that makes a model, and the function that
            gives its tensors (as `agents.brain.Brain` takes them) are.
        activation: between the exported layers.
        masked: whether actions that make no sense are masked.
        menu: whether it chooses among a menu of deployments (`agents.menu`).
    """

    module: str
    settings: str
    make: str
    tensors: str
    activation: str = "tanh"
    masked: bool = False
    menu: bool = False

    def settings_class(self) -> type:
        """The class of its settings, a dataclass."""
        found: type = self._named(f"{self.module}:{self.settings}")
        return found

    def model(self, settings: Any, environment: VecEnv, seed: int, tensorboard: str | None) -> BaseAlgorithm:
        """A new model."""
        make: Callable[..., BaseAlgorithm] = self._named(f"{self.module}:{self.make}")
        return make(settings, environment, seed, tensorboard)

    def exported(self, model: BaseAlgorithm) -> Mapping[str, np.ndarray]:
        """What decides, by name."""
        tensors: Callable[..., Mapping[str, np.ndarray]] = self._named(self.tensors)
        return tensors(model)

    def _named(self, path: str) -> Any:
        module, _, name = path.partition(":")
        return getattr(importlib.import_module(module), name)


LEARNERS = {
    "ppo": Learner("agents.ppo", "PPOSettings", "make_ppo", "agents.ppo:ppo_tensors"),
    "recurrent-ppo": Learner(
        "agents.recurrent_ppo", "RecurrentPPOSettings", "make_recurrent_ppo", "agents.recurrent_ppo:recurrent_tensors"
    ),
    "dqn": Learner("agents.dqn", "DQNSettings", "make_dqn", "agents.dqn:dqn_tensors", activation="relu", menu=True),
    "qr-dqn": Learner("agents.dqn", "QRDQNSettings", "make_dqn", "agents.dqn:dqn_tensors", activation="relu", menu=True),
    "residual": Learner("agents.residual", "ResidualSettings", "make_residual", "agents.ppo:ppo_tensors", masked=True),
}

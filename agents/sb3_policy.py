"""A model saved by Stable-Baselines3 as a policy: offline only, for loading it runs pickled code; live, export it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import stable_baselines3
from gymnasium.spaces import MultiDiscrete
from stable_baselines3.common.base_class import BaseAlgorithm

from envs.actions import Actions, Mode
from envs.contract import Decision, Observation, Policy
from envs.layout import HISTORY, Layout
from envs.routes import deployment_of
from envs.scenario import Scenario
from envs.view import view_of

ALGORITHMS = ("PPO", "A2C", "DQN")


class SB3Policy(Policy):
    """Decides as `model.predict(observation, deterministic=True)` does in `envs.serving_env.ServingEnv`.

    Args:
        path: the .zip.
        scenario: the problem; the model's spaces must be those of its environment, in mode ``absolute`` or ``delta``.

    Raises:
        ValueError: the file is not a model, or one with other spaces.
    """

    memory_intervals = HISTORY

    def __init__(self, path: Path, scenario: Scenario) -> None:
        self._model = _loaded(path)
        self._mode = _mode(self._model, scenario, path)

    def reset(self, scenario: Scenario) -> None:
        """Starts afresh on a scenario."""
        self._scenario, self._layout, self._actions = scenario, Layout(scenario), Actions(scenario, self._mode)
        self._history = self._layout.no_history()

    def decide(self, observation: Observation) -> Decision:
        """The model's action."""
        view = view_of(observation, self._scenario)
        self._history = self._layout.remember(self._history, view)
        action, _ = self._model.predict(self._layout.encode(view, self._history), deterministic=True)
        levels, _ = self._actions.levels(np.asarray(action)[None], view.levels[None])
        shares = self._actions.shares(levels, view.service_rps[None])
        return Decision(deployment_of(self._scenario, levels[0], shares[0]), f"action {np.asarray(action).tolist()}")


def _loaded(path: Path) -> BaseAlgorithm:
    """The model, whichever algorithm it is of."""
    problems = []
    for name in ALGORITHMS:
        try:
            model: BaseAlgorithm = getattr(stable_baselines3, name).load(path, device="cpu")
            return model
        except Exception as error:  # SB3 raises whatever unpickling and building the networks raise
            problems.append(f"{name}: {error}")
    raise ValueError(f"{path}: not a model of {', '.join(ALGORITHMS)} ({problems[0]})")


def _mode(model: BaseAlgorithm, scenario: Scenario, path: Path) -> Mode:
    """The action mode whose spaces the model has."""
    modes: tuple[Mode, ...] = ("absolute", "delta")
    seen = getattr(model.observation_space, "shape", None)
    for mode in modes:
        space = Actions(scenario, mode).space
        if seen == (Layout(scenario).size,) and isinstance(model.action_space, MultiDiscrete) and model.action_space == space:
            return mode
    raise ValueError(f"{path}: its spaces {model.observation_space}, {model.action_space} are not those of '{scenario.name}'")

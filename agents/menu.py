"""A menu of deployments, for learners that choose one of a few actions rather than a level for each candidate."""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Discrete
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from baselines.ladder import ladder_of
from envs.scenario import Scenario

MOST = 48


def menu_of(scenario: Scenario, most: int = MOST) -> np.ndarray:
    """(R, C) levels: the initial deployment, and the planner's best ones for rising loads (`baselines.ladder`).

    Raises:
        ValueError: several services, or a candidate that hosts several variants.
    """
    initial = scenario.levels(scenario.initial_deployment)
    rungs = dict.fromkeys([initial, *map(tuple, ladder_of(scenario, most).levels.tolist())])
    return np.array(list(rungs), np.int64)


class MenuVecEnv(VecEnvWrapper):
    """An environment of levels as one of choices: the i-th action is the menu's i-th deployment.

    Args:
        venv: with actions (N, C) of mode ``absolute``.
        menu: (R, C).
    """

    def __init__(self, venv: VecEnv, menu: np.ndarray) -> None:
        super().__init__(venv, action_space=Discrete(len(menu)))
        self.menu = menu

    def reset(self) -> np.ndarray:
        """Starts episodes."""
        return np.asarray(self.venv.reset())

    def step_async(self, actions: np.ndarray) -> None:
        """Takes choices (N,)."""
        self.venv.step_async(self.menu[np.asarray(actions, np.int64)])

    def step_wait(self) -> VecEnvStepReturn:
        """Plays the interval."""
        return self.venv.step_wait()

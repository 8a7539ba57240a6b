"""Stable-Baselines3's `VecEnv` over the native vector environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from agents.family import Family
from envs.vector_env import ServingVectorEnv


class ServingVecEnv(VecEnv):
    """What SB3 trains on: 4-tuples, ``terminal_observation``, ``TimeLimit.truncated``, ``episode`` as its Monitor gives it.

    SB3 stores the last observation after the next step, so that one array for all steps would be overwritten too early: two
    arrays take turns. Info dicts are made anew only where an episode ends.

    Args:
        envs: the native environment, or a family of them.
    """

    def __init__(self, envs: ServingVectorEnv | Family) -> None:
        self.envs = envs
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)
        self._buffers = [np.zeros((self.num_envs, envs.process.layout.size), np.float32) for _ in range(2)]
        self._turn = 0
        self._none: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]

    def reset(self) -> np.ndarray:
        """Starts the first episodes of the seeds given to `seed`, else the next ones."""
        seeds = self._seeds if any(seed is not None for seed in self._seeds) else None
        observations, _ = self.envs.reset(seed=seeds, options=self._options[0])
        self._reset_seeds()
        self._reset_options()
        self._return, self._length = np.zeros(self.num_envs), 0
        return self._kept(observations)

    def step_async(self, actions: np.ndarray) -> None:
        """Keeps the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Plays the interval."""
        observations, rewards, _, truncated, infos = self.envs.step(self._actions)
        self._return += rewards
        self._length += 1
        told = self._none
        if truncated.any():
            told = [
                {
                    "terminal_observation": infos["final_obs"][e],
                    "TimeLimit.truncated": True,
                    "episode": {"r": float(self._return[e]), "l": self._length, "t": 0.0},
                }
                for e in range(self.num_envs)
            ]
            self._return, self._length = np.zeros(self.num_envs), 0
        return self._kept(observations), rewards.astype(np.float32), truncated, told

    def close(self) -> None:
        """Frees the environment."""
        self.envs.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """A frame of each cluster."""
        return self.envs.render() or [None] * self.num_envs

    def has_attr(self, attr_name: str) -> bool:
        """Whether the native environment has it."""
        return hasattr(self.envs, attr_name)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of the native environment, once for each cluster asked for."""
        return [getattr(self.envs, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Sets an attribute of the native environment."""
        setattr(self.envs, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Calls a method of the native environment that answers for all clusters, such as `action_masks`."""
        answers = getattr(self.envs, method_name)(*method_args, **method_kwargs)
        return [answers[e] for e in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type, indices: VecEnvIndices = None) -> list[bool]:
        """The native environment has no wrappers."""
        return [False for _ in self._get_indices(indices)]

    def _kept(self, observations: np.ndarray) -> np.ndarray:
        """The observations in the array whose turn it is."""
        self._turn = 1 - self._turn
        self._buffers[self._turn][:] = observations
        return self._buffers[self._turn]

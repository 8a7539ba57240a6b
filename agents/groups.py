"""Group-relative rewards: clusters of a group meet the same requests, and each earns what it does better than the others.

How heavy the load is moves a reward far more than any decision does. Within a group it is the same, so the mean of the others,
which does not hang on one's own actions, is subtracted: an input-dependent baseline, without bias.

Source: Mao et al., "Variance Reduction for Reinforcement Learning in Input-Driven Environments", ICLR 2019.
"""

from __future__ import annotations

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn


class GroupedVecEnv(VecEnvWrapper):
    """Clusters in groups of `size`, side by side.

    Args:
        venv: whose number of clusters is a multiple of the size.
        size: 2 or more.

    Raises:
        ValueError: the clusters cannot be parted into such groups.
    """

    def __init__(self, venv: VecEnv, size: int) -> None:
        if size < 2 or venv.num_envs % size:
            raise ValueError(f"groups of {size}: give 2 or more, and clusters ({venv.num_envs}) that are a multiple of it")
        super().__init__(venv)
        self.size = size

    def seed(self, seed: int | None = None) -> list[int | None]:
        """One seed for each group: what a cluster meets follows from its seed alone."""
        first = int(np.random.randint(2**31 - self.num_envs)) if seed is None else seed
        self.venv.seed(first)
        self.venv._seeds = [first + e // self.size for e in range(self.num_envs)]
        return list(self.venv._seeds)

    def reset(self) -> np.ndarray:
        """Starts episodes."""
        return np.asarray(self.venv.reset())

    def step_wait(self) -> VecEnvStepReturn:
        """Plays the interval; each reward is relative to the mean of the others in its group."""
        observations, rewards, dones, infos = self.venv.step_wait()
        return observations, relative(rewards, self.size), dones, infos


def relative(rewards: np.ndarray, size: int) -> np.ndarray:
    """Rewards (N,) minus the mean of the others in each group of `size`, float32."""
    grouped = rewards.reshape(-1, size)
    others = (grouped.sum(1, keepdims=True) - grouped) / (size - 1)
    return (grouped - others).reshape(-1).astype(np.float32)

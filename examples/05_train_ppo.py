"""Training: PPO of Stable-Baselines3 on the Gymnasium environment, for a minute.

    python examples/05_train_ppo.py [STEPS]

So few steps show no more than that it learns. `python train.py --agent ppo` is the whole recipe: selection on held-out load,
checkpoints, export to a folder that `evaluate.py --policies` and `tidal autoscale --policy` take.
"""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv

from agents.vec_env import ServingVecEnv
from envs.vector_env import ServingVectorEnv


def mean_reward(model: PPO, clusters: VecEnv, episodes: int = 4) -> float:
    """Of a step, with actions as the network draws them, over all clusters."""
    clusters.seed(1000)
    observations, rewards = clusters.reset(), []
    for _ in range(episodes * 24):
        actions, _ = model.predict(observations)
        observations, reward, _, _ = clusters.step(actions)
        rewards.append(reward)
    return float(np.mean(rewards))


def main(steps: int = 50_000) -> None:
    """64 clusters in one kernel call; an action says how many replicas of each candidate there are to be."""
    torch.set_num_threads(1)  # such small networks are quicker so
    clusters = ServingVecEnv(ServingVectorEnv(64, scenario="live-demo"))
    model = PPO("MlpPolicy", clusters, n_steps=24, batch_size=512, n_epochs=5, learning_rate=1e-3, gamma=0.8,
                seed=0, device="cpu")  # fmt: skip
    print(f"untrained: reward {mean_reward(model, clusters):.3f}")
    model.learn(steps)
    print(f"after {model.num_timesteps} steps: reward {mean_reward(model, clusters):.3f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

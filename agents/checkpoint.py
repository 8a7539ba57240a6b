"""Checkpoints: all that a training run needs to go on where it stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from agents.vec_env import ServingVecEnv


def save(path: Path, model: BaseAlgorithm, environment: ServingVecEnv) -> None:
    """Writes weights, optimiser, counters, random states and the number of the next episode; never half a file.

    The schedule of the learning rate follows from the steps. Written between two episodes, a run that goes on from it is to
    the bit the run that was not interrupted.
    """
    kind, words, place, has_gauss, gauss = np.random.get_state(legacy=True)
    state = {
        "policy": model.policy.state_dict(),
        "optimizer": model.policy.optimizer.state_dict(),
        "steps": model.num_timesteps,
        "updates": model._n_updates,
        "episode": environment.envs.episode + (environment.envs.process.step_count > 0),
        "torch": torch.get_rng_state(),
        "numpy": (str(kind), torch.from_numpy(np.asarray(words).astype(np.int64)), int(place), int(has_gauss), float(gauss)),
    }
    scratch = path.with_name(path.name + ".part")
    torch.save(state, scratch)
    scratch.replace(path)


def restore(path: Path, model: BaseAlgorithm, environment: ServingVecEnv) -> None:
    """Puts a model and its environment where they were; `model.learn(..., reset_num_timesteps=False)` goes on.

    Raises:
        ValueError: the file is not a checkpoint of such a model.
    """
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
        model.policy.load_state_dict(state["policy"])
        model.policy.optimizer.load_state_dict(state["optimizer"])
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: not a checkpoint of this run ({str(error).splitlines()[0]})") from error
    model.num_timesteps, model._n_updates = state["steps"], state["updates"]
    environment.set_options({"episode": state["episode"]})
    torch.set_rng_state(state["torch"])
    kind, words, *rest = state["numpy"]
    np.random.set_state((kind, words.numpy().astype(np.uint32), *rest))

"""Clusters of several scenarios that differ in numbers only (cold starts, lags), side by side as one vector environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from envs.actions import Mode
from envs.contract import Policy
from envs.decision_process import DecisionProcess
from envs.scenario import Scenario
from envs.vector_env import ServingVectorEnv
from traces.load import Load


class Family:
    """What `agents.vec_env.ServingVecEnv` and `agents.selection` need of `ServingVectorEnv`, for several of them.

    Args:
        scenarios: with the same observations and actions, and episodes of one length.
        count: clusters in all, a multiple of the scenarios; those of one scenario are neighbours.
        loads, action_mode, base_policy, load_scale: as of `ServingVectorEnv`.

    Raises:
        ValueError: the clusters cannot be shared out evenly.
    """

    render_mode: str | None = None  # SB3 asks for it

    def __init__(
        self,
        scenarios: Sequence[Scenario],
        count: int,
        *,
        loads: Mapping[str, Load],
        action_mode: Mode = "absolute",
        base_policy: Policy | None = None,
        load_scale: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        if count % len(scenarios):
            raise ValueError(f"{count} clusters for {len(scenarios)} members of the family: give a multiple")
        self._each = count // len(scenarios)
        self._members = [ServingVectorEnv(self._each, scenario=scenario, loads=loads, action_mode=action_mode,
                                          base_policy=base_policy, load_scale=load_scale) for scenario in scenarios]
        self.num_envs = count
        first = self._members[0]
        self.single_observation_space, self.single_action_space = first.single_observation_space, first.single_action_space

    @property
    def process(self) -> DecisionProcess:
        """That of the first member: all are at the same interval of the same episode."""
        return self._members[0].process

    @property
    def episode(self) -> int:
        """Number of the episode being played, from 0."""
        return self._members[0].episode

    def reset(self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
              ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts episodes; with one seed for all, each cluster's is that seed plus its index."""
        seeds = [seed + e for e in range(self.num_envs)] if isinstance(seed, int) else seed
        found = [member.reset(seed=None if seeds is None else seeds[i * self._each : (i + 1) * self._each], options=options)[0]
                 for i, member in enumerate(self._members)]
        return np.concatenate(found), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One interval of all clusters."""
        parts = [member.step(rows) for member, rows in zip(self._members, np.split(np.asarray(actions), len(self._members)))]
        seen, rewards, terminated, truncated = (np.concatenate([part[i] for part in parts]) for i in range(4))
        return seen, rewards, terminated, truncated, _together([part[4] for part in parts])

    def action_masks(self) -> np.ndarray:
        """(N, sum of nvec), as of `ServingVectorEnv`."""
        return np.concatenate([member.action_masks() for member in self._members])

    def render(self) -> None:
        """Nothing is drawn."""

    def close(self) -> None:
        """Frees all."""
        for member in self._members:
            member.close()


def _together(infos: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Infos of all members as those of one environment; final infos too."""
    return {name: _together([info[name] for info in infos]) if isinstance(value, Mapping)
            else np.concatenate([info[name] for info in infos]) for name, value in infos[0].items()}

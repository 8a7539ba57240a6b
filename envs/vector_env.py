"""The native vector environment: N clusters, one kernel call a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from envs.actions import Mode
from envs.contract import Policy
from envs.decision_process import DecisionProcess
from envs.render import StripChart
from envs.scenario import Scenario
from traces.load import Load


class ServingVectorEnv(VectorEnv):
    """N clusters at the same time; `ServingEnv` documents observations, actions, rewards and arguments.

    All clusters are at the same interval of their episodes and end together, so autoreset (in the same step: the observation
    returned is the next episode's first, the last one is in ``infos["final_obs"]``, its infos in ``infos["final_info"]``)
    starts all of them. What happens in a cluster follows from (seed, its index, the number of its episode) alone: with equal
    actions the first n of N clusters are, to the bit, those of an environment of n.

    Args:
        num_envs: N.
        max_episode_steps: what `gymnasium.make_vec` passes on; None, or the scenario's ``episode_intervals``.
        scenario, action_mode, base_policy, loads, load_scale, render_mode: see `ServingEnv`.

    Raises:
        ValueError: an argument is out of range, or does not fit the others; the text says what to give.
    """

    metadata = {"render_modes": ["rgb_array", "ansi"], "render_fps": 10, "autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(
        self,
        num_envs: int = 1,
        *,
        scenario: str | Path | Scenario = "resnet-variants",
        action_mode: Mode = "absolute",
        base_policy: Policy | None = None,
        loads: Mapping[str, Load] | None = None,
        load_scale: tuple[float, float] = (1.0, 1.0),
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs {num_envs}: give 1 or more")
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ValueError(f"render_mode '{render_mode}': give one of {', '.join(self.metadata['render_modes'])}, or None")
        self.process = DecisionProcess(scenario, num_envs, action_mode, base_policy, loads, load_scale)
        intervals = self.process.scenario.episode_intervals
        if max_episode_steps not in (None, intervals):
            raise ValueError(
                f"max_episode_steps {max_episode_steps}: an episode has {intervals}; change the scenario's episode_intervals"
            )
        self.num_envs, self.render_mode = num_envs, render_mode
        self.single_observation_space = Box(0.0, 1.0, (self.process.layout.size,), np.float32)
        self.single_action_space = self.process.actions.space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._charts = [StripChart(self.process.scenario) for _ in range(num_envs)] if render_mode else []
        self._all = np.ones(num_envs, bool)
        self._seeds: list[tuple[int, int]] | None = None  # of each cluster: seed, index
        self._episode = 0

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts the first episodes of a seed; without a seed, the next episodes of the seed in use.

        Args:
            seed: one for all clusters, or a list of one each: cluster i is then an environment of one cluster on seed[i].
            options: ``{"episode": n}`` begins with the n-th episode, from 0, to go on where one stopped.
        """
        if seed is not None or self._seeds is None:
            self._seeds, self._episode = self._keys(seed), 0
        else:
            self._episode += 1
        self._episode = int((options or {}).get("episode", self._episode))
        return self._begin()

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One interval of all clusters; actions (N, candidates)."""
        process = self.process
        rewards, terms = process.step(np.asarray(actions))
        infos: dict[str, Any] = self._with_masks(terms)
        for e, chart in enumerate(self._charts):
            chart.add(process.clusters, e)
        done = process.done
        if done:
            final = np.empty(self.num_envs, object)
            final[:] = list(process.observation)
            self._episode += 1
            _, fresh = self._begin()
            last = {"final_obs": final, "_final_obs": self._all, "final_info": infos, "_final_info": self._all}
            infos = {**last, **fresh}
        return (process.observation, rewards, np.zeros(self.num_envs, bool), np.full(self.num_envs, done), infos)

    @property
    def episode(self) -> int:
        """Number of the episode being played, from 0."""
        return self._episode

    def action_masks(self) -> np.ndarray:
        """Which values of the next actions make sense, bool (N, sum of nvec): candidate by candidate, value by value."""
        return self.process.masks()

    def observation_names(self) -> tuple[str, ...]:
        """What each entry of an observation is."""
        return self.process.layout.names

    def render(self) -> tuple[Any, ...] | None:
        """A frame of each cluster: (height, width, 3) uint8, or a line of text."""
        if self.render_mode is None:
            return None
        return tuple(chart.text() if self.render_mode == "ansi" else chart.pixels() for chart in self._charts)

    def close_extras(self, **kwargs: Any) -> None:
        """Frees the figures."""
        for chart in self._charts:
            chart.close()

    def _begin(self) -> tuple[np.ndarray, dict[str, Any]]:
        assert self._seeds is not None
        infos = self.process.begin([(seed, index, self._episode) for seed, index in self._seeds])
        for chart in self._charts:
            chart.clear()
        return self.process.observation, self._with_masks(infos)

    def _keys(self, seed: int | Sequence[int | None] | None) -> list[tuple[int, int]]:
        if isinstance(seed, (int, np.integer)) or seed is None:
            chosen = int(np.random.default_rng().integers(2**31)) if seed is None else int(seed)
            return [(chosen, index) for index in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise ValueError(f"{len(seed)} seeds for {self.num_envs} clusters: give one each, or one number for all")
        return [(int(np.random.default_rng().integers(2**31)) if one is None else int(one), 0) for one in seed]

    def _with_masks(self, infos: dict[str, np.ndarray]) -> dict[str, Any]:
        """Gymnasium's form of vector infos: beside each array the clusters that it tells of, here all."""
        return {**infos, **{f"_{name}": self._all for name in infos}}

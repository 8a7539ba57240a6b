"""Which of the agents of a run is kept: the one with the best mean reward on windows of load that it was not trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from agents.brain import Brain, choose
from envs.actions import Mode
from envs.contract import Policy
from envs.scenario import Scenario
from envs.vector_env import ServingVectorEnv
from traces.load import RECORDED, Load, span_s

SEED = 2_000_000_000  # of the windows; no training run uses it by default


class Selection:
    """Plays agents on the same windows and seeds.

    Args:
        scenarios: the problem, or the members of a family, on each of which all windows are played.
        loads: by application, of time that is not trained on.
        windows: how many episodes.
        action_mode, base_policy: of the agents.
        masked: whether actions that make no sense are masked.
        menu: (R, C) of agents that choose among deployments; None: of agents that choose levels.
    """

    def __init__(
        self,
        scenarios: Sequence[Scenario],
        loads: Mapping[str, Load],
        windows: int,
        action_mode: Mode,
        base_policy: Policy | None = None,
        masked: bool = False,
        menu: np.ndarray | None = None,
    ) -> None:
        self._envs = [
            ServingVectorEnv(windows, scenario=scenario, loads=loads, action_mode=action_mode, base_policy=base_policy)
            for scenario in scenarios
        ]
        self._nvec = [int(n) for n in self._envs[0].process.actions.space.nvec] if menu is None else [len(menu)]
        self._masked, self._menu = masked, menu
        self._intervals = scenarios[0].episode_intervals

    def score(self, brain: Brain) -> dict[str, float]:
        """Means over all windows, intervals and scenarios: ``reward``, ``accuracy``, ``violation_ratio``, ``cost``."""
        rows = [row for envs in self._envs for row in self._played(envs, brain)]
        return dict(zip(("reward", "accuracy", "violation_ratio", "cost"), np.mean(rows, axis=0).tolist()))

    def _played(self, envs: ServingVectorEnv, brain: Brain) -> list[list[float]]:
        """Means over the windows, interval by interval."""
        observations, _ = envs.reset(seed=SEED)
        brain.reset()
        rows = []
        for _ in range(self._intervals):
            observations, rewards, _, _, infos = envs.step(self._actions(envs, brain.logits(observations)))
            shown = infos.get("final_info", infos)
            rows.append([rewards.mean(), *(shown[name].mean() for name in ("accuracy", "violation_ratio", "cost"))])
        return rows

    def _actions(self, envs: ServingVectorEnv, logits: np.ndarray) -> np.ndarray:
        """The most likely actions, (windows, candidates)."""
        chosen = choose(logits, self._nvec, envs.action_masks() if self._masked else None)
        return chosen if self._menu is None else self._menu[chosen[:, 0]]


def parted(loads: Mapping[str, Load], selection_ratio: float) -> tuple[dict[str, Load], dict[str, Load]]:
    """The loads' earlier part, to train on, and their last part, to select on."""
    training, selection = {}, {}
    for name, load in loads.items():
        cut_s = span_s(load) * (1 - selection_ratio)
        if load.model == RECORDED:
            times = load.recorded_s
            training[name] = load._replace(recorded_s=times[times < cut_s])
            selection[name] = load._replace(recorded_s=times[times >= cut_s] - cut_s)
        else:
            bins = round(cut_s / load.bin_s)
            training[name] = load._replace(rate_rps=load.rate_rps[:bins].copy())
            selection[name] = load._replace(rate_rps=load.rate_rps[bins:].copy())
    return training, selection

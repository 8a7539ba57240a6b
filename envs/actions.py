"""From an agent's action to levels of the candidates: absolute, a step from what is in force, or a correction to a base."""

from __future__ import annotations

from typing import Literal

import numpy as np
from gymnasium.spaces import MultiDiscrete

from envs.projection import project_levels, steps_of
from envs.routes import hosting_of, share_out
from envs.scenario import Scenario

Mode = Literal["absolute", "delta", "residual"]
MODES: tuple[Mode, ...] = ("absolute", "delta", "residual")


class Actions:
    """The actions of a scenario's agents.

    - ``absolute``: one number for each candidate, its level (its count, or its size's place + 1; 0: none).
    - ``delta``: for each candidate 0, 1 or 2: one level less than in force, the same, one more.
    - ``residual``: the same, from the levels that a base policy decides.

    Steps below 0 or above the highest level stay there. Levels beyond the budget are lowered by the envelope's rule.

    Attributes:
        space: `gymnasium.spaces.MultiDiscrete`, one entry a candidate.

    Raises:
        ValueError: an unknown mode.
    """

    def __init__(self, scenario: Scenario, mode: Mode) -> None:
        if mode not in MODES:
            raise ValueError(f"action mode '{mode}': give one of {', '.join(MODES)}")
        self.mode = mode
        self._steps, self._hosting = steps_of(scenario), hosting_of(scenario)
        self._levels = np.array([c.levels for c in scenario.candidates])
        self.space = MultiDiscrete(self._levels if mode == "absolute" else np.full(len(self._levels), 3))
        self._highest = np.array([max(self._alone(c)) for c in range(len(self._levels))])

    def levels(self, actions: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Feasible levels (N, C), and whether they had to be lowered (N,).

        Args:
            actions: (N, C).
            start: (N, C) levels in force, of the base policy in mode ``residual``.
        """
        wanted = np.asarray(actions, np.int64) if self.mode == "absolute" else start + np.asarray(actions, np.int64) - 1
        wanted = np.ascontiguousarray(np.clip(wanted, 0, self._levels - 1))
        return wanted, project_levels(self._steps, wanted)

    def shares(self, levels: np.ndarray, service_rps: np.ndarray) -> np.ndarray:
        """Routes (N, Z, C) for levels (N, C) and the services' offered loads (N, Z): see `envs.routes`."""
        return share_out(self._hosting, levels, service_rps)

    def masks(self, start: np.ndarray) -> np.ndarray:
        """Which values make sense, bool (N, sum of nvec).

        Out of the mask are levels that alone are beyond the budget, and steps out of the range of levels. Several
        candidates together may still be beyond the budget.
        """
        if self.mode == "absolute":
            row = np.concatenate([[level in self._alone(c) for level in range(n)] for c, n in enumerate(self._levels)])
            return np.tile(row, (len(start), 1))
        steps = np.stack([start > 0, np.ones_like(start, bool), start < self._highest], axis=-1)
        return steps.reshape(len(start), -1)

    def _alone(self, c: int) -> list[int]:
        """Levels of a candidate that are within the budget when nothing else is deployed."""
        row = np.zeros((self._levels[c], len(self._levels)), np.int64)
        row[:, c] = np.arange(self._levels[c])
        return [int(level) for level in np.flatnonzero(~project_levels(self._steps, row))]

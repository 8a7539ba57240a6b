"""A floor under the entropy of a policy that PPO trains: its bonus grows while the policy is surer than that.

A fixed bonus is too much at first or too little later: entropy collapses before the policy has learnt to look at its input.
"""

from __future__ import annotations

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

STEP = 1.5  # factor on the bonus after a rollout
LEAST = 1e-4  # bonus to grow from


def bonus_after(bonus: float, start: float, entropy: float, floor: float) -> float:
    """The next bonus: greater below the floor, back towards the start above it."""
    return STEP * max(bonus, LEAST) if entropy < floor else max(start, bonus / STEP)


class EntropyFloor(BaseCallback):
    """Watches rollouts.

    Args:
        floor: nats of a decision, all entries of the action together.
    """

    def __init__(self, floor: float) -> None:
        super().__init__()
        self.floor = floor

    def _on_training_start(self) -> None:
        self._start = float(self.model.ent_coef)  # type: ignore[attr-defined]  # every kind of PPO has it

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        entropy = -float(np.mean(self.model.rollout_buffer.log_probs))  # type: ignore[attr-defined]
        bonus = bonus_after(float(self.model.ent_coef), self._start, entropy, self.floor)  # type: ignore[attr-defined]
        self.model.ent_coef = bonus  # type: ignore[attr-defined]
        self.logger.record("train/entropy_bonus", bonus)

"""Several choices at once: SB3's distribution of a `MultiDiscrete` action, in one piece rather than choice by choice."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from stable_baselines3.common.distributions import MultiCategoricalDistribution

OUT = -1e9  # logit of a value that a choice does not have


class Choices(MultiCategoricalDistribution):
    """C independent choices, the c-th among nvec[c] values.

    Log-probabilities and entropies are SB3's. Samples are too, but from another sequence of random numbers.

    Args:
        nvec: values of each choice.
    """

    def __init__(self, nvec: Sequence[int]) -> None:
        super().__init__(list(nvec))
        self._has = torch.arange(max(nvec)) < torch.tensor(nvec)[:, None]  # (C, n), n the most values

    def proba_distribution(self, action_logits: torch.Tensor) -> Choices:
        """Takes logits (B, sum of nvec)."""
        logits = action_logits
        if not self._has.all():
            logits = action_logits.new_full((len(action_logits), self._has.numel()), OUT)
            logits[:, self._has.flatten()] = action_logits
        self._log_p = logits.view(-1, *self._has.shape).log_softmax(-1)  # (B, C, n)
        return self

    def log_prob(self, actions: torch.Tensor) -> torch.Tensor:
        """Of actions (B, C), as (B,)."""
        return self._log_p.gather(-1, actions.long()[..., None]).sum((-2, -1))

    def entropy(self) -> torch.Tensor:
        """(B,)."""
        return -(self._log_p.exp() * self._log_p).sum((-2, -1))

    def sample(self) -> torch.Tensor:
        """(B, C): the first to ring of exponential clocks, each with its probability as rate."""
        return (self._log_p - torch.empty_like(self._log_p).exponential_().log()).argmax(-1)

    def mode(self) -> torch.Tensor:
        """(B, C)."""
        return self._log_p.argmax(-1)

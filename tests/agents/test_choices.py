"""Several choices at once, against SB3's own distribution."""

import numpy as np
import pytest
import torch
from stable_baselines3.common.distributions import MultiCategoricalDistribution

from agents.choices import Choices

NVECS = ([3, 3, 3, 3], [2, 5, 1, 20])


@pytest.mark.parametrize("nvec", NVECS)
def test_log_probabilities_entropies_gradients_and_modes_are_those_of_sb3(nvec):
    torch.manual_seed(1)
    values = 3 * torch.randn(50, sum(nvec))
    actions = torch.stack([torch.randint(n, (50,)) for n in nvec], dim=1)
    found = []
    for kind in (Choices, MultiCategoricalDistribution):
        logits = values.clone().requires_grad_()
        choices = kind(nvec).proba_distribution(logits)
        log_prob, entropy = choices.log_prob(actions), choices.entropy()
        (log_prob.sum() + 0.3 * entropy.square().sum()).backward()
        found.append((log_prob.detach(), entropy.detach(), choices.mode(), logits.grad))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("nvec", NVECS)
def test_samples_come_with_their_probabilities(nvec):
    torch.manual_seed(2)
    logits, draws = torch.randn(1, sum(nvec)), 40_000
    sampled = Choices(nvec).proba_distribution(logits.expand(draws, -1)).sample().numpy()
    for c, part in enumerate(logits[0].split(nvec)):
        share = np.bincount(sampled[:, c], minlength=nvec[c]) / draws
        expected = part.softmax(-1).numpy()
        assert (np.abs(share - expected) < 5 * np.sqrt(expected / draws)).all()


def test_choices_are_independent():
    torch.manual_seed(3)
    sampled = Choices([2, 2]).proba_distribution(torch.zeros(40_000, 4)).sample().numpy()
    assert abs(np.corrcoef(sampled.T)[0, 1]) < 5 / np.sqrt(40_000)

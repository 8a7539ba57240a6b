"""Cuts into stages are the best there are, compared with all cuts."""

from itertools import combinations, pairwise

import numpy as np
import pytest

from runtime.models.model import ModelError
from runtime.models.partition import cut


def largest(costs, parts):
    return max(sum(costs[i] for i in part) for part in parts)


@pytest.mark.parametrize("seed", range(20))
def test_no_cut_has_a_smaller_largest_stage(seed):
    dice = np.random.default_rng(seed)
    costs = [float(c) for c in dice.integers(0, 20, dice.integers(1, 10))]
    for stages in range(1, len(costs) + 1):
        parts = cut(costs, stages, "m")
        assert [i for part in parts for i in part] == list(range(len(costs)))
        assert len(parts) == stages and all(parts)
        others = ([range(a, b) for a, b in pairwise((0, *inner, len(costs)))]
                  for inner in combinations(range(1, len(costs)), stages - 1))
        assert largest(costs, parts) == min(largest(costs, other) for other in others)


def test_more_stages_than_blocks():
    with pytest.raises(ModelError, match="m: 3 blocks cannot be cut into 4 stages; use inter_op 3 or less"):
        cut([1.0, 1.0, 1.0], 4, "m")

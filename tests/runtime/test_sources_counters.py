"""What counters counted between their samples."""

import numpy as np
import pytest

from runtime.sources.counters import HOLE_STEPS, gaps, increases, levels, present

N = np.nan


def test_a_counter_that_falls_began_again_at_zero():
    assert increases(np.array([[10.0, 14, 3, 5]])).tolist() == [4, 3, 2]


def test_what_was_counted_while_nobody_looked_is_spread_over_the_hole():
    assert increases(np.array([[0.0, N, N, 9, 10]])).tolist() == [3, 3, 3, 1]


def test_a_longer_hole_is_a_gap_and_never_zero():
    row = [0.0, 5, *[N] * HOLE_STEPS, 50, 51]
    found = increases(np.array([row]))
    assert found[0] == 5 and np.isnan(found[1:-1]).all() and found[-1] == 1
    assert np.isnan(increases(np.array([[N, N, 3.0, 4, N]]))[[0, 1, 3]]).all()


def test_a_counter_born_beside_others_began_at_zero_unless_it_says_more_than_the_busiest_step():
    old = [100.0, 120, 140, 160, 180]
    assert increases(np.array([old, [N, N, 7, 8, 9]])).tolist() == [20, 27, 21, 21]
    assert increases(np.array([old, [N, N, 5000, 5001, 5002]])).tolist() == [20, 20, 21, 21]


def test_the_sum_of_increases_is_what_the_counters_rose_by_whatever_is_missing():
    rng = np.random.default_rng(3)
    truth = np.cumsum(rng.integers(0, 50, (6, 400)), axis=1).astype(float)
    values = np.where(rng.random(truth.shape) < 0.2, N, truth)
    values[:, [0, -1]] = truth[:, [0, -1]]
    assert increases(values).sum() == pytest.approx((truth[:, -1] - truth[:, 0]).sum())


def test_levels_sum_what_is_there_and_replicas_do_not_flicker():
    assert levels(np.array([[1.0, 1, 1], [N, 1, 1]])).tolist() == [1.5, 2]
    assert np.isnan(levels(np.array([[N, N, 1.0]]))[0])
    assert present(np.array([[1.0, N, 2, N, N, N, N, N]])).tolist()[:3] == [1, 1, 1]
    assert gaps(np.array([True, True, False, True])).tolist() == [False, False, False]

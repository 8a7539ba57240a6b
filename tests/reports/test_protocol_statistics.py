"""The protocol's statistics against closed testing, scipy, a worked example, and cases whose answer is known."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from reports.protocol_statistics import Draws, holm
from reports.statistics import Bootstrap

RESAMPLES = 4000


def draws(windows, key=0, resamples=RESAMPLES):
    return Draws(windows, np.random.default_rng(key), resamples)


def test_holm_on_a_worked_example():
    """By hand: 0.005 x 4, 0.01 x 3, 0.03 x 2, and 0.04 x 1 is lifted to the one before it."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == []


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_closed_testing_with_bonferroni(seed):
    """Independently: a hypothesis' adjusted p is the greatest Bonferroni p of all intersections that hold it."""
    p = np.random.default_rng(seed).uniform(size=6) ** 3
    for i, found in enumerate(holm(p)):
        subsets = [s for n in range(1, 7) for s in combinations(range(6), n) if i in s]
        assert found == pytest.approx(max(min(1.0, len(s) * min(p[j] for j in s)) for s in subsets))


def test_what_was_not_tested_does_not_count():
    assert holm([0.01, float("nan"), 0.03]) == pytest.approx([0.02, float("nan"), 0.03], nan_ok=True)


def test_intervals_are_those_of_the_other_reports():
    values = np.random.default_rng(1).normal(size=20)
    ours = draws(20, resamples=20_000).mean(values[None]).estimate()
    other = Bootstrap(["t"] * 20, range(20), np.random.default_rng(2), resamples=20_000).estimate(values)
    assert (ours.value, ours.low, ours.high) == pytest.approx((other.value, other.low, other.high), abs=0.02)


@pytest.mark.parametrize("shift", [0.0, 0.3, 0.6, -0.4])
def test_the_p_value_is_students_for_normal_values(shift):
    values = np.random.default_rng(3).normal(shift, 1.0, size=25)
    wanted = stats.ttest_1samp(values, 0.0, alternative="greater").pvalue
    assert draws(25, resamples=40_000).mean(values[None]).p_above_zero() == pytest.approx(wanted, abs=0.004, rel=0.25)


@pytest.mark.parametrize("seed", range(8))
def test_a_claim_stands_where_the_interval_excludes_zero(seed):
    values = np.random.default_rng(seed).normal(0.45, 1.0, size=20)
    found = draws(20, key=seed).mean(values[None])
    if abs(found.p_above_zero() - 0.025) > 0.002:  # one draw more or less
        assert (found.p_above_zero() < 0.025) == (found.estimate().low > 0)


def test_differences_are_paired():
    """Windows differ by much, the policies by 0.1 on each: the difference has next to no spread."""
    windows = np.random.default_rng(4).normal(0.0, 10.0, size=(1, 12))
    shared = draws(12)
    gain = shared.mean(windows + 0.1) - shared.mean(windows)
    assert gain.estimate().low == pytest.approx(0.1) and gain.estimate().high == pytest.approx(0.1)
    assert gain.p_above_zero() < 0.005 and (gain * -1).p_above_zero() == 1.0
    assert (gain + (gain * -1)).value == pytest.approx(0.0)


def test_training_seeds_widen_the_interval_and_equal_ones_do_not():
    values = np.random.default_rng(5).normal(size=(1, 16))
    alone, same = draws(16).mean(values).estimate(), draws(16).mean(np.repeat(values, 5, 0)).estimate()
    apart = draws(16).mean(values + np.array([-2.0, -1.0, 0.0, 1.0, 2.0])[:, None]).estimate()
    assert (same.low, same.high) == pytest.approx((alone.low, alone.high))
    assert apart.value == pytest.approx(alone.value) and apart.high - apart.low > 1.5 * (alone.high - alone.low)
    half = stats.norm.ppf(0.975) * np.sqrt(2.0 / 5 + values.var() / 16)  # of independent draws of members and windows
    assert apart.high - apart.low == pytest.approx(2 * half, rel=0.15)


def test_a_share_of_a_gap():
    rng = np.random.default_rng(6)
    base, shared = rng.normal(0.5, 0.1, size=(1, 20)), draws(20)
    gap = np.abs(rng.normal(0.05, 0.01, size=(1, 20)))
    reference = shared.mean(base)
    closed = (shared.mean(base + 0.4 * gap) - reference).share_of(shared.mean(base + gap) - reference)
    assert (closed.value, closed.low, closed.high) == pytest.approx((0.4, 0.4, 0.4))
    none = (shared.mean(base + 0.01) - reference).share_of(shared.mean(base + rng.normal(0, 1, (1, 20))) - reference)
    assert np.isnan(none.value)


def test_too_few_windows_tell_nothing():
    found = draws(2).mean(np.array([[1.0, 2.0]]))
    assert found.value == 1.5 and np.isnan(found.estimate().low) and np.isnan(found.p_above_zero())
    with pytest.raises(ValueError, match="3 windows"):
        draws(3).mean(np.zeros((1, 2)))

"""Statistics against scipy, closed forms, and distributions whose mean is known."""

import numpy as np
import pytest
from scipy import stats

from reports.statistics import Bootstrap, expanded_tail, interquartile_mean, mean


def bootstrap(windows, seeds=1, traces=1, key=0, **options):
    strata = [f"trace {t}" for t in range(traces) for _ in range(windows * seeds)]
    clusters = [w for _ in range(traces) for w in range(windows) for _ in range(seeds)]
    return Bootstrap(strata, clusters, np.random.default_rng(key), **options)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 20, 101])
def test_the_interquartile_mean_is_the_trimmed_mean_of_scipy(count):
    values = np.random.default_rng(count).normal(size=(6, count))
    assert interquartile_mean(values) == pytest.approx(stats.trim_mean(values, 0.25, axis=-1), rel=1e-12)


def test_absent_values_are_left_out():
    values = np.array([1.0, np.nan, 2.0, 3.0, np.nan, 10.0, 4.0])
    assert interquartile_mean(values) == pytest.approx(stats.trim_mean([1, 2, 3, 10, 4], 0.25))
    assert mean(values) == pytest.approx(4.0)


def test_the_same_generator_gives_the_same_interval():
    values = np.random.default_rng(5).normal(size=12)
    assert bootstrap(12, key=3).estimate(values) == bootstrap(12, key=3).estimate(values)
    assert bootstrap(12, key=3).estimate(values) != bootstrap(12, key=4).estimate(values)


def test_the_spread_of_a_mean_equals_its_closed_form():
    """The bootstrap variance of a mean is var / n, so a wide sample's interval is mean -+ t * sd / sqrt(n - 1) * (...)."""
    values = np.random.default_rng(1).normal(size=400)
    found = bootstrap(400, resamples=20_000).estimate(values)
    half = stats.t.ppf(0.975, 399) * values.std(ddof=1) / np.sqrt(400)
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.06 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.06 * half)


def test_it_agrees_with_scipys_bootstrap_at_the_same_percentiles():
    values = np.random.default_rng(2).exponential(size=30)
    level = 1 - 2 * expanded_tail(30, 0.95)
    other = stats.bootstrap(
        (values,), np.mean, confidence_level=level, method="percentile", n_resamples=20_000, rng=np.random.default_rng(0)
    ).confidence_interval
    found = bootstrap(30, resamples=20_000).estimate(values)
    assert (found.low, found.high) == pytest.approx((other.low, other.high), abs=0.02)


@pytest.mark.parametrize(
    "draw, truth", [(lambda rng, n: rng.normal(2.0, 1.0, n), 2.0), (lambda rng, n: rng.uniform(0.0, 1.0, n), 0.5)]
)
def test_intervals_of_ten_windows_cover_the_true_mean(draw, truth):
    rng = np.random.default_rng(7)
    resampled = bootstrap(10)
    hits = 0
    for _ in range(1000):
        found = resampled.estimate(draw(rng, 10))
        hits += found.low <= truth <= found.high
    assert 0.925 <= hits / 1000 <= 0.97


def test_seeds_of_one_window_are_not_taken_for_independent_windows():
    """With a large spread between windows and five seeds each, only whole windows give honest coverage."""
    rng = np.random.default_rng(8)
    clustered, naive = bootstrap(8, seeds=5, resamples=800), bootstrap(40, resamples=800)
    hits = {"clustered": 0, "naive": 0}
    for _ in range(400):
        values = np.repeat(rng.normal(size=8), 5) + 0.1 * rng.normal(size=40)
        for name, resampled in (("clustered", clustered), ("naive", naive)):
            found = resampled.estimate(values)
            hits[name] += found.low <= 0.0 <= found.high
    assert hits["clustered"] / 400 >= 0.92
    assert hits["naive"] / 400 <= 0.75


def test_traces_keep_their_weight_in_every_draw():
    """Two traces of constant value: however often windows are drawn again, the mean stays."""
    found = bootstrap(5, traces=2).estimate(np.repeat([0.0, 1.0], 5))
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_one_window_falls_back_on_its_seeds_and_one_run_has_no_interval():
    found = bootstrap(1, seeds=5).estimate(np.arange(5.0))
    assert found.low < 2.0 < found.high
    alone = bootstrap(1).estimate(np.array([3.0]))
    assert alone.value == 3.0 and np.isnan(alone.low) and np.isnan(alone.high) and not alone.excludes_zero


def test_two_windows_tell_no_interval():
    found = bootstrap(2, seeds=4).estimate(np.arange(8.0))
    assert found.value == 3.5 and np.isnan(found.low) and np.isnan(found.high)


def test_pairing_removes_what_both_share():
    rng = np.random.default_rng(9)
    load = rng.normal(0.0, 1.0, 20)
    ours, theirs = load + 0.05 + rng.normal(0.0, 0.01, 20), load + rng.normal(0.0, 0.01, 20)
    resampled = bootstrap(20)
    difference = resampled.difference(ours, theirs)
    assert difference.excludes_zero and difference.value == pytest.approx(np.mean(ours - theirs))
    assert resampled.estimate(ours).high - resampled.estimate(ours).low > 10 * (difference.high - difference.low)


def test_probability_of_improvement_counts_pairs_and_half_of_ties():
    found = bootstrap(4).improvement(np.array([1.0, 2.0, 3.0, 0.0]), np.array([0.0, 2.0, 1.0, 5.0]))
    assert found.value == pytest.approx(2.5 / 4)
    normal = np.random.default_rng(3).normal(size=(2, 4000))
    expected = stats.norm.cdf(0.5 / np.sqrt(2))  # P(X + 0.5 > Y) for independent standard normals
    assert bootstrap(4000, resamples=200).improvement(normal[0] + 0.5, normal[1]).value == pytest.approx(expected, abs=0.02)


def test_uneven_windows_are_drawn_whole():
    resampled = Bootstrap(["a"] * 6, [0, 0, 0, 1, 1, 2], np.random.default_rng(0))
    found = resampled.estimate(np.array([1.0, 1.0, 1.0, 2.0, 2.0, 3.0]))
    assert found.value == pytest.approx(10 / 6) and found.low == 1.0 and found.high == 3.0


def test_a_wrong_number_of_values_is_named():
    with pytest.raises(ValueError, match="one value per run"):
        bootstrap(3).estimate(np.zeros(4))

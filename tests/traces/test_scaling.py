"""Scaling: requests are conserved, time is not stretched, and users of the same clock keep their days."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traces.scaling import (
    copy_weights,
    shift_s,
    superpose_arrivals,
    superpose_rates,
    weights_for_mean,
)

DAY_S = 86400.0


def _arrivals(n, span_s, seed=0):
    times = np.sort(np.random.default_rng(seed).uniform(0, span_s, n))
    return pd.DataFrame({"arrival_s": times, "input_tokens": np.arange(n, dtype=float)})


def test_weights():
    assert copy_weights(3.0) == [1.0, 1.0, 1.0]
    assert copy_weights(0.25) == [0.25]
    assert copy_weights(2.4) == pytest.approx([1.0, 1.0, 0.4])
    for scale in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="scale"):
            copy_weights(scale)


def test_weights_for_a_mean():
    assert weights_for_mean(lambda copy: [4.0, 2.0, 8.0][copy], 7.0) == [1.0, 1.0, 0.125]
    assert weights_for_mean(lambda copy: 4.0, 1.0) == [0.25]
    with pytest.raises(ValueError, match="do not reach"):
        weights_for_mean(lambda copy: 0.0, 1.0)
    with pytest.raises(ValueError, match="mean_rps"):
        weights_for_mean(lambda copy: 1.0, 0.0)


def test_copies_of_whole_days_keep_the_time_of_day_to_half_an_hour():
    for copy in range(1, 40):
        off = (shift_s(copy, 5 * DAY_S) + DAY_S / 2) % DAY_S - DAY_S / 2
        assert abs(off) <= 1800
    assert shift_s(0, 5 * DAY_S) == 0.0
    short = [shift_s(copy, 3600.0) for copy in range(8)]
    gaps = np.diff(np.sort([*short, short[0] + 3600.0]))
    assert gaps.max() < 3 * 3600.0 / 8  # spread over the span


@settings(max_examples=60)
@given(st.lists(st.integers(0, 500), min_size=2, max_size=80), st.floats(0.01, 12.0))
def test_rates_scale_their_total_exactly(counts, scale):
    rates = pd.DataFrame({"t_s": 10.0 * np.arange(len(counts)), "requests": np.array(counts, dtype=float)})
    scaled = superpose_rates(rates, copy_weights(scale))
    assert scaled["requests"].sum() == pytest.approx(scale * sum(counts), rel=1e-9, abs=1e-9)
    np.testing.assert_array_equal(scaled["t_s"], rates["t_s"])


def test_many_copies_are_added_up_as_one_by_one():
    rates = pd.DataFrame({"t_s": 10.0 * np.arange(50), "requests": np.arange(50.0)})
    weights = copy_weights(230.5)  # more copies than bins
    one_by_one = sum(w * np.roll(np.arange(50.0), round(shift_s(k, 500.0) / 10)) for k, w in enumerate(weights))
    np.testing.assert_allclose(superpose_rates(rates, weights)["requests"], one_by_one, rtol=1e-12)


@settings(max_examples=60)
@given(st.integers(0, 200), st.integers(1, 6), st.floats(1.0, 1e5), st.integers(0, 100))
def test_whole_copies_of_arrivals_keep_every_request(n, copies, span_s, seed):
    arrivals = _arrivals(n, span_s, seed)
    merged = superpose_arrivals(arrivals, copy_weights(float(copies)), span_s, np.random.default_rng(0))
    assert len(merged) == copies * n
    assert (np.diff(merged["arrival_s"]) >= 0).all()
    assert merged["arrival_s"].between(0, span_s, inclusive="left").all()
    # Each request comes once per copy, its columns with it, at its own time plus the copy's shift.
    for token, times in merged.groupby("input_tokens")["arrival_s"]:
        own = arrivals["arrival_s"].iloc[int(token)]
        expected = sorted((own + shift_s(copy, span_s)) % span_s for copy in range(copies))
        np.testing.assert_allclose(times.to_numpy(), expected, atol=1e-9 * span_s)


@settings(max_examples=30)
@given(st.floats(0.05, 0.95), st.integers(0, 1000))
def test_thinning_keeps_a_binomial_share_at_unchanged_times(keep, seed):
    arrivals = _arrivals(4000, 1000.0)
    thinned = superpose_arrivals(arrivals, [keep], 1000.0, np.random.default_rng(seed))
    assert len(thinned) == pytest.approx(4000 * keep, abs=5 * math.sqrt(4000 * keep * (1 - keep)))
    rows = thinned["input_tokens"].astype(int)
    assert rows.is_unique
    np.testing.assert_array_equal(thinned["arrival_s"], arrivals["arrival_s"].iloc[rows])


def test_superposing_averages_bursts_and_multiplying_keeps_them():
    rng = np.random.default_rng(1)
    counts = np.where(rng.random(4000) < 0.05, 100.0, 10.0)
    rates = pd.DataFrame({"t_s": 10.0 * np.arange(4000), "requests": counts})
    many = superpose_rates(rates, copy_weights(16.0))["requests"]
    cv = counts.std() / counts.mean()
    assert many.std() / many.mean() == pytest.approx(cv / 4, rel=0.15)  # independent users: 1 / sqrt(16)
    assert (16 * counts).std() / (16 * counts).mean() == pytest.approx(cv)


def test_arrivals_beyond_the_span_are_refused():
    with pytest.raises(ValueError, match="not before span_s"):
        superpose_arrivals(_arrivals(10, 100.0), [1.0], 50.0, np.random.default_rng(0))

"""The arrival samplers: equal in pieces and at once, and with the rates, variances and laws that their models prescribe."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from traces.samplers import (
    GAMMA,
    MMPP,
    POISSON,
    RECORDED,
    STREAM_FLOATS,
    STREAM_WORDS,
    WEIBULL,
    Stream,
    draw,
    fill,
    make_load,
    new_stream,
    span_s,
    start,
    weibull_shape,
)

RATES = np.array([5.0, 0.0, 40.0, 3.0, 0.0, 0.0, 120.0, 7.5])
STATES = [(0.0, 3.0), (1.0, 5.0), (6.0, 0.7)]


def _load(name, rates=RATES, bin_s=2.5):
    if name == "poisson":
        return make_load(POISSON, rates, bin_s)
    if name == "gamma":
        return make_load(GAMMA, rates, bin_s, cv=3.0)
    if name == "smooth":
        return make_load(GAMMA, rates, bin_s, cv=0.4)
    if name == "weibull":
        return make_load(WEIBULL, rates, bin_s, cv=2.0)
    if name == "mmpp":
        return make_load(MMPP, rates, bin_s, states=STATES)
    times = np.cumsum(np.random.default_rng(3).exponential(0.05, 400))
    return make_load(RECORDED, recorded_s=np.concatenate([times[:200], times[199:]]))  # with a tie


MODELS = ["poisson", "gamma", "smooth", "weibull", "mmpp", "recorded"]


def _in_pieces(load, seed, offset_s, scale, borders, capacity):
    stream, out, parts = new_stream(), np.empty(capacity), []
    start(load, stream, seed, offset_s, scale)
    for border in borders:
        while True:
            n = fill(load, stream, border, out)
            assert (out[:n] < border).all()
            parts.append(out[:n].copy())
            if n < capacity:
                break
    return np.concatenate(parts)


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=60)
@given(data=st.data())
def test_any_partition_of_time_gives_the_same_arrivals(model, data):
    load = _load(model)
    seed = data.draw(st.integers(0, 2**63 - 1))
    offset_s = data.draw(st.floats(0.0, 25.0))
    scale = 1.0 if model == "recorded" else data.draw(st.floats(0.0, 20.0))
    capacity = data.draw(st.integers(1, 50))
    borders = sorted(data.draw(st.lists(st.floats(0.0, 25.0), max_size=12)))
    pieces = _in_pieces(load, seed, offset_s, scale, [*borders, 30.0], capacity)
    whole = draw(load, seed, offset_s, 30.0, scale)
    np.testing.assert_array_equal(pieces, whole)
    assert (np.diff(whole) >= 0).all()
    assert (whole >= 0).all() and (whole < max(span_s(load) - offset_s, 0) + 1e-9).all()


@pytest.mark.parametrize("model", ["poisson", "gamma", "smooth", "weibull", "mmpp"])
def test_no_arrival_falls_into_an_empty_bin(model):
    times = draw(_load(model), 5, scale=100.0)
    bins = np.minimum((times / 2.5).astype(int), 7)
    inside = np.abs(times / 2.5 - np.round(times / 2.5)) > 1e-9
    assert set(bins[inside]) <= {0, 2, 3, 6, 7}


@pytest.mark.parametrize("model", ["poisson", "gamma", "smooth", "weibull", "mmpp"])
def test_expected_count_is_the_integral_of_the_rate_from_any_offset(model):
    load, offset_s, length_s = _load(model), 1.5, 14.6
    edges = np.clip(np.arange(9) * 2.5, offset_s, offset_s + length_s)
    expected = RATES @ np.diff(edges)
    counts = np.array([draw(load, seed, offset_s, length_s).size for seed in range(3000)])
    assert counts.mean() == pytest.approx(expected, abs=4.5 * counts.std() / math.sqrt(counts.size))


def test_poisson_gaps_and_counts_follow_the_poisson_law():
    times = draw(make_load(POISSON, np.full(1000, 100.0), 1.0), 1)
    assert stats.kstest(np.diff(times), stats.expon(scale=0.01).cdf).pvalue > 1e-3
    counts = np.histogram(times, np.arange(1001.0))[0]
    assert counts.var() / counts.mean() == pytest.approx(1.0, abs=4.5 * math.sqrt(2 / 1000))


@pytest.mark.parametrize("cv", [0.3, 1.0, 4.0])
def test_gamma_gaps_follow_the_gamma_law_through_a_changing_rate(cv):
    rates = 100.0 * (1.5 + np.sin(np.arange(4000) / 7.0))
    times = draw(make_load(GAMMA, rates, 0.25, cv=cv), 2)
    mapped = np.interp(times, np.arange(4001) * 0.25, np.concatenate([[0.0], np.cumsum(rates * 0.25)]))
    gaps = np.diff(mapped)
    # Times are rounded to 1e-13 s or so, hence gaps below 1e-8 cannot be told apart.
    big = gaps[gaps > 1e-8]
    law = stats.gamma(cv**-2, scale=cv**2)
    assert big.size / gaps.size == pytest.approx(law.sf(1e-8), abs=0.01)
    assert stats.kstest(big, lambda x: (law.cdf(x) - law.cdf(1e-8)) / law.sf(1e-8)).pvalue > 1e-3


@pytest.mark.parametrize("cv", [0.5, 1.0, 3.0])
def test_weibull_gaps_have_the_cv_asked_for(cv):
    shape = weibull_shape(cv)
    law = stats.weibull_min(shape)
    assert law.std() / law.mean() == pytest.approx(cv, rel=1e-9)
    gaps = np.diff(draw(make_load(WEIBULL, np.full(1000, 200.0), 1.0, cv=cv), 3))
    assert stats.kstest(gaps, stats.weibull_min(shape, scale=0.005 / law.mean()).cdf).pvalue > 1e-3


def test_renewal_counts_have_the_index_of_dispersion_of_their_gaps():
    # Var N(t) / E N(t) tends to cv^2 for a renewal process (Cox and Lewis 1966).
    times = draw(make_load(GAMMA, np.full(20_000, 50.0), 10.0, cv=3.0), 4)
    counts = np.histogram(times, np.arange(0.0, 200_001.0, 200.0))[0]
    assert counts.var() / counts.mean() == pytest.approx(9.0, rel=0.2)


def test_mmpp_index_of_dispersion_matches_the_closed_form():
    # Two states: IDC(inf) = 1 + 2 p1 p2 (m1 - m2)^2 rate / (1/d1 + 1/d2) for m of mean 1 (Fischer 1993).
    d1, d2, rate = 4.0, 12.0, 30.0
    p1, p2 = d1 / (d1 + d2), d2 / (d1 + d2)
    m1, m2 = 3.0, (1 - 3.0 * p1) / p2
    expected = 1 + 2 * p1 * p2 * (m1 - m2) ** 2 * rate / (1 / d1 + 1 / d2)
    times = draw(make_load(MMPP, np.full(4000, rate), 100.0, states=[(m1, d1), (m2, d2)]), 5)
    counts = np.histogram(times, np.arange(0.0, 400_001.0, 400.0))[0]
    # Over a window of t the closed form loses about tau / t, here 3 s / 400 s.
    assert counts.var() / counts.mean() == pytest.approx(expected, rel=0.15)
    assert times.size == pytest.approx(rate * 400_000, rel=0.02)


def test_mmpp_visits_states_in_proportion_to_their_durations():
    load = make_load(MMPP, np.full(10, 1000.0), 1000.0, states=[(0.0, 3.0), (1.0, 5.0), (6.0, 2.0)])
    counts = np.histogram(draw(load, 6), np.arange(0.0, 10_000.5, 0.1))[0]
    mean = (5.0 + 12.0) / 10.0  # multipliers are rescaled by this to keep the mean rate
    quiet, low, high = counts < 10, (counts >= 40) & (counts < 90), counts > 300
    assert quiet.mean() == pytest.approx(0.3, abs=0.04)
    assert low.mean() == pytest.approx(0.5, abs=0.06)
    assert high.mean() == pytest.approx(0.2, abs=0.04)
    assert counts[high].mean() == pytest.approx(100 * 6 / mean, rel=0.05)


def test_scale_multiplies_the_rate():
    load = make_load(POISSON, np.full(100, 10.0), 10.0)
    assert draw(load, 7, scale=3.0).size == pytest.approx(30_000, abs=4.5 * math.sqrt(30_000))
    assert draw(load, 7, scale=0.0).size == 0


def test_recorded_times_come_back_exactly():
    times = np.array([0.0, 0.5, 0.5, 2.0, 9.25])
    load = make_load(RECORDED, recorded_s=times)
    np.testing.assert_array_equal(draw(load, 0), times)
    np.testing.assert_array_equal(draw(load, 0, offset_s=0.5, length_s=2.0), [0.0, 0.0, 1.5])
    with pytest.raises(ValueError, match="scale 1"):
        draw(load, 0, scale=0.5)


def test_seeds_and_streams_are_independent():
    load = make_load(POISSON, np.full(200, 100.0), 1.0)
    counts = np.array([np.histogram(draw(load, s), np.arange(201.0))[0] for s in (0, 1, 2, 2**40)])
    corr = np.corrcoef(counts)
    assert np.abs(corr[~np.eye(4, dtype=bool)]).max() < 0.3
    assert not np.array_equal(draw(load, 0), draw(load, 1))


def test_rows_of_a_matrix_serve_as_streams_and_a_copy_is_a_snapshot():
    load = _load("gamma")
    f, u = np.zeros((3, STREAM_FLOATS)), np.zeros((3, STREAM_WORDS), dtype=np.uint64)
    out = np.empty(4000)
    for i in range(3):
        start(load, Stream(f[i], u[i]), i, 0.0, 1.0)
    for i in range(3):
        fill(load, Stream(f[i], u[i]), 6.0, out)
    saved = Stream(f[1].copy(), u[1].copy())
    n = fill(load, Stream(f[1], u[1]), 20.0, out)
    first = out[:n].copy()
    m = fill(load, saved, 20.0, out)
    np.testing.assert_array_equal(first, out[:m])
    whole = draw(load, 1)
    np.testing.assert_array_equal(whole[whole >= 6.0], first)


def test_beyond_the_end_nothing_comes():
    load = _load("poisson")
    for offset_s in (20.0, 1e9):
        assert draw(load, 0, offset_s=offset_s).size == 0
    stream, out = new_stream(), np.empty(1)
    start(load, stream, 0, 20.0, 1.0)
    assert fill(load, stream, math.inf, out) == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"model": 9, "rate_rps": [1.0]}, "unknown"),
        ({"model": POISSON}, "rate_rps"),
        ({"model": RECORDED, "rate_rps": [1.0]}, "recorded_s"),
        ({"model": POISSON, "rate_rps": [1.0], "cv": 2.0}, "cv belongs"),
        ({"model": POISSON, "rate_rps": [-1.0]}, "not negative"),
        ({"model": POISSON, "rate_rps": [math.nan]}, "finite"),
        ({"model": POISSON, "rate_rps": [1.0], "bin_s": 0.0}, "bin_s"),
        ({"model": GAMMA, "rate_rps": [1.0], "cv": 0.0}, "cv"),
        ({"model": WEIBULL, "rate_rps": [1.0], "cv": 1e6}, "Weibull"),
        ({"model": MMPP, "rate_rps": [1.0]}, "states"),
        ({"model": MMPP, "rate_rps": [1.0], "states": [(0.0, 1.0), (0.0, 1.0)]}, "multiplier"),
        ({"model": RECORDED, "recorded_s": [2.0, 1.0]}, "sorted"),
    ],
)
def test_wrong_parts_are_refused(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        make_load(**arguments)


@pytest.mark.parametrize(("offset_s", "scale"), [(-1.0, 1.0), (math.nan, 1.0), (0.0, -1.0), (0.0, math.inf)])
def test_start_refuses_bad_offsets_and_scales(offset_s, scale):
    with pytest.raises(ValueError):
        start(_load("poisson"), new_stream(), 0, offset_s, scale)


@pytest.mark.parametrize(
    ("model", "more", "expected"),
    [
        (POISSON, {}, [0.6020047898064521, 0.9086357062010337, 1.8489568842900272, 2.0108507540212788]),
        (GAMMA, {"cv": 2.0}, [3.3276015061242497, 3.3329308482151188, 3.5294950534528913, 3.6751585267194233]),
        (WEIBULL, {"cv": 2.0}, [3.2812450356867484, 3.3279743186402597, 3.696391985372622, 3.710795245274661]),
        (MMPP, {"states": [(0.0, 1.0), (2.0, 1.0)]}, [0.30100239490322606, 0.45431785310051687, 0.9244784421450136]),
    ],
)
def test_a_seed_means_the_same_arrivals_in_every_version(model, more, expected):
    """Published results name seeds: a change of these values is a change of every experiment."""
    times = draw(make_load(model, np.array([2.0, 5.0]), 3.0, **more), 42)
    np.testing.assert_allclose(times[: len(expected)], expected, rtol=1e-12)

"""The draws against the distributions they claim, and against the published splitmix64 sequence."""

import numpy as np
import pytest
from numba import njit
from scipy import stats

from traces.draws import exponential, gamma, mix, normal, uniform

COUNT = 200_000


@njit
def _many(draw, word, out):
    for i in range(out.size):
        word, out[i] = draw(word)


@njit
def _many_gamma(shape, word, out):
    for i in range(out.size):
        word, out[i] = gamma(word, shape)


def test_splitmix64_matches_the_published_sequence():
    # First outputs of the reference C code by Vigna for seed 1234567.
    step, word = 0x9E3779B97F4A7C15, 1234567
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    for value in expected:
        word = (word + step) % 2**64
        assert int(mix(np.uint64(word))) == value


@pytest.mark.parametrize(
    ("draw", "distribution"), [(uniform, stats.uniform), (exponential, stats.expon), (normal, stats.norm)]
)
def test_draws_follow_their_distribution(draw, distribution):
    out = np.empty(COUNT)
    _many(draw, np.uint64(42), out)
    assert stats.kstest(out, distribution.cdf).pvalue > 1e-3


def test_exponential_tail_beyond_the_last_ziggurat_layer():
    out = np.empty(20_000_000)
    _many(exponential, np.uint64(5), out)
    beyond = out[out > 7.69711747013104972] - 7.69711747013104972  # memoryless: exponential again
    assert beyond.size == pytest.approx(out.size * np.exp(-7.69711747013104972), rel=0.05)
    assert stats.kstest(beyond, stats.expon.cdf).pvalue > 1e-3
    assert out.mean() == pytest.approx(1.0, abs=1e-3)
    assert out.var() == pytest.approx(1.0, abs=3e-3)


def test_normal_tails_beyond_the_last_ziggurat_layer():
    out = np.empty(20_000_000)
    _many(normal, np.uint64(6), out)
    tail = 3.6541528853610088
    for beyond in (out[out > tail], -out[out < -tail]):
        expected = out.size * stats.norm.sf(tail)
        assert beyond.size == pytest.approx(expected, abs=4.5 * np.sqrt(expected))
        assert stats.kstest(beyond, lambda x: 1 - stats.norm.sf(x) / stats.norm.sf(tail)).pvalue > 1e-3
    assert out.mean() == pytest.approx(0.0, abs=1e-3)
    assert out.var() == pytest.approx(1.0, abs=2e-3)


def test_the_whole_ziggurats_hold_to_a_fine_histogram():
    # Every layer's edge: a wrong table shows as a step in the density. 400 equally likely cells, chi-squared.
    for draw, law in ((exponential, stats.expon), (normal, stats.norm)):
        out = np.empty(4_000_000)
        _many(draw, np.uint64(77), out)
        counts = np.histogram(law.cdf(out), np.linspace(0, 1, 401))[0]
        assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("shape", [0.02, 0.25, 0.9, 1.0, 3.7, 120.0])
def test_gamma_follows_its_distribution(shape):
    out = np.empty(COUNT)
    _many_gamma(shape, np.uint64(9), out)
    assert stats.kstest(out, stats.gamma(shape).cdf).pvalue > 1e-3


def test_gamma_of_tiny_shape_keeps_its_moments():
    out = np.empty(4_000_000)
    _many_gamma(0.0063, np.uint64(11), out)  # CV 12.6
    assert out.mean() == pytest.approx(0.0063, rel=0.03)
    assert out.std() / out.mean() == pytest.approx(12.6, rel=0.03)

"""Generators against the numbers of calibration.json that they were fitted to, measured by its own definitions.

Tolerances are wider than the spread over seeds, and narrower than the differences between the traces.
"""

import json

import numpy as np
import pytest
from trace_statistics import (
    autocorrelation,
    bursts,
    daily_profile,
    index_of_dispersion,
    local_index_of_dispersion,
    log_residual,
)

from traces import azure_like, generators, servegen_like, twitter_like
from traces.errors import TraceError
from traces.generators import GENERATORS, generate
from traces.readers import bin_length_s
from traces.servegen_like import ARRIVAL_CV, SHARES, servegen_like_clients
from traces.splits import read_manifest, read_shared

DAY_S = 86400.0


def _counts_per_second(name, span_s, seed):
    rates = generate(name, span_s, seed)
    bin_s = bin_length_s(rates)
    rate_rps = np.repeat(rates["requests"].to_numpy() / bin_s, int(bin_s))
    return np.random.default_rng(seed + 1000).poisson(rate_rps)


def _in_bins(counts, seconds):
    return counts[: counts.size // seconds * seconds].reshape(-1, seconds).sum(axis=1)


@pytest.mark.parametrize("name", GENERATORS)
def test_rates_are_positive_repeatable_and_cover_the_span(name):
    first, again, other = generate(name, 5000.0, 3), generate(name, 5000.0, 3), generate(name, 5000.0, 4)
    assert (first["requests"] >= 0).all()
    assert first.equals(again)
    assert not first.equals(other)
    bin_s = bin_length_s(first)
    np.testing.assert_allclose(np.diff(first["t_s"]), bin_s)
    assert 5000.0 <= len(first) * bin_s < 5000.0 + bin_s


def test_unknown_names_and_empty_spans_are_refused():
    with pytest.raises(TraceError, match="twitter-like"):
        generate("facebook-like", 100.0, 0)
    with pytest.raises(ValueError, match="span_s"):
        generate("diurnal", 0.0, 0)


@pytest.mark.parametrize("seed", [1, 2])
def test_twitter_like_is_as_calibrated(seed):
    days = 16
    counts = _counts_per_second("twitter-like", days * DAY_S, seed)
    minutes = _in_bins(counts, 60)
    found = bursts(minutes)
    assert counts.mean() == pytest.approx(64.774, rel=0.03)
    assert len(found) / days == pytest.approx(12.6, rel=0.1)
    assert found["duration_s"].sum() / (days * DAY_S) == pytest.approx(0.0767, rel=0.15)
    np.testing.assert_allclose(found["duration_s"].quantile([0.5, 0.75, 0.9]), [540, 660, 900], rtol=0.15)
    np.testing.assert_allclose(found["peak_ratio"].quantile([0.1, 0.5, 0.75, 0.9]), [2.35, 4.19, 4.78, 5.07], rtol=0.12)
    assert found["time_to_peak_s"].median() == pytest.approx(180, abs=60)
    assert np.median(np.diff(found["start_s"])) == pytest.approx(7200, rel=0.1)
    residual = log_residual(minutes)
    assert residual.std() == pytest.approx(0.329, rel=0.08)
    assert autocorrelation(residual, 1) == pytest.approx(0.9212, abs=0.03)
    assert autocorrelation(residual, 5) == pytest.approx(0.4411, abs=0.12)
    assert autocorrelation(residual, 10) == pytest.approx(0.058, abs=0.12)
    assert index_of_dispersion(minutes) == pytest.approx(1444, rel=0.15)
    assert minutes.max() / minutes.mean() == pytest.approx(4.633, rel=0.12)
    levels = np.quantile(minutes / minutes.mean(), [0.05, 0.25, 0.5, 0.75, 0.99])
    np.testing.assert_allclose(levels, [0.658, 0.719, 0.8, 1.02, 3.71], rtol=0.08)
    # The daily curve, in the six-hour means that plateaus at odd times do not move: 0:00, 6:00, 12:00, 18:00 UTC.
    profile = daily_profile(minutes, knots=4)
    published = [0.9375, 1.3035, 0.9086, 0.8540]  # means of knots_48
    np.testing.assert_allclose(profile, published, atol=0.1)
    assert profile.argmax() == 1


@pytest.mark.parametrize("seed", [1, 2])
def test_azure_code_like_is_as_calibrated(seed):
    counts = _counts_per_second("azure-code-like", 48 * 3600.0, seed)
    minutes = _in_bins(counts, 60)
    assert counts.mean() == pytest.approx(2.9938, rel=0.02)
    assert (minutes == 0).mean() == pytest.approx(0.163, abs=0.01)
    np.testing.assert_allclose(np.quantile(minutes[minutes > 0], [0.1, 0.5, 0.9]), [36, 178, 434], rtol=0.2)
    for seconds, cv in {1: 2.085, 5: 1.772, 10: 1.53, 30: 1.155, 60: 0.9368}.items():
        part = _in_bins(counts, seconds)
        assert part.std() / part.mean() == pytest.approx(cv, rel=0.08)
    assert index_of_dispersion(minutes) == pytest.approx(157.6, rel=0.1)
    assert local_index_of_dispersion(counts) == pytest.approx(7.203, rel=0.35)
    five = _in_bins(counts, 300)
    assert five.std() / five.mean() == pytest.approx(0.1794, abs=0.09)


@pytest.mark.parametrize("seed", [1, 2])
def test_azure_conv_like_is_as_calibrated(seed):
    counts = _counts_per_second("azure-conv-like", 10 * DAY_S, seed)
    assert counts.mean() == pytest.approx(5.8875, rel=0.03)
    for seconds, cv in {1: 0.4719, 5: 0.2767, 10: 0.2358, 30: 0.2101, 60: 0.1992, 300: 0.1865}.items():
        part = _in_bins(counts, seconds)
        assert part.std() / part.mean() == pytest.approx(cv, rel=0.06)
    assert local_index_of_dispersion(counts) == pytest.approx(1.085, abs=0.1)


@pytest.mark.parametrize("seed", [1, 2])
def test_servegen_like_is_as_calibrated(seed):
    windows = generate("servegen-like", 20 * DAY_S, seed)["requests"].to_numpy().reshape(-1, 10).sum(axis=1)
    assert windows.mean() / 600 == pytest.approx(1131.2, rel=0.05)
    days = windows.reshape(-1, 144)
    profile = (days / days.mean(axis=1, keepdims=True)).reshape(-1, 48, 3).mean(axis=(0, 2))
    assert profile.max() / profile.min() == pytest.approx(2.535, rel=0.12)
    assert abs(profile.argmax() - 41) <= 2  # 20:45
    residual = np.log(days / days.mean(axis=1, keepdims=True) / np.repeat(profile, 3)).ravel()
    assert residual.std() == pytest.approx(0.1361, rel=0.15)
    assert autocorrelation(residual, 1) == pytest.approx(0.7709, abs=0.12)
    assert autocorrelation(residual, 5) == pytest.approx(0.5236, abs=0.15)
    superposed_iod = ARRIVAL_CV**2
    assert superposed_iod == pytest.approx(11.5, rel=0.01)


def test_servegen_like_clients_have_the_published_sizes():
    clients = servegen_like_clients(10 * DAY_S, np.random.default_rng(1))
    shares = clients.groupby("model")["requests"].sum().sort_index().to_numpy()
    shares = shares / shares.sum()
    np.testing.assert_allclose(shares[:10], SHARES[:10], rtol=0.3)
    assert np.sort(shares)[::-1][:10].sum() == pytest.approx(0.921, abs=0.02)  # top_share of 10
    whole = generate("servegen-like", 10 * DAY_S, 1)["requests"].to_numpy()
    np.testing.assert_allclose(clients.groupby("t_s")["requests"].sum().to_numpy(), whole)


def test_diurnal_has_office_hours_and_weekends():
    rates = np.mean([generate("diurnal", 28 * DAY_S, seed)["requests"].to_numpy() / 10 for seed in range(4)], axis=0)
    assert rates.mean() == pytest.approx(24, rel=0.05)
    profile = daily_profile(rates.reshape(-1, 6).mean(axis=1))
    assert profile.max() / profile.min() == pytest.approx(7.338, rel=0.12)
    assert abs(profile.argmax() - 39) <= 2 and abs(profile.argmin() - 19) <= 2  # 19:45 and 9:45
    sunday = rates.reshape(28, -1).mean(axis=1).reshape(4, 7)[:, 6].mean()
    assert sunday / rates.mean() == pytest.approx(0.46, abs=0.06)


def test_spike_comes_once_a_day_with_the_published_heights():
    peaks = np.concatenate(
        [generate("spike", 100 * DAY_S, seed)["requests"].to_numpy().reshape(100, -1).max(axis=1) / 2000 for seed in range(3)]
    )
    assert (peaks >= 1.9).all() and (peaks <= 20).all()
    assert (peaks > 2.7).mean() == pytest.approx(0.5, abs=5 * np.sqrt(0.25 / 300))
    assert (peaks > 5.4).mean() == pytest.approx(0.1, abs=5 * np.sqrt(0.09 / 300))
    hour = generate("spike", 3600.0, 0)["requests"].to_numpy() / 2000
    assert hour.max() >= 1.9 and hour[-1] == pytest.approx(1.0)


def test_the_statistics_restate_the_published_ones(shared_root):
    """The measures used above give the published numbers on the published files."""
    trace = read_manifest(shared_root)["azure_llm_2023_code"]
    counts = np.histogram(read_shared(trace)["arrival_s"], np.arange(0.0, trace.span_s + 1))[0]
    assert index_of_dispersion(counts) == pytest.approx(13.02, rel=1e-3)
    assert local_index_of_dispersion(counts) == pytest.approx(7.203, rel=1e-3)
    twitter = read_manifest(shared_root)["twitter_2021"]
    minutes = _in_bins(read_shared(twitter)["requests"].to_numpy(), 60)
    found = bursts(minutes)
    assert found["duration_s"].median() == 540
    assert found["peak_ratio"].median() == pytest.approx(4.19, rel=0.02)


def test_constants_are_those_of_the_calibration_file(shared_root):
    calibration = json.loads((shared_root / "calibration.json").read_text())
    traces, presets = calibration["per_trace"], calibration["generator_presets"]
    twitter, servegen = traces["twitter_2021"], traces["servegen_m_small"]
    assert [list(term) for term in twitter_like.DAILY] == twitter["diurnal"]["fourier_cos_sin_h1_h4"]
    for ours, name in (
        (twitter_like.LEVELS, "quantile_levels"),
        (twitter_like.DURATION_S, "duration_s_q"),
        (twitter_like.PEAK_RATIO, "peak_ratio_q"),
        (twitter_like.GAP_S, "gap_start_to_start_s_q"),
    ):
        assert ours[1:-1] == twitter["bursts"][name]
    assert twitter["bursts"]["per_day"] == twitter_like.PLATEAUS_PER_DAY
    assert twitter["residual"]["ar1_lag1"] == twitter_like.NOISE_MEMORY_60S
    assert twitter["mean_rate_rps"] == twitter_like.MEAN_RPS
    assert traces["azure_llm_2023_code"]["mean_rate_rps"] == azure_like.CODE_MEAN_RPS
    assert traces["azure_llm_2023_conv"]["mean_rate_rps"] == azure_like.CONV_MEAN_RPS
    assert azure_like.MINUTE_LOAD[2:-1] == traces["azure_llm_2023_code"]["rate_over_mean_q"]["q"][3:-1]
    assert servegen["diurnal"]["knots_48"] == servegen_like.DAILY
    assert servegen["mean_rate_rps"] == servegen_like.MEAN_RPS
    assert servegen["residual"]["ar1_lag1"] == servegen_like.MEMORY_600S
    assert servegen["clients"]["cv_of_600s_rate_top20_q_10_50_90"] == servegen_like.RATE_CV
    sizes = calibration["model_popularity"]["servegen_m_small_clients"]["shares_sorted"]
    assert SHARES[: len(sizes)] == sizes
    assert traces["azure_llm_2024_code"]["diurnal"]["knots_48"] == generators.DIURNAL_KNOTS
    assert presets["office_hours_llm"]["weekend_factor"] == generators.DIURNAL_WEEKEND
    assert presets["office_hours_llm"]["residual_log_sd"] == generators.DIURNAL_LOG_SD
    assert presets["office_hours_llm"]["residual_ar1_600s"] == generators.DIURNAL_MEMORY_600S
    assert presets["flash_crowd"]["burst_peak_ratio_q50_q90_max"] == generators.SPIKE_PEAK_RATIO[1:]
    assert presets["flash_crowd"]["burst_duration_s_q50_q90"] == generators.SPIKE_DURATION_S[1:3]

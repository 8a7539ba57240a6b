"""The LSTM forecaster: the recurrence worked by hand, what it sees, what it refuses."""

import json
import math
import shutil

import numpy as np
import pytest

from baselines.forecasters import EWM, forecaster
from baselines.lstm import LSTM, MANIFEST, PRETRAINED, WEIGHTS, ForecasterError, Shape, run, write


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def single(**changes):
    """One unit; all weights 0 but those given."""
    zeros = {"kernel": np.zeros((1, 4)), "recurrent": np.zeros((1, 4)), "bias": np.zeros(4), "out_kernel": np.ones((1, 1)),
             "out_bias": np.zeros(1)}
    return {**zeros, **{name: np.array(value, float) for name, value in changes.items()}}


def test_one_unit_by_hand():
    weights = single(kernel=[[0.1, 0.2, 1.0, 0.3]], recurrent=[[0.5, -0.5, 0.25, 1.0]], bias=[0, 1, 0.5, 0], out_bias=[0.125])
    cell = state = 0.0
    for x in (1.0, 2.0):
        enter, keep = sigmoid(0.1 * x + 0.5 * state), sigmoid(0.2 * x - 0.5 * state + 1)
        new, show = max(0, x + 0.25 * state + 0.5), sigmoid(0.3 * x + state)
        cell = keep * cell + enter * new
        state = show * max(0, cell)
    assert run(weights, np.array([1.0, 2.0])) == pytest.approx(state + 0.125, rel=1e-12)


@pytest.fixture
def last_bin(tmp_path):
    """A forecaster that gives (nearly) the last of its inputs: gates open, nothing kept."""
    weights = single(kernel=[[0, 0, 1, 0]], bias=[40, -40, 0, 40])
    write(tmp_path, Shape(bins=3, bin_s=60, horizon_s=60), weights, {})
    return tmp_path


def test_inputs_are_the_maxima_of_the_last_minutes(last_bin):
    f = LSTM(1.0, last_bin)
    assert f.memory_intervals == 6
    for rps in (5, 9, 1, 2, 30, 20):  # intervals of 30 s: minutes 9, 2, 30
        f.observe(rps)
    assert f.forecast() == pytest.approx(30)
    f.observe(10)  # minutes are counted back from now: (9, 1) (2, 30) (20, 10)
    assert f.forecast() == pytest.approx(20)


def test_before_there_is_enough_history_the_weighted_mean_of_the_maxima(last_bin):
    f, expected = LSTM(1.5, last_bin), EWM(10)
    for rps in (5, 9, 1, 2):
        f.observe(rps)
    for maximum in (9, 2):
        expected.observe(maximum)
    assert f.forecast() == pytest.approx(1.5 * expected.forecast())


def test_the_length_of_an_interval_is_told_at_reset(last_bin):
    f = LSTM(1.0, last_bin)
    f.reset(10.0)
    assert f.memory_intervals == 18
    with pytest.raises(ForecasterError, match="shorter than intervals of 300 s"):
        f.reset(300.0)


def test_the_pretrained_one_forecasts_peaks_of_a_steady_load_of_any_size():
    """Twitter's seconds vary by about a fifth around a minute's mean: the greatest of 60 is well above it."""
    ratios = []
    for rps in (2.0, 60.0, 5000.0):
        f = forecaster("lstm", 2, 1.0)
        for _ in range(30):
            f.observe(rps)
        ratios.append(f.forecast() / rps)
    assert ratios == pytest.approx([ratios[0]] * 3)
    assert 1.1 < ratios[0] < 1.8


def test_no_load_is_forecast_as_none():
    f = forecaster("lstm", 2, 1.1)
    for _ in range(30):
        f.observe(0.0)
    assert f.forecast() == 0


def test_what_cannot_be_used_is_told(tmp_path):
    with pytest.raises(ForecasterError, match="make them"):
        LSTM(folder=tmp_path)
    shutil.copytree(PRETRAINED, tmp_path, dirs_exist_ok=True)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(ForecasterError, match="format 99, here 1; use the Tidal that wrote it"):
        LSTM(folder=tmp_path)
    (tmp_path / MANIFEST).write_text("{}")
    with pytest.raises(ForecasterError, match="not a forecaster's manifest"):
        LSTM(folder=tmp_path)
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    data = bytearray((tmp_path / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (tmp_path / WEIGHTS).write_bytes(data)
    with pytest.raises(ForecasterError, match="not the weights that the manifest names"):
        LSTM(folder=tmp_path)
    write(tmp_path, Shape(), {**single(), "bias": np.zeros(3)}, {})
    with pytest.raises(ForecasterError, match="not the weights of an LSTM"):
        LSTM(folder=tmp_path)

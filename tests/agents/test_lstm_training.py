"""Training the LSTM forecaster: windows by hand, numpy against torch, and that it learns."""

import numpy as np
import pytest
import torch

from agents.lstm_training import Network, main, scores, train, windows
from baselines.lstm import LSTM, Shape, run


def test_windows_are_what_a_policy_would_see_and_what_came():
    """Two bins of 4 s of intervals of 2 s, and the greatest of the 3 s that follow; a window every 5 s."""
    rates = np.arange(1.0, 17.0)
    made = windows(rates, 1.0, Shape(bins=2, bin_s=4, horizon_s=3), interval_s=2.0, stride_s=5.0)
    assert made.inputs.tolist() == [[3.5, 7.5], [8.5, 12.5]]
    assert made.targets.tolist() == [11, 16]


def test_windows_without_requests_are_left_out():
    rates = np.array([0, 0, 3, 3, 3, 3, 5, 5, 0, 0, 7, 7], float)
    made = windows(rates, 1.0, Shape(bins=1, bin_s=2, horizon_s=2), interval_s=2.0, stride_s=2.0)
    assert made.inputs.ravel().tolist() == [3, 3] and made.targets.tolist() == [3, 5]


def test_numpy_runs_what_torch_trains():
    torch.manual_seed(3)
    network = Network()
    rows = np.random.default_rng(0).uniform(0.2, 3, (20, 10))
    with torch.no_grad():
        expected = network(torch.tensor(rows, dtype=torch.float32)).numpy()
    weights = {name: value.astype(np.float64) for name, value in network.weights().items()}
    assert [run(weights, row) for row in rows] == pytest.approx(expected, abs=1e-5)


def test_it_learns_a_repeating_load_that_the_last_value_misses():
    """High and low minutes in turn: the last value is always wrong."""
    rates = np.tile(np.repeat([50.0, 150.0], 60), 150)
    made = windows(rates, 1.0, Shape(), 30.0)
    network = train(made, epochs=80)
    found = scores(network, made)
    assert found["lstm"]["smape_percent"] < 5 < 80 < found["last"]["smape_percent"]
    again = train(made, epochs=1).weights()
    assert all((value == again[name]).all() for name, value in train(made, epochs=1).weights().items())


def test_the_command_trains_and_writes_a_forecaster(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("agents.lstm_training.open_workload",
                        lambda workload: type("Opened", (), {"load": type("Load", (), {
                            "rate_rps": np.random.default_rng(1).uniform(50, 90, 7200), "bin_s": 1.0})}))
    assert main(["--epochs", "1", "--out", str(tmp_path / "new")]) == 0
    assert "110 windows to train on" in capsys.readouterr().out
    f = LSTM(1.0, tmp_path / "new")
    for _ in range(20):
        f.observe(70.0)
    assert f.forecast() > 0


def test_a_missing_trace_is_one_line(capsys, monkeypatch):
    monkeypatch.delenv("TIDAL_TRACES", raising=False)
    assert main(["--trace", "nowhere"]) == 2
    assert capsys.readouterr().err.count("\n") == 1

"""Trains the LSTM forecaster on the training part of a trace.

    python -m agents.lstm_training --trace twitter_2021
    python -m agents.lstm_training --bins 12 --bin-s 10 --horizon-s 20 --interval-s 10 --divisor 8 --scale-rps 8 --out FOLDER

As InfAdapter's artefact does: Adam, mean squared error, 30 epochs, batches of 64, L1 of 1e-5 on the kernel, seed 7, a window
every minute, minutes without requests left out. Prints the error on the validation part beside simple forecasters'.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from baselines.lstm import NAMES, PRETRAINED, Shape, run, write
from traces.splits import Split
from traces.workload import Workload
from traces.workload import open as open_workload

UNITS, EPOCHS, BATCH, L1, SEED, STRIDE_S = 25, 30, 64, 1e-5, 7, 60.0
ADAM_EPSILON = 1e-7  # Keras' own
MARGIN = 1.1


class Windows(NamedTuple):
    """What the forecaster would have seen, and what came: inputs (n, bins) and targets (n,), req/s."""

    inputs: np.ndarray
    targets: np.ndarray


class Network(nn.Module):
    """The LSTM, with Keras' initial values: Glorot for kernels, orthogonal for the recurrent one, 1 for the forget gate."""

    def __init__(self, units: int = UNITS) -> None:
        super().__init__()
        self.kernel = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, 4 * units)))
        self.recurrent = nn.Parameter(nn.init.orthogonal_(torch.empty(units, 4 * units)))
        self.bias = nn.Parameter(torch.cat([torch.zeros(units), torch.ones(units), torch.zeros(2 * units)]))
        self.out_kernel = nn.Parameter(nn.init.xavier_uniform_(torch.empty(units, 1)))
        self.out_bias = nn.Parameter(torch.zeros(1))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(n, bins) to (n,)."""
        state = cell = torch.zeros(len(inputs), self.recurrent.shape[0])
        for x in inputs.unbind(1):
            enter, keep, new, show = (x[:, None] * self.kernel + state @ self.recurrent + self.bias).chunk(4, dim=1)
            cell = torch.sigmoid(keep) * cell + torch.sigmoid(enter) * torch.relu(new)
            state = torch.sigmoid(show) * torch.relu(cell)
        return (state @ self.out_kernel)[:, 0] + self.out_bias

    def weights(self) -> dict[str, np.ndarray]:
        """By name, as `baselines.lstm.run` takes them."""
        return {name: getattr(self, name).detach().numpy() for name in NAMES}


def windows(rate_rps: np.ndarray, rate_bin_s: float, shape: Shape, interval_s: float, stride_s: float = STRIDE_S) -> Windows:
    """Cuts a series of rates into windows.

    Args:
        rate_rps: (n,), one rate per bin.
        rate_bin_s: length of a bin, at most the interval.
        shape: of the forecaster.
        interval_s: between two observations; each is the mean rate of one.
        stride_s: from one window to the next.
    """
    per_interval, per_bin = round(interval_s / rate_bin_s), round(shape.bin_s / rate_bin_s)
    past, ahead = shape.bins * per_bin, round(shape.horizon_s / rate_bin_s)
    starts = np.arange(0, rate_rps.size - past - ahead + 1, round(stride_s / rate_bin_s))
    inputs, targets = [], []
    for start in starts:
        means = rate_rps[start : start + past].reshape(-1, per_interval).mean(1)
        inputs.append(means.reshape(shape.bins, -1).max(1))
        targets.append(rate_rps[start + past : start + past + ahead].max())
    made = Windows(np.array(inputs), np.array(targets))
    kept = (made.inputs > 0).all(1) & (made.targets > 0)
    return Windows(made.inputs[kept], made.targets[kept])


def train(made: Windows, epochs: int = EPOCHS, seed: int = SEED, tell: Callable[[str], None] = lambda text: None,
          scale_rps: float | None = None) -> Network:
    """A network trained on windows, each divided by the scale, or the mean of its inputs."""
    torch.manual_seed(seed)
    scale = _scale(made, scale_rps)
    inputs = torch.tensor(made.inputs / scale[:, None], dtype=torch.float32)
    targets = torch.tensor(made.targets / scale, dtype=torch.float32)
    network, rng = Network(), torch.Generator().manual_seed(seed)
    adam = torch.optim.Adam(network.parameters(), eps=ADAM_EPSILON)
    for epoch in range(1, epochs + 1):
        total = 0.0
        for rows in torch.randperm(len(inputs), generator=rng).split(BATCH):
            loss = nn.functional.mse_loss(network(inputs[rows]), targets[rows])
            adam.zero_grad()
            (loss + L1 * network.kernel.abs().sum()).backward()
            adam.step()
            total += float(loss.detach()) * len(rows)
        tell(f"epoch {epoch} of {epochs}: mean squared error {total / len(inputs):.5f} (of the window's mean)")
    return network


def _scale(made: Windows, scale_rps: float | None) -> np.ndarray:
    return made.inputs.mean(1) if scale_rps is None else np.full(len(made.inputs), scale_rps)


def smape_percent(forecasts: np.ndarray, targets: np.ndarray) -> float:
    """Symmetric mean absolute percentage error."""
    return float(np.mean(200 * np.abs(forecasts - targets) / (np.abs(forecasts) + np.abs(targets))))


def scores(network: Network, made: Windows, scale_rps: float | None = None) -> dict[str, dict[str, float]]:
    """Error of the network and of simple forecasts (of the window's maxima) without margin, and how often each is exceeded."""
    scale = _scale(made, scale_rps)
    weights = {name: value.astype(np.float64) for name, value in network.weights().items()}
    forecasts = {
        "lstm": scale * np.array([run(weights, row) for row in made.inputs / scale[:, None]]),
        "last": made.inputs[:, -1],
        "max of 2": made.inputs[:, -2:].max(1),
        "max of all": made.inputs.max(1),
    }
    return {name: {"smape_percent": round(smape_percent(f, made.targets), 3),
                   "exceeded_percent": round(100 * float((made.targets > f).mean()), 2),
                   "exceeded_percent_with_margin": round(100 * float((made.targets > MARGIN * f).mean()), 2)}
            for name, f in forecasts.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Trains, prints the errors, writes the folder. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m agents.lstm_training", description="Trains the LSTM forecaster.")
    parser.add_argument("--trace", default="twitter_2021", help="a shared trace with a training part (%(default)s)")
    parser.add_argument("--bins", type=int, default=10, help="numbers that go in (%(default)s)")
    parser.add_argument("--bin-s", type=float, default=60.0, help="seconds of each (%(default)s)")
    parser.add_argument("--horizon-s", type=float, default=60.0, help="seconds ahead (%(default)s)")
    parser.add_argument("--interval-s", type=float, default=30.0, help="seconds between observations (%(default)s)")
    parser.add_argument("--divisor", type=int, default=1, help="of each count, rounded down (%(default)s)")
    parser.add_argument("--scale-rps", type=float, help="what the numbers are divided by (default: their mean in the window)")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="(%(default)s)")
    parser.add_argument("--out", type=Path, default=PRETRAINED, metavar="FOLDER", help="manifest and weights (%(default)s)")
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = parser.parse_args(words)
    shape = Shape(arguments.bins, arguments.bin_s, arguments.horizon_s, arguments.scale_rps)

    def cut(split: Split) -> Windows:
        load = open_workload(Workload(arguments.trace, split)).load
        return windows(np.floor(load.rate_rps / arguments.divisor), load.bin_s, shape, arguments.interval_s)

    try:
        training, validation = cut("train"), cut("val")
    except (ValueError, OSError) as error:
        print(f"lstm_training: {error}", file=sys.stderr)
        return 2
    print(f"{arguments.trace}: {len(training.targets)} windows to train on, {len(validation.targets)} to validate on")
    network = train(training, arguments.epochs, tell=lambda text: print(text, flush=True), scale_rps=shape.scale_rps)
    found = scores(network, validation, shape.scale_rps)
    for name, row in found.items():
        print(f"{name:12s} " + ", ".join(f"{figure} {value:g}" for figure, value in row.items()))
    told = {"command": " ".join(["python -m agents.lstm_training", *words]), "trace": arguments.trace,
            "interval_s": arguments.interval_s, "windows": len(training.targets), "epochs": arguments.epochs, "seed": SEED,
            "validation": found}
    write(arguments.out, shape, network.weights(), told)
    print(f"forecaster: {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

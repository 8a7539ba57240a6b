"""InfAdapter's forecaster: a small LSTM over the maxima of the last minutes, run with numpy alone.

Source: the artefact of Salmani et al., EuroMLSys 2023: ten numbers, the maxima of the last ten minutes; LSTM of 25 units with
ReLU for its output and candidate, then one linear unit; the target is the greatest load per second of the next minute. Before
there are ten minutes, the exponentially weighted mean (span 10) of the maxima there are.

Two things differ, since a policy sees one mean per interval and loads of any size: the maxima are of intervals' means (the
target is still that of single seconds, so bursts within an interval are learned), and numbers are divided by the mean of the
ten. `Shape` has other lengths, and a constant to divide by, for IPA's.

`agents/lstm_training.py` makes the weights.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from baselines.forecasters import EWM, Forecaster
from baselines.weights_folder import MANIFEST, WEIGHTS, write_folder
from envs.versions import refusal

PRETRAINED = Path(__file__).parent / "pretrained" / "lstm-twitter_2021"
FORMAT = 1
SPAN = 10  # of the mean that stands in at first
NAMES = ("kernel", "recurrent", "bias", "out_kernel", "out_bias")


class ForecasterError(ValueError):
    """A forecaster's folder cannot be used; the text says why, and what to do."""


@dataclass(frozen=True)
class Shape:
    """What goes in and what comes out.

    Attributes:
        bins: numbers that go in.
        bin_s: seconds that each of them is the maximum of.
        horizon_s: seconds ahead whose greatest load per second comes out.
        scale_rps: what numbers are divided by; None: their mean, so that loads of any size are alike. With a constant the
            level counts too: a small load is more uneven, but the forecaster is for loads of one size.
    """

    bins: int = 10
    bin_s: float = 60.0
    horizon_s: float = 60.0
    scale_rps: float | None = None


@dataclass(frozen=True)
class Manifest:
    """What a folder of weights says of itself."""

    shape: Shape
    weights_sha256: str
    training: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT


class LSTM(Forecaster):
    """The network on what has been observed.

    Args:
        margin: factor on the forecast (artefact: 1.1).
        folder: manifest and weights.

    Raises:
        ForecasterError: the folder cannot be used; on reset, where its bins are shorter than an interval.
    """

    def __init__(self, margin: float = 1.1, folder: Path | str = PRETRAINED) -> None:
        self._shape, self._weights = read(Path(folder))
        super().__init__(margin)

    def reset(self, interval_s: float | None = None) -> None:
        """Forgets all observations; without an interval it is 30 s, or as long as a bin where that is shorter."""
        super().reset(min(30.0, self._shape.bin_s) if interval_s is None else interval_s)

    def _clear(self) -> None:
        self._per_bin = round(self._shape.bin_s / self.interval_s)
        if not self._per_bin:
            bins = f"bins of {self._shape.bin_s:g} s"
            raise ForecasterError(f"the LSTM has {bins}, shorter than intervals of {self.interval_s:g} s; train another")
        self.memory_intervals = self._shape.bins * self._per_bin
        self._window: deque[float] = deque(maxlen=self.memory_intervals)

    def _take(self, rps: float) -> None:
        self._window.append(rps)

    def _predict(self) -> float:
        recent = list(self._window)
        begins = range(len(recent) - self._per_bin, -self._per_bin, -self._per_bin)
        maxima = np.array([max(recent[max(0, i) : i + self._per_bin]) for i in begins][::-1])
        if len(recent) < self.memory_intervals or not maxima.any():
            early = EWM(SPAN)
            for value in maxima:
                early.observe(float(value))
            return early.forecast()
        scale = self._shape.scale_rps or maxima.mean()
        return float(scale * run(self._weights, maxima / scale))


def run(weights: dict[str, np.ndarray], inputs: np.ndarray) -> float:
    """The network's output for one row of inputs, shape (bins,); gates in the order input, forget, candidate, output."""
    units = weights["recurrent"].shape[0]
    state = cell = np.zeros(units)
    for x in inputs:
        gates = x * weights["kernel"][0] + state @ weights["recurrent"] + weights["bias"]
        enter, keep, new, show = np.split(gates, 4)
        cell = _sigmoid(keep) * cell + _sigmoid(enter) * np.maximum(new, 0)
        state = _sigmoid(show) * np.maximum(cell, 0)
    return float(state @ weights["out_kernel"][:, 0] + weights["out_bias"][0])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))


def write(folder: Path, shape: Shape, weights: dict[str, np.ndarray], training: dict[str, Any]) -> None:
    """Writes a folder."""
    data = save({name: np.ascontiguousarray(weights[name], np.float32) for name in NAMES})
    write_folder(folder, data, Manifest(shape, hashlib.sha256(data).hexdigest(), training))


def read(folder: Path) -> tuple[Shape, dict[str, np.ndarray]]:
    """Reads a folder and checks it.

    Raises:
        ForecasterError: there is none, or its files are not what its manifest says.
    """
    if not (folder / MANIFEST).is_file() or not (folder / WEIGHTS).is_file():
        raise ForecasterError(f"{folder}: no {MANIFEST} and {WEIGHTS} there; make them: python -m agents.lstm_training --help")
    data = (folder / WEIGHTS).read_bytes()
    try:
        told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        shape, digest, version = Shape(**told["shape"]), told["weights_sha256"], told["format"]
    except (ValueError, TypeError, KeyError) as error:
        raise ForecasterError(f"{folder / MANIFEST}: not a forecaster's manifest ({error})") from error
    if other := refusal("forecaster, format", version, FORMAT, "train it again"):
        raise ForecasterError(f"{folder}: {other}")
    if hashlib.sha256(data).hexdigest() != digest:
        raise ForecasterError(f"{folder / WEIGHTS}: not the weights that the manifest names; take both from the same place")
    weights = {name: value.astype(np.float64) for name, value in load(data).items()}
    units = weights["recurrent"].shape[0] if "recurrent" in weights else 0
    shapes = {"kernel": (1, 4 * units), "recurrent": (units, 4 * units), "bias": (4 * units,), "out_kernel": (units, 1),
              "out_bias": (1,)}
    if {name: value.shape for name, value in weights.items()} != shapes or not all(
            math.isfinite(float(value.sum())) for value in weights.values()):
        raise ForecasterError(f"{folder / WEIGHTS}: not the weights of an LSTM with one input and one output")
    return shape, weights

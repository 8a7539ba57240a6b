"""The learned quantile forecaster, run by numpy alone: what the load may be over the next intervals, from what it was.

A network sees the last 120 loads relative to the last one, so loads of any size are alike, and beside them how many requests
an interval counts (few are uneven) and how long an interval is. It gives quantiles of the logarithm of (load to come /
last load) for a few leads; between two leads they are interpolated, beyond the last one they stay. It knows no time of day: an
`Observation` tells none, and a forecast is possible from the second observation on.

`agents/quantile_training.py` makes the weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from agents.manifest import AgentError
from baselines.quantiles import QuantileForecaster
from baselines.weights_folder import MANIFEST, WEIGHTS, read_file, write_folder
from envs.scenario import Scenario
from envs.versions import refusal

PRETRAINED = Path(__file__).parent / "pretrained" / "quantile-forecaster"
FORMAT = 1
MEMORY = 120  # intervals
LAGS = 12  # single loads before the last one
BLOCKS = ((12, 16), (16, 24), (24, 40), (40, 60), (60, 90), (90, 120))  # intervals back: mean and greatest
LEADS = (1, 2, 3, 4, 6, 8, 11, 16, 24)  # intervals ahead
LEVELS = QuantileForecaster.levels
FEATURES = 2 * (LAGS + 2 * len(BLOCKS)) + 2
FARTHEST = 3.0  # of a logarithm of a ratio: 20 times


@dataclass(frozen=True)
class Manifest:
    """What a folder of weights says of itself; intervals outside the range were not trained."""

    shortest_interval_s: float
    longest_interval_s: float
    weights_sha256: str
    training: dict[str, Any] = field(default_factory=dict)
    memory: int = MEMORY
    leads: tuple[int, ...] = LEADS
    format: int = FORMAT


class LearnedQuantiles(QuantileForecaster):
    """The network on what has been observed.

    Args:
        folder: manifest and weights.

    Raises:
        AgentError: the folder cannot be used; on reset, where the scenario's interval is outside of what was trained.
    """

    levels = LEVELS
    memory_intervals = MEMORY

    def __init__(self, folder: Path | str = PRETRAINED) -> None:
        self.folder = Path(folder)
        self.manifest, self.weights = read(self.folder)

    def reset(self, scenario: Scenario, service: str, horizon: int) -> None:
        """Gets ready for a service of a scenario."""
        shortest_s, longest_s = self.manifest.shortest_interval_s, self.manifest.longest_interval_s
        if not shortest_s <= scenario.interval_s <= longest_s:
            range_s = f"{shortest_s:g} to {longest_s:g} s, not {scenario.interval_s:g} s"
            raise AgentError(f"{self.folder}: trained for intervals of {range_s}; train one: "
                             "python -m agents.quantile_training --help")
        self._interval_s, self._horizon = scenario.interval_s, horizon

    def quantiles(self, history: np.ndarray) -> np.ndarray:
        """(horizon, Q) quantiles, req/s."""
        seen = np.full((1, MEMORY), np.nan)
        recent = np.asarray(history, np.float64)[-MEMORY:]
        seen[0, MEMORY - len(recent) :] = recent
        found = run(self.weights, features(seen, self._interval_s))[0]  # (leads, Q)
        steps = np.arange(1, self._horizon + 1)
        ratios = np.stack([np.interp(steps, LEADS, column) for column in found.T], axis=1)
        rps: np.ndarray = floored(seen[0, -1], self._interval_s) * np.exp(ratios)
        return rps


def floored(rps: np.ndarray, interval_s: float) -> np.ndarray:
    """Loads with at least one request an interval: a ratio needs some load."""
    return np.asarray(np.maximum(rps, 1.0 / interval_s))


def features(seen: np.ndarray, interval_s: float) -> np.ndarray:
    """What the network sees, float32 (..., FEATURES).

    Args:
        seen: (..., MEMORY) mean loads (req/s), the newest last; nan where nothing had been observed yet, never the last one.
        interval_s: length of an interval.
    """
    loads = np.log(floored(seen, interval_s))
    last = loads[..., -1:]
    relative = np.clip(loads - last, -FARTHEST, FARTHEST)[..., ::-1]  # the newest first
    parts = [relative[..., 1 : LAGS + 1]]
    for first, end in BLOCKS:
        block = relative[..., first:end]
        known = np.isfinite(block)
        some = known.any(-1, keepdims=True)
        total = np.where(known, block, 0.0).sum(-1, keepdims=True) / np.maximum(known.sum(-1, keepdims=True), 1)
        greatest = np.where(known, block, -np.inf).max(-1, keepdims=True)
        parts += [np.where(some, total, np.nan), np.where(some, greatest, np.nan)]
    flat = np.concatenate(parts, axis=-1)
    count = last + np.log(interval_s)  # logarithm of the requests in the last interval
    constants = np.concatenate([count / 10, np.full_like(last, np.log(interval_s / 30))], axis=-1)
    missing = np.isnan(flat)
    return np.concatenate([np.where(missing, 0.0, flat), 1.0 - missing, constants], axis=-1).astype(np.float32)


def run(weights: Mapping[str, np.ndarray], inputs: np.ndarray) -> np.ndarray:
    """Logarithms of ratios (N, leads, Q) of features (N, FEATURES), rising along Q: steps are positive."""
    x = inputs
    layers = len(weights) // 2
    for i in range(layers - 1):
        x = np.tanh(x @ weights[f"weight.{i}"].T + weights[f"bias.{i}"])
    x = x @ weights[f"weight.{layers - 1}"].T + weights[f"bias.{layers - 1}"] + inputs @ weights["skip"].T
    x = x.reshape(len(inputs), len(LEADS), len(LEVELS))
    steps = np.concatenate([x[..., :1], np.logaddexp(0.0, x[..., 1:])], axis=-1)
    return np.asarray(np.cumsum(steps, axis=-1, dtype=np.float64))


def write(folder: Path, weights: Mapping[str, np.ndarray], shortest_s: float, longest_s: float,
          training: Mapping[str, Any]) -> None:
    """Writes a folder."""
    data = save({name: np.ascontiguousarray(value, np.float32) for name, value in weights.items()})
    write_folder(folder, data, Manifest(shortest_s, longest_s, hashlib.sha256(data).hexdigest(), dict(training)))


def read(folder: Path) -> tuple[Manifest, dict[str, np.ndarray]]:
    """Reads a folder and checks it.

    Raises:
        AgentError: there is none, or its files are not what its manifest says.
    """
    how = "make one: python -m agents.quantile_training --help"
    if not (folder / MANIFEST).is_file() or not (folder / WEIGHTS).is_file():
        raise AgentError(f"{folder}: no {MANIFEST} and {WEIGHTS} of a forecaster there; {how}")
    try:
        data = read_file(folder / WEIGHTS)
        told = json.loads(read_file(folder / MANIFEST))
        if other := refusal("quantile forecaster, format", told["format"], FORMAT, how):
            raise AgentError(f"{folder}: {other}")
        manifest = Manifest(**{**told, "leads": tuple(told["leads"])})
        weights = load(data)
    except AgentError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, SafetensorError) as error:
        raise AgentError(f"{folder}: not a quantile forecaster ({error}); {how}") from error
    if (manifest.memory, manifest.leads) != (MEMORY, LEADS):
        raise AgentError(f"{folder}: made for another version; {how}")
    if hashlib.sha256(data).hexdigest() != manifest.weights_sha256:
        raise AgentError(f"{folder / WEIGHTS}: not the weights that the manifest names; take both from the same place")
    if weights.get("skip", np.zeros(0)).shape != (len(LEADS) * len(LEVELS), FEATURES):
        raise AgentError(f"{folder / WEIGHTS}: not of the shape of a quantile forecaster; {how}")
    sizes = [weights.get(f"weight.{i}", np.zeros((0, 0))).shape for i in range(len(weights) // 2)]
    if not sizes or sizes[0][1] != FEATURES or sizes[-1][0] != len(LEADS) * len(LEVELS):
        raise AgentError(f"{folder / WEIGHTS}: not of the shape of a quantile forecaster; {how}")
    return manifest, weights

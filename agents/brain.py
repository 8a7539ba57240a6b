"""An agent's network, run by numpy: layers with an activation between them, and before them an LSTM where it has one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np

Layers = list[tuple[np.ndarray, np.ndarray]]
LSTM = ("lstm.input", "lstm.recurrent", "lstm.bias")  # tensors: (4 H, D), (4 H, H), (4 H,)
ACTIVATIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {"tanh": np.tanh, "relu": lambda x: np.maximum(x, 0.0)}


class Brain:
    """From observations to logits.

    Args:
        tensors: ``weight.i`` (outputs, inputs) and ``bias.i`` (outputs,) of each layer; those of `LSTM` where there is one.
        activation: after each layer but the last, one of `ACTIVATIONS`.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray], activation: str = "tanh") -> None:
        count = sum(name.startswith("weight.") for name in tensors)
        self.layers: Layers = [(tensors[f"weight.{i}"], tensors[f"bias.{i}"]) for i in range(count)]
        self._activation = activation
        self._lstm = [tensors[name] for name in LSTM] if LSTM[0] in tensors else []
        self.reset()

    @property
    def finite(self) -> bool:
        """Whether all weights are finite numbers."""
        return all(np.isfinite(array).all() for arrays in (*self.layers, self._lstm) for array in arrays)

    @property
    def recurrent(self) -> bool:
        """Whether it remembers."""
        return bool(self._lstm)

    def reset(self) -> None:
        """Forgets what was seen."""
        self._state: tuple[np.ndarray, np.ndarray] | None = None

    def logits(self, observations: np.ndarray) -> np.ndarray:
        """Logits (..., A) of observations (..., D), float32; with an LSTM one call is one interval of the same clusters."""
        return forward(self.layers, self._remembered(observations) if self._lstm else observations, self._activation)

    def _remembered(self, x: np.ndarray) -> np.ndarray:
        """One step of the LSTM: its hidden state; gates in torch's order, input, forget, candidate, output."""
        enter, recur, bias = self._lstm
        nothing = np.zeros((*x.shape[:-1], recur.shape[1]), np.float32)
        hidden, cell = self._state or (nothing, nothing)
        i, f, g, o = np.split(x @ enter.T + hidden @ recur.T + bias, 4, axis=-1)
        cell = _sigmoid(f) * cell + _sigmoid(i) * np.tanh(g)
        hidden = _sigmoid(o) * np.tanh(cell)
        self._state = hidden, cell
        return hidden


def forward(layers: Layers, observations: np.ndarray, activation: str = "tanh") -> np.ndarray:
    """Logits (..., sum of nvec) of observations (..., D), float32."""
    x, between = observations, ACTIVATIONS[activation]
    for weight, bias in layers[:-1]:
        x = between(x @ weight.T + bias)
    weight, bias = layers[-1]
    return np.asarray(x @ weight.T + bias)


def choose(logits: np.ndarray, nvec: Sequence[int], masks: np.ndarray | None = None) -> np.ndarray:
    """The most likely action (..., entries) among what the masks (..., sum of nvec) leave; the first of equal logits."""
    allowed = logits if masks is None else np.where(masks, logits, -np.inf)
    parts = np.split(allowed, np.cumsum(nvec)[:-1], axis=-1)
    return np.stack([part.argmax(-1) for part in parts], axis=-1)


def whole(layers: Layers) -> bool:
    """Whether there are layers, each takes what the one before gives, and all weights are finite."""
    fit = all(weight.ndim == 2 and bias.shape == weight.shape[:1] for weight, bias in layers)
    fit = fit and all(after.shape[1] == before.shape[0] for (before, _), (after, _) in pairwise(layers))
    return bool(layers) and fit and all(np.isfinite(array).all() for layer in layers for array in layer)


def tensors_of(layers: Layers) -> dict[str, np.ndarray]:
    """The tensors of plain layers."""
    return {f"{name}.{i}": array for i, layer in enumerate(layers) for name, array in zip(("weight", "bias"), layer)}


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))

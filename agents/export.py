"""Exports a trained agent: weights as safetensors, and a manifest. The folder is all that `NetworkPolicy` needs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from agents.brain import LSTM, tensors_of
from agents.manifest import Manifest, digest, scenario_digest
from baselines.weights_folder import write_folder
from envs.actions import Actions, Mode
from envs.scenario import Scenario


def export(
    layers: Sequence[tuple[np.ndarray, np.ndarray]] | Mapping[str, np.ndarray],
    folder: Path,
    scenario: Scenario,
    action_mode: Mode,
    training: Mapping[str, Any],
    base: str = "",
    base_settings: Mapping[str, Any] | None = None,
    masked: bool = False,
    menu: Sequence[Sequence[int]] = (),
    activation: str = "tanh",
) -> Manifest:
    """Writes an agent's folder; the manifest goes last, so that a folder with one is whole.

    Args:
        layers: weights (outputs, inputs) and biases (outputs,) of each layer, float32; or tensors by name, as for `Brain`.
        folder: made where it is not there.
        scenario: what it was trained for.
        action_mode: what its actions mean.
        training: what made it.
        base: of a residual agent, ``package.module:Class`` of the policy that it corrects.
        base_settings: that policy's arguments.
        masked: see `Manifest`.
        menu: see `Manifest`.
        activation: see `Manifest`.
    """
    tensors = layers if isinstance(layers, Mapping) else tensors_of(list(layers))
    weights = save({name: np.ascontiguousarray(array, np.float32) for name, array in tensors.items()})
    told = json.loads(json.dumps(dict(training), default=str))
    manifest = Manifest(
        scenario=scenario.name,
        scenario_digest=scenario_digest(scenario),
        observations=tensors[LSTM[0] if LSTM[0] in tensors else "weight.0"].shape[1],
        action_mode=action_mode,
        nvec=[len(menu)] if menu else [int(n) for n in Actions(scenario, action_mode).space.nvec],
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        training=told,
        training_sha256=digest(told),
        base=base,
        base_settings=dict(base_settings or {}),
        masked=masked,
        menu=[list(map(int, levels)) for levels in menu],
        activation=activation,
    )
    write_folder(folder, weights, manifest)
    return manifest

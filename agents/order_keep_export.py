"""An order/keep network as files: weights, menu and response as safetensors, and a manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save

from agents.brain import whole
from agents.manifest import AgentError
from agents.network_folder import NetworkManifest, common, read_folder
from agents.order_keep_constants import Constants
from agents.order_keep_features import FEATURES_VERSION, QUESTION
from agents.order_keep_menu import Menu
from agents.order_keep_response import Response
from baselines.weights_folder import WEIGHTS, write_folder
from envs.contract import CONTRACT_VERSION
from envs.scenario import Scenario

KIND = "order-keep"
FORMAT = 2
Layers = list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class OrderKeepManifest(NetworkManifest):
    """What an exported order/keep network is; its file of weights holds menu and response too.

    Attributes:
        constants: by cold start (s, as text), what the network corrects (`agents.order_keep_constants`).
        load_s: range of cold starts in training.
        calm: by cold start, how rough the load has to be for the network to correct the constants.
        planner: settings of InfAdapter on two time scales, which decides where the network is not trusted.
        planned_s: cold starts at which the planner was ahead when both were played (`agents.order_keep_confirmation`).
    """

    constants: dict[str, list[float]]
    load_s: list[float]
    calm: dict[str, float]
    planner: dict[str, Any]
    planned_s: list[float]
    format: int = FORMAT
    features: int = FEATURES_VERSION


class Exported(NamedTuple):
    """All that plays a network.

    Attributes:
        layers: weights (outputs, inputs) and biases (outputs,) of each layer.
        menu, response: deployments, and what they earn.
        low, high: (F,) range of each feature of the load in training.
        constants: by cold start, seconds.
        load_s: range of cold starts in training.
        planner: settings of the planner that stands by.
        calm: by cold start, the roughness of load below which nothing is corrected.
        planned_s: cold starts of `constants` at which it decides.
    """

    layers: Layers
    menu: Menu
    response: Response
    low: np.ndarray
    high: np.ndarray
    constants: Mapping[float, Constants]
    load_s: tuple[float, float]
    planner: Mapping[str, Any]
    calm: Mapping[float, float]
    planned_s: tuple[float, ...] = ()


def export(network: Exported, folder: Path, scenario: Scenario, training: Mapping[str, Any]) -> OrderKeepManifest:
    """Writes a network's folder."""
    tensors = {f"{name}.{i}": np.ascontiguousarray(array, np.float32)
               for i, layer in enumerate(network.layers) for name, array in zip(("weight", "bias"), layer)}
    tensors |= {f"menu.{name}": np.ascontiguousarray(array) for name, array in vars(network.menu).items()}
    tensors |= {f"response.{name}": np.ascontiguousarray(getattr(network.response, name), np.float32)
                for name in Response.__dataclass_fields__}
    tensors |= {"range.low": network.low.astype(np.float32), "range.high": network.high.astype(np.float32)}
    weights = save(tensors)
    manifest = OrderKeepManifest(
        **common(KIND, scenario, weights, training),
        constants={f"{load_s:g}": list(row) for load_s, row in network.constants.items()}, load_s=list(network.load_s),
        calm={f"{load_s:g}": level for load_s, level in network.calm.items()}, planner=dict(network.planner),
        planned_s=list(network.planned_s))
    write_folder(folder, weights, manifest)
    return manifest


def read(folder: Path) -> tuple[OrderKeepManifest, Exported]:
    """Reads a network's folder and checks its versions and digest.

    Raises:
        AgentError: it is not one, of other versions, or its weights are not those of the manifest.
    """
    versions = FORMAT, CONTRACT_VERSION, FEATURES_VERSION
    manifest, stored = read_folder(folder, OrderKeepManifest, versions, "an order/keep network")
    try:
        tensors = load_tensors(stored)
        count = sum(name.startswith("weight.") for name in tensors)
        layers = [(tensors[f"weight.{i}"], tensors[f"bias.{i}"]) for i in range(count)]
        menu = Menu(**{name: tensors[f"menu.{name}"] for name in Menu.__dataclass_fields__})
        response = Response(**{name: tensors[f"response.{name}"].astype(np.float64) for name in Response.__dataclass_fields__})
        low, high = tensors["range.low"], tensors["range.high"]
    except (SafetensorError, KeyError) as error:
        raise AgentError(f"{folder}: {WEIGHTS} lacks a part of an order/keep network ({error})") from error
    if not whole(layers) or not low.shape == high.shape == (layers[0][0].shape[1] - QUESTION,):
        raise AgentError(f"{folder}: {WEIGHTS} holds layers that do not fit together, or that are not of finite numbers")
    constants = {float(load_s): Constants(a, int(b), c, int(d), int(e))
                 for load_s, (a, b, c, d, e) in manifest.constants.items()}
    least_s, most_s = manifest.load_s
    return manifest, Exported(layers, menu, response, low, high, constants, (least_s, most_s), manifest.planner,
                              {float(load_s): level for load_s, level in manifest.calm.items()}, tuple(manifest.planned_s))

"""A network over proposals as files: weights as safetensors, and a manifest that names the proposals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save

from agents.brain import Layers, tensors_of, whole
from agents.manifest import AgentError
from agents.network_folder import NetworkManifest, common, read_folder
from agents.proposals import Proposals
from agents.proposals_features import FEATURES_VERSION
from baselines.weights_folder import WEIGHTS, write_folder
from envs.contract import CONTRACT_VERSION, ReplicaKind, Shape
from envs.scenario import Scenario

KIND = "proposals"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class ProposalsManifest(NetworkManifest):
    """What an exported network over proposals is.

    Attributes:
        kinds: of replicas: variants, [cores, inter_op, intra_op, device], batch, maximum wait (s).
        counts: (M, K) of each proposal.
        mean_rps: of each application in training.
        learning: "reward-trained", "supervised" or "imitation": how it came to decide.
    """

    kinds: list[list[Any]]
    counts: list[list[int]]
    mean_rps: list[float]
    learning: str
    format: int = FORMAT
    features: int = FEATURES_VERSION


class Exported(NamedTuple):
    """All that plays a network.

    Attributes:
        layers: weights (outputs, inputs) and biases (outputs,) of each; M scores and how much a move is minded come out.
        proposals: what it picks among.
        mean_rps: (A,) of each application in training.
        low, high: (F,) range of each feature in training.
        learning: how it came to decide.
    """

    layers: Layers
    proposals: Proposals
    mean_rps: np.ndarray
    low: np.ndarray
    high: np.ndarray
    learning: str


def export(network: Exported, folder: Path, scenario: Scenario, training: Mapping[str, Any]) -> ProposalsManifest:
    """Writes a network's folder."""
    tensors = {name: np.ascontiguousarray(array, np.float32) for name, array in tensors_of(network.layers).items()}
    tensors |= {"range.low": network.low.astype(np.float32), "range.high": network.high.astype(np.float32)}
    weights = save(tensors)
    kinds = [[list(kind.variants), [kind.shape.cores, kind.shape.inter_op, kind.shape.intra_op, kind.shape.device], kind.batch,
              kind.max_wait_s] for kind in network.proposals.kinds]
    manifest = ProposalsManifest(**common(KIND, scenario, weights, training), kinds=kinds,
                                 counts=network.proposals.counts.tolist(), mean_rps=network.mean_rps.tolist(),
                                 learning=network.learning)
    write_folder(folder, weights, manifest)
    return manifest


def read(folder: Path) -> tuple[ProposalsManifest, Exported]:
    """Reads a network's folder and checks its versions and digest.

    Raises:
        AgentError: it is not one, of other versions, or its weights are not those of the manifest.
    """
    versions = FORMAT, CONTRACT_VERSION, FEATURES_VERSION
    manifest, stored = read_folder(folder, ProposalsManifest, versions, "a network over proposals")
    try:
        tensors = load_tensors(stored)
        layers = [(tensors[f"weight.{i}"], tensors[f"bias.{i}"]) for i in range(sum("weight" in name for name in tensors))]
        low, high = tensors["range.low"], tensors["range.high"]
    except (SafetensorError, KeyError) as error:
        raise AgentError(f"{folder}: {WEIGHTS} lacks a part of a network over proposals ({error})") from error
    if not whole(layers) or not low.shape == high.shape == (layers[0][0].shape[1],):
        raise AgentError(f"{folder}: {WEIGHTS} holds layers that do not fit together, or that are not of finite numbers")
    if not all(rate_rps > 0 for rate_rps in manifest.mean_rps):
        raise AgentError(f"{folder}: mean_rps {manifest.mean_rps}: each application's mean rate must be above 0")
    kinds = tuple(ReplicaKind(tuple(variants), Shape(*shape), batch, wait) for variants, shape, batch, wait in manifest.kinds)
    proposals = Proposals(kinds, np.array(manifest.counts, np.int64))
    return manifest, Exported(layers, proposals, np.array(manifest.mean_rps), low, high, manifest.learning)

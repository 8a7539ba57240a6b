"""Folders of networks that say their kind: which kind a folder holds, and its manifest and weights, checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from agents.manifest import AGAIN, AgentError, digest, scenario_digest
from baselines.weights_folder import MANIFEST, WEIGHTS, read_file
from envs.contract import CONTRACT_VERSION
from envs.scenario import Scenario
from envs.versions import refusal


@dataclass(frozen=True, kw_only=True)
class NetworkManifest:
    """What every such manifest says.

    Attributes:
        kind: which tells one kind of agent from others.
        scenario, scenario_digest: what it was trained for, and a digest of what its decisions mean.
        weights_sha256: of the file of weights.
        training: what made it: settings, traces, seed, scores; for people.
        training_sha256: of `training`.
        activation: between layers.
        format, contract, features: versions of the manifest, of the contract, and of what the network sees.
    """

    kind: str
    scenario: str
    scenario_digest: str
    weights_sha256: str
    training: dict[str, Any]
    training_sha256: str
    activation: str = "tanh"
    contract: int = CONTRACT_VERSION
    format: int
    features: int

    @property
    def versions(self) -> tuple[int, int, int]:
        """Of its form, of the contract, and of the features."""
        return self.format, self.contract, self.features


M = TypeVar("M", bound=NetworkManifest)


def common(kind: str, scenario: Scenario, weights: bytes, training: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest says of any network."""
    told = json.loads(json.dumps(dict(training), default=str))
    return {"kind": kind, "scenario": scenario.name, "scenario_digest": scenario_digest(scenario),
            "weights_sha256": hashlib.sha256(weights).hexdigest(), "training": told, "training_sha256": digest(told)}


def kind_of(folder: Path) -> str:
    """The kind that a folder's manifest names, "" where there is none."""
    try:
        return str(json.loads(read_file(folder / MANIFEST))["kind"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return ""


def read_folder(folder: Path, manifest: type[M], versions: tuple[int, int, int], what: str) -> tuple[M, bytes]:
    """The manifest of a folder, and its weights as they are stored.

    Args:
        folder: of an exported network.
        manifest: its class.
        versions: those of here.
        what: it should be, for people.

    Raises:
        AgentError: it is not one, of other versions, or its weights are not those of the manifest.
    """
    try:
        told = json.loads(read_file(folder / MANIFEST))
        for name, here in zip(("format", "contract", "features"), versions, strict=True):
            if other := refusal(f"{what}, {name}", told[name], here, AGAIN):
                raise AgentError(f"{folder}: {other}")
        found = manifest(**told)
        stored = read_file(folder / WEIGHTS)
    except AgentError:
        raise
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise AgentError(f"{folder}: not the folder of {what} ({error})") from error
    sha256 = hashlib.sha256(stored).hexdigest()
    if sha256 != found.weights_sha256:
        raise AgentError(f"{folder}: {WEIGHTS} has sha256 {sha256[:12]}..., its manifest says {found.weights_sha256[:12]}...; "
                         "export the network again")
    return found, stored

"""Folders of networks that say their kind: which kind a folder holds, and its manifest and weights, checked."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Protocol, TypeVar

from agents.manifest import AgentError
from baselines.weights_folder import MANIFEST, WEIGHTS


class NetworkManifest(Protocol):
    """What every such manifest says."""

    @property
    def versions(self) -> tuple[int, int, int]:
        """Of its form, of the contract, and of the features."""

    @property
    def weights_sha256(self) -> str:
        """Of the file of weights."""


M = TypeVar("M", bound=NetworkManifest)


def kind_of(folder: Path) -> str:
    """The kind that a folder's manifest names, "" where there is none."""
    try:
        return str(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["kind"])
    except (OSError, ValueError, TypeError, KeyError):
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
        found = manifest(**json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
        stored = (folder / WEIGHTS).read_bytes()
    except (OSError, ValueError, TypeError) as error:
        raise AgentError(f"{folder}: not the folder of {what} ({error})") from error
    if found.versions != versions:
        raise AgentError(f"{folder}: made for format, contract, features {found.versions}, here {versions}; train and export "
                         "it again")
    sha256 = hashlib.sha256(stored).hexdigest()
    if sha256 != found.weights_sha256:
        raise AgentError(f"{folder}: {WEIGHTS} has sha256 {sha256[:12]}..., its manifest says {found.weights_sha256[:12]}...; "
                         "export the network again")
    return found, stored

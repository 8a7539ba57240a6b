"""A folder of learned weights: the weights, and a manifest that names their sha256."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MANIFEST, WEIGHTS = "manifest.json", "weights.safetensors"


def write_folder(folder: Path, weights: bytes, manifest: DataclassInstance) -> None:
    """Writes both; the manifest goes last, so that a folder with one is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS).write_bytes(weights)
    (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1) + "\n", encoding="utf-8")


def copy_folder(source: Path, target: Path) -> None:
    """Copies an exported policy; its manifest, where it has one, goes last."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir(), key=lambda path: path.name == MANIFEST):
        (target / path.name).write_bytes(path.read_bytes())

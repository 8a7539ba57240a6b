"""A folder of learned weights: the weights, and a manifest that names their sha256.

A folder comes from anywhere, so what is read of it is bounded, and only files are read.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MANIFEST, WEIGHTS = "manifest.json", "weights.safetensors"
LARGEST_BYTES = 256 * 1024**2


def read_file(path: Path) -> bytes:
    """What a file of such a folder holds.

    Raises:
        OSError: it is not there, or no file (a device, a pipe).
        ValueError: it is larger than `LARGEST_BYTES`.
    """
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(f"{path} is no file")
        data = file.read(LARGEST_BYTES + 1)
    if len(data) > LARGEST_BYTES:
        raise ValueError(f"{path} has more than {LARGEST_BYTES} bytes")
    return data


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

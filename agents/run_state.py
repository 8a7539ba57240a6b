"""What a run of our own learners leaves in its folder beside its best agent: its state, to go on from, and its evaluations."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

STATE, EVALUATIONS = "checkpoint.pt", "evaluations.csv"


def save(folder: Path, state: Mapping[str, Any]) -> None:
    """Writes tensors, numbers and texts; never half a file."""
    scratch = folder / f"{STATE}.part"
    torch.save(dict(state), scratch)
    scratch.replace(folder / STATE)


def restore(folder: Path, modules: Mapping[str, Any]) -> dict[str, Any]:
    """The state, after what it has of networks, optimisers and schedules has gone into them.

    Args:
        folder: of the run.
        modules: by name in the state; each has `load_state_dict`.

    Raises:
        ValueError: the folder has no checkpoint of such a run.
    """
    path = folder / STATE
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
        for name, module in modules.items():
            module.load_state_dict(state[name])
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: not a checkpoint of this run ({str(error).splitlines()[0]})") from error
    return state


def evaluations(folder: Path) -> list[dict[str, Any]]:
    """The rows so far, as texts."""
    path = folder / EVALUATIONS
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write_evaluations(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """All rows anew."""
    with (folder / EVALUATIONS).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)

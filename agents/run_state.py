"""What a run of our own learners leaves in its folder beside its best agent: its state, to go on from, and its evaluations."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

STATE, EVALUATIONS = "checkpoint.pt", "evaluations.csv"
PARTS, COUNTED = ("network", "optimiser", "schedule"), ("done", "cpu_s", "best")


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


class Climb(Protocol):
    """A run that climbs a gradient, update after update; it has what `PARTS` and `COUNTED` name, too."""

    folder: Path


def save_climb(run: Climb, rng: np.random.Generator, **more: Any) -> None:
    """Saves all that a climb needs to go on, and more."""
    parts = {name: getattr(run, name).state_dict() for name in PARTS}
    counted = {name: getattr(run, name) for name in COUNTED}
    save(run.folder, {**parts, **counted, "random": rng.bit_generator.state, **more})


def resume_climb(run: Climb, rng: np.random.Generator) -> dict[str, Any]:
    """Puts a run where it was saved; the state, for what more it holds.

    Raises:
        ValueError: the folder has no checkpoint of such a run.
    """
    state = restore(run.folder, {name: getattr(run, name) for name in PARTS})
    for name in COUNTED:
        setattr(run, name, state[name])
    rng.bit_generator.state = state["random"]
    return state


def record(folder: Path, row: Mapping[str, Any]) -> None:
    """Adds an evaluation after those of fewer ``steps``; others are of a run that was ended before it was saved."""
    kept = [one for one in evaluations(folder) if float(one["steps"]) < row["steps"]]
    with (folder / EVALUATIONS).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerows([*kept, row])


def evaluations(folder: Path) -> list[dict[str, Any]]:
    """The rows so far, as texts."""
    path = folder / EVALUATIONS
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))

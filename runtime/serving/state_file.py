"""What a live cluster remembers over its own restart: what is wanted, and which replicas it has started.

One JSON file, replaced whole and on disk before anything that it tells of is done: a number is never given twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envs.contract import ReplicaKind
from runtime.deployment_json import DeploymentError, from_json, kind_from_json, kind_to_json, to_json
from runtime.serving.desired import Desired, Hold, Version
from runtime.serving.reconcile import State

FORMAT = 1


class StateFileError(ValueError):
    """The file is not what a cluster has written; the text names it and says what to do."""


@dataclass(frozen=True)
class Started:
    """A replica that was started, and not known to be gone."""

    number: int
    kind: ReplicaKind
    state: State
    started_s: float


@dataclass(frozen=True)
class Remembered:
    """All that is kept.

    Attributes:
        desired: what is wanted.
        next_number: of the next replica.
        replicas: those that were there.
    """

    desired: Desired
    next_number: int
    replicas: tuple[Started, ...]


def write(path: Path, remembered: Remembered) -> None:
    """Replaces the file; after a crash at any point it is the old one or the new one.

    Raises:
        OSError: it cannot be written; the old one is still there.
    """
    new = path.with_name(path.name + ".new")
    with new.open("w", encoding="utf-8") as file:
        json.dump(_to_json(remembered), file)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read(path: Path) -> Remembered | None:
    """What was remembered; None where nothing was.

    Raises:
        StateFileError: the file is of something else, or of another format.
    """
    try:
        return _from_json(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, DeploymentError) as error:
        raise StateFileError(f"{path}: not the state of a cluster, format {FORMAT} ({error}); "
                             "end the workers that still run, and move the file away") from error


def _to_json(remembered: Remembered) -> dict[str, Any]:
    desired = remembered.desired
    return {
        "format": FORMAT,
        "versions": [{"number": v.number, "deployment": to_json(v.deployment), "decision_id": v.decision_id}
                     for v in desired.versions],
        "pin": desired.pin and vars(desired.pin),
        "pause": desired.pause and vars(desired.pause),
        "next_number": remembered.next_number,
        "replicas": [{**vars(r), "kind": kind_to_json(r.kind)} for r in remembered.replicas],
    }


def _from_json(value: Mapping[str, Any]) -> Remembered:
    if value["format"] != FORMAT:
        raise ValueError(f"format {value['format']}")
    versions = tuple(Version(v["number"], from_json(v["deployment"]), v["decision_id"]) for v in value["versions"])
    if not versions:
        raise ValueError("no version")
    pin, pause = (Hold(**value[name]) if value[name] else None for name in ("pin", "pause"))
    replicas: Sequence[Started] = [Started(**{**r, "kind": kind_from_json(r["kind"])}) for r in value["replicas"]]
    return Remembered(Desired(versions, pin, pause), int(value["next_number"]), tuple(replicas))

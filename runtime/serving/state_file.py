"""What a live cluster remembers over its own restart: what is wanted, which replicas it has started, and where they run.

One JSON file, replaced whole and on disk before anything that it tells of is done: a number is never given twice. It holds the
token that the workers know their cluster by, so nobody else may read it.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envs.contract import Deployment, ReplicaKind
from envs.versions import refusal
from runtime.account import Grounds
from runtime.deployment_json import from_json, kind_from_json, kind_to_json, to_json
from runtime.serving.desired import Desired, Hold, Version
from runtime.serving.reconcile import State

FORMAT = 2
WAY_OUT = "end the workers that still run, and move the file away"


class StateFileError(ValueError):
    """The file is not what a cluster has written; the text names it and says what to do."""


@dataclass(frozen=True)
class Started:
    """A replica that was started, and not known to be gone.

    Attributes:
        whereabouts: see `runtime.serving.replica.Replica`.
    """

    number: int
    kind: ReplicaKind
    state: State
    started_s: float
    whereabouts: Mapping[str, Any] = field(default_factory=dict)


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


class StateFile:
    """The file of one cluster, for one process at a time.

    Args:
        path: of the file; a file beside it is locked.

    Attributes:
        remembered: what an earlier process has left; None where there was none.
        token: that workers know their cluster by; the same over restarts.

    Raises:
        StateFileError: the file is of something else, or of another format, or another process has it.
        OSError: the folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = _lock(path)
        try:
            found = _read(path)
        except StateFileError:
            self.close()
            raise
        self.remembered: Remembered | None
        self.remembered, self.token = found or (None, secrets.token_hex(16))

    def write(self, remembered: Remembered) -> None:
        """Replaces the file; after a crash at any point it is the old one or the new one.

        Raises:
            OSError: it cannot be written; the old one is still there.
        """
        new = self._path.with_name(self._path.name + ".new")
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(json.dumps({**_to_json(remembered), "token": self.token}))  # `dump` takes six times as long
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        """Another process may have it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def wanted(path: Path) -> Deployment | None:
    """The deployment that the process of a state file wants, also while it runs; None: there is no file.

    Raises:
        StateFileError: the file is of something else, or of another format.
    """
    found = _read(path)
    return found[0].desired.current.deployment if found else None


def _read(path: Path) -> tuple[Remembered, str] | None:
    """What is remembered, and the token; None: there is no file."""
    try:
        value = _migrated(json.loads(path.read_text(encoding="utf-8")))
        if other := refusal("format", value["format"], FORMAT, WAY_OUT):
            raise StateFileError(f"{path}: the state of a cluster, {other}")
        return _from_json(value), str(value["token"])
    except FileNotFoundError:
        return None
    except StateFileError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StateFileError(f"{path}: not the state of a cluster, format {FORMAT} ({error}); {WAY_OUT}") from error


def _lock(path: Path) -> int:
    """The kernel frees it when its holder dies."""
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise StateFileError(f"{path}: another cluster process uses it; end that one, or use another file") from None
    return lock


def _to_json(remembered: Remembered) -> dict[str, Any]:
    desired = remembered.desired
    return {
        "format": FORMAT,
        "versions": [{"number": v.number, "deployment": to_json(v.deployment), "decision_id": v.decision_id,
                      "grounds": vars(v.grounds)} for v in desired.versions],
        "pin": desired.pin and vars(desired.pin),
        "pause": desired.pause and vars(desired.pause),
        "next_number": remembered.next_number,
        "replicas": [{**vars(r), "kind": kind_to_json(r.kind)} for r in remembered.replicas],
    }


def _migrated(value: Any) -> Any:
    """Format 1 knew no workers that outlive their cluster process: what is wanted stays, its replicas were gone with it."""
    return {**value, "format": FORMAT, "replicas": [], "token": secrets.token_hex(16)} if value["format"] == 1 else value


def _from_json(value: Mapping[str, Any]) -> Remembered:
    versions = tuple(Version(v["number"], from_json(v["deployment"]), v["decision_id"], _grounds(v.get("grounds", {})))
                     for v in value["versions"])
    if not versions:
        raise ValueError("no version")
    pin, pause = (Hold(**value[name]) if value[name] else None for name in ("pin", "pause"))
    replicas: Sequence[Started] = [Started(**{**r, "kind": kind_from_json(r["kind"])}) for r in value["replicas"]]
    return Remembered(Desired(versions, pin, pause), int(value["next_number"]), tuple(replicas))


def _grounds(value: Mapping[str, Any]) -> Grounds:
    return Grounds(**{**value, "bounds": tuple(value.get("bounds", ()))})

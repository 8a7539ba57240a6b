"""What replicas of worker processes are made of: processes and who starts them, what runs in them, and how they are met."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from envs.contract import ReplicaKind
from runtime.serving.gpu_shares import GpuShares
from runtime.serving.job import Job
from runtime.worlds import WorldManager


class Process(Protocol):
    """A worker's process."""

    @property
    def trace(self) -> Mapping[str, Any]:
        """What its launcher finds it by after a restart of the cluster process, as JSON."""

    def kill(self) -> None: ...
    def gone(self, timeout_s: float) -> bool: ...


class Launcher(Protocol):
    """Runs workers: on this machine, or elsewhere.

    Attributes:
        host: the address at which they reach the cluster process.
    """

    host: str

    def start(self, job: Job) -> Process:
        """A process that does this job."""

    def find(self, trace: Mapping[str, Any]) -> Process | None:
        """The process of that trace, started by an earlier cluster process; None where it has ended."""

    def close(self) -> None:
        """Has no more to do with them."""


@dataclass(frozen=True)
class Part:
    """One worker of a replica: its process, and where its worlds manager listens."""

    process: Process
    address: str


@dataclass(frozen=True)
class Models:
    """What runs for the variants of a scenario.

    Attributes:
        descriptions: by variant, see `runtime.models.catalogue`.
        device: where they run, as torch calls it; ``cuda`` alone: each worker on a GPU that is chosen for it.
        dtype: of weights.
    """

    descriptions: dict[str, str]
    device: str = "cpu"
    dtype: str = "float32"

    def of(self, kind: ReplicaKind) -> list[str]:
        """What the workers of a kind are started with, as one can compare it."""
        return [self.device, self.dtype, *(f"{variant}: {self.descriptions[variant]}" for variant in kind.variants)]


@dataclass(frozen=True)
class Crew:
    """What all replicas of worker processes share.

    Attributes:
        models: what variants are.
        manager: of the cluster process' worlds.
        token: of all worlds.
        launcher: runs the workers.
        patience_s: how long workers wait for the next cluster process.
        remember: has the cluster write down where its workers are, before they do anything.
        gpus: chooses GPUs; None: they have none, or none to choose, or their launcher does.
    """

    models: Models
    manager: WorldManager
    token: str
    launcher: Launcher
    patience_s: float = 0.0
    remember: Callable[[], None] = lambda: None
    gpus: GpuShares | None = None

"""What a worker is started for."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.models.model import Placement


@dataclass(frozen=True)
class Job:
    """What a worker is started for.

    Attributes:
        replica: its number in the cluster.
        models: variant and description (`runtime.models.catalogue`) of each model that it hosts.
        placement: which part of them, where.
        batch: largest batch.
        servers: batches computed at the same time.
        cluster: address of the cluster process' worlds manager.
        token: of all worlds.
        patience_s: how long it waits, where the cluster process has ended suddenly, to be asked back by the next one.
        backend: of worlds that carry tensors between workers.
    """

    replica: int
    models: tuple[tuple[str, str], ...]
    placement: Placement
    batch: int
    servers: int
    cluster: str
    token: str
    patience_s: float = 0.0
    backend: str = "gloo"

    @property
    def name(self) -> str:
        """Of this worker, and of its home."""
        return home_name(self.replica, self.placement)


def home_name(replica: int, placement: Placement) -> str:
    """Of the world of a worker and the cluster process."""
    return f"replica {replica} stage {placement.stage} rank {placement.rank}"

"""What replicas are there, and what they hold: the numbers of the metric contract that follow from their lives.

Whole nanoseconds, summed as the simulator sums them (`docs/simulator.md`, Cost and time in state).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from envs.contract import ReplicaKind
from envs.rules import nanoseconds
from runtime.serving.reconcile import State


@dataclass(eq=False)
class _Life:
    kind: ReplicaKind
    state: State
    started_s: float
    held_from_s: float


class Census:
    """The lives of all replicas, by number. All times are by the cluster's clock, and never fall.

    Attributes:
        cold_start_s: how long the last load of each kind took that was seen.
    """

    def __init__(self) -> None:
        self._lives: dict[int, _Life] = {}
        self._held_ns: Counter[ReplicaKind] = Counter()
        self.cold_start_s: dict[ReplicaKind, float] = {}

    def started(self, number: int, kind: ReplicaKind, started_s: float, t_s: float) -> None:
        """A replica is pending, since `started_s`, and from now on holds its resources."""
        self._lives[number] = _Life(kind, "pending", started_s, t_s)

    def ready(self, number: int, cold_start_s: float | None) -> None:
        """It is ready; how long its load took, where that was seen."""
        life = self._lives[number]
        life.state = "ready"
        if cold_start_s is not None:
            self.cold_start_s[life.kind] = cold_start_s

    def resized(self, number: int, kind: ReplicaKind, t_s: float) -> None:
        """It is of another kind from now on."""
        life = self._lives[number]
        self._account(life, t_s)
        life.kind = kind

    def leaves(self, number: int, state: State) -> None:
        """It is wanted no longer, or lost: draining or failed. It holds its resources until it is gone."""
        self._lives[number].state = state

    def gone(self, number: int, t_s: float) -> None:
        """It has given its resources back."""
        self._account(self._lives[number], t_s)
        del self._lives[number]

    def count(self, state: State) -> Counter[ReplicaKind]:
        """Replicas in a state, by kind."""
        return Counter(life.kind for life in self._lives.values() if life.state == state)

    def pending_since_s(self) -> dict[ReplicaKind, list[float]]:
        """When the replicas that are pending were started, by kind, the oldest first."""
        since: dict[ReplicaKind, list[float]] = {}
        for life in self._lives.values():
            if life.state == "pending":
                since.setdefault(life.kind, []).append(life.started_s)
        return {kind: sorted(times) for kind, times in since.items()}

    def held_ns(self, t_s: float) -> Counter[ReplicaKind]:
        """Nanoseconds that replicas of each kind have held their resources, up to now."""
        for life in self._lives.values():
            self._account(life, t_s)
        return self._held_ns.copy()

    def _account(self, life: _Life, t_s: float) -> None:
        self._held_ns[life.kind] += nanoseconds(t_s - life.held_from_s)
        life.held_from_s = t_s

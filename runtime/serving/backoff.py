"""How long a kind whose replicas never become ready waits before the next try: Kubernetes' CrashLoopBackOff."""

from __future__ import annotations

from envs.contract import ReplicaKind

FIRST_S = 1.0
LONGEST_S = 60.0


class Backoff:
    """Counts, by kind, the loads that failed in a row. The first failure costs no wait, each further one twice as long."""

    def __init__(self) -> None:
        self._failed: dict[ReplicaKind, tuple[int, float]] = {}  # how many, and when the last one did

    def failed(self, kind: ReplicaKind, began_s: float, t_s: float) -> None:
        """A load has failed. Those that were under way at the same time count as one."""
        count, last_s = self._failed.get(kind, (0, began_s))
        if began_s >= last_s:
            self._failed[kind] = count + 1, t_s

    def succeeded(self, kind: ReplicaKind) -> None:
        """A replica became ready."""
        self._failed.pop(kind, None)

    def failures(self, kind: ReplicaKind) -> int:
        """Loads that failed in a row."""
        return self._failed.get(kind, (0, 0.0))[0]

    def wait_s(self, kind: ReplicaKind) -> float:
        """How long the next replica of a kind waits before it loads, seconds."""
        further = self.failures(kind) - 2
        return min(LONGEST_S, FIRST_S * 2.0 ** min(further, 32)) if further >= 0 else 0.0

"""Which GPU of this machine each worker runs on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


class GpuShares:
    """Workers on each GPU.

    Args:
        count: of GPUs.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ValueError("no GPU here; give `device: cpu`")
        self._workers = Counter({index: 0 for index in range(count)})

    def take(self, workers: int) -> tuple[int, ...]:
        """A GPU for each worker of a replica: always the one with the fewest workers, the first of those."""
        taken = []
        for _ in range(workers):
            taken.append(min(self._workers, key=lambda index: (self._workers[index], index)))
            self._workers[taken[-1]] += 1
        return tuple(taken)

    def hold(self, taken: Iterable[int]) -> None:
        """These are taken already, by workers that an earlier process has started."""
        self._workers.update(taken)

    def give_back(self, taken: Iterable[int]) -> None:
        """Their workers are gone."""
        self._workers.subtract(taken)

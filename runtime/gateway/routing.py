"""Routes of one service: smooth weighted round robin, and new routes that wait until all their kinds are ready."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from runtime.gateway.kinds import Kind


@dataclass(eq=False)
class Entry:
    """The share of a service's requests for one variant on one kind."""

    kind: Kind
    variant: str
    share: float
    credit: float = 0.0


class Routes:
    """Of one service.

    Args:
        variant_order: entries of one kind are in this order.
    """

    def __init__(self, variant_order: Mapping[str, int]) -> None:
        self._order = variant_order
        self._in_force: list[Entry] = []
        self._waiting: list[Entry] | None = None

    def want(self, shares: Mapping[tuple[Kind, str], float] | None) -> None:
        """New routes, which wait for their kinds; None: no routes, at once."""
        if shares is None:
            self._in_force, self._waiting = [], None
            return
        entries = [Entry(kind, variant, share) for (kind, variant), share in shares.items() if share > 0]
        self._waiting = sorted(entries, key=lambda e: (e.kind.index, self._order[e.variant]))

    def review(self) -> None:
        """Brings what waits into force where all its kinds are ready; routes that stay the same keep their credits."""
        if self._waiting is None or not all(entry.kind.ready for entry in self._waiting):
            return
        if _said(self._waiting) != _said(self._in_force):
            self._in_force = self._waiting
        self._waiting = None

    def pick(self, is_open: Callable[[Kind], bool]) -> Entry | None:
        """Whose turn it is among the entries on open kinds; None where there is none."""
        if not self._in_force:
            return None
        entries = [entry for entry in self._in_force if is_open(entry.kind)]
        if not entries:
            return None
        total = 0.0
        for entry in entries:
            entry.credit += entry.share
            total += entry.share
        best = max(entries, key=lambda e: e.credit)
        best.credit -= total
        return best


def _said(entries: list[Entry]) -> list[tuple[Kind, str, float]]:
    return [(entry.kind, entry.variant, entry.share) for entry in entries]

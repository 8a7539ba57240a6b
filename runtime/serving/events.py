"""What happened to the replicas and the deployment, for people: a log that keeps the newest events."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from itertools import count

from envs.contract import ReplicaKind
from runtime.serving.desired import Version

EVENTS_KEPT = 10_000

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    Attributes:
        number: counts all events, from 1.
        t_s: when, by the cluster's clock.
        what: one word or two: "pending", "ready", "draining", "failed", "gone", "deployment", ...
        why: in one line.
        replica: its number, where it is about one.
        kind: its kind.
        version: that was made, where the deployment changed.
    """

    number: int
    t_s: float
    what: str
    why: str
    replica: int | None = None
    kind: ReplicaKind | None = None
    version: Version | None = None


class EventLog:
    """Keeps the newest `EVENTS_KEPT` events; all of them also go to the log of the process."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._numbers = count(1)

    def add(self, t_s: float, what: str, why: str, replica: int | None = None, kind: ReplicaKind | None = None,
            version: Version | None = None) -> None:
        """Something happened."""
        self._events.append(Event(next(self._numbers), t_s, what, why, replica, kind, version))
        about = f"replica {replica}, {kind}, " if replica is not None else ""
        log.info("%s%s: %s%s", about, what, why, f" ({said})" if version and (said := str(version.grounds)) else "")

    def after(self, number: int = 0) -> list[Event]:
        """Events with a higher number, the oldest first."""
        return [event for event in self._events if event.number > number]

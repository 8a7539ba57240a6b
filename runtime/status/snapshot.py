"""What a cluster tells of itself at one time, by its control API."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from runtime.control_reader import ControlReader

EVENTS = 30  # the newest that are kept


@dataclass(frozen=True)
class Snapshot:
    """Answers of the control API, as openapi.yaml describes them.

    Attributes:
        control: its address.
        error: why it cannot be read, or nothing; then all else is empty.
        ready: each service has a ready replica.
        version, decision_id: of the deployment that is wanted.
        scenario: SLOs, interval and budgets.
        observation: what a policy would see now; missing numbers are None.
        replicas: all that are not gone.
        settled: those that are wanted are ready, and no others are left.
        pin, pause: what holds changes back, or None.
        events: the newest, the oldest of them first.
    """

    control: str
    error: str = ""
    ready: bool = False
    version: str = ""
    decision_id: str = ""
    scenario: dict[str, Any] = field(default_factory=dict)
    observation: dict[str, Any] = field(default_factory=dict)
    replicas: list[dict[str, Any]] = field(default_factory=list)
    settled: bool = False
    pin: dict[str, Any] | None = None
    pause: dict[str, Any] | None = None
    events: list[dict[str, Any]] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        """As plain values."""
        return {"reachable": not self.error, **asdict(self)}


class Watcher:
    """Takes snapshots, one after the other; of events only the new ones are asked for.

    Args:
        control: is asked.
    """

    def __init__(self, control: ControlReader) -> None:
        self._control = control
        self._events: list[dict[str, Any]] = []

    def look(self) -> Snapshot:
        """The present state; never raises for a cluster that cannot be reached."""
        ask = self._control.get
        try:
            in_force, there = ask("/v1/deployment"), ask("/v1/replicas")
            self._take_events()
            return Snapshot(
                self._control.url, "", self._control.ask("/readyz")[0] == 200, in_force["version"], in_force["decision_id"],
                ask("/v1/scenario"), ask("/v1/observation"), there["replicas"], there["settled"], there["pin"], there["pause"],
                self._events)  # fmt: skip
        except KeyError as error:
            return Snapshot(self._control.url, f"{self._control.url}: not an answer of this version's control API, no {error}")
        except (OSError, ValueError) as error:
            self._events = []  # it may have been restarted, and count anew
            return Snapshot(self._control.url, str(error))

    def _take_events(self) -> None:
        while new := self._control.get(f"/v1/events?after={self._events[-1]['number'] if self._events else 0}")["events"]:
            self._events = [*self._events, *new][-EVENTS:]

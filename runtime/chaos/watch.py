"""What is seen of a live system from outside during a trial: what the cluster remembers on disk, and its events."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from envs.contract import ReplicaKind
from envs.scenario import Scenario
from runtime.chaos import ray_nodes
from runtime.chaos.history import Held, Look, Version
from runtime.control_reader import ControlReader
from runtime.deployment_json import from_json, kind_from_json

LOOK_S, CONTROL_S = 0.1, 1.0


class Watch(threading.Thread):
    """Looks on until it is ended.

    Args:
        scenario: the problem.
        state: file in which the cluster remembers.
        control: URL of its control API.
        serving: tells whether it is up, and was not told to end.
        on_ray: worker processes are started by Ray.

    Attributes:
        looks, versions: see `History`.
        events: rows of the control API, of all lives of the cluster; those that a death took along are not known.
        settled: whether all that was wanted was ready at the last look, as the cluster says.
    """

    def __init__(self, scenario: Scenario, state: Path, control: str, serving: Callable[[], bool],
                 on_ray: bool) -> None:
        super().__init__(daemon=True)
        self._scenario, self._state, self._control, self._serving = scenario, state, control, serving
        self._on_ray = on_ray
        self._over = threading.Event()
        self.looks: list[Look] = []
        self.versions: dict[tuple[int, str], Version] = {}
        self.events: list[dict[str, Any]] = []
        self.settled = False
        self._newest = 0

    def run(self) -> None:
        """See `threading.Thread`."""
        while not self._over.wait(LOOK_S):
            self.look()
            try:
                self._ask()
            except OSError:
                self.settled = False

    def end(self) -> None:
        """Looks no more."""
        self._over.set()
        self.join()

    def replicas(self) -> tuple[Held, ...]:
        """Those that are remembered now."""
        self.look()
        return self.looks[-1].replicas if self.looks else ()

    def look(self) -> None:
        """What is on disk now. The file is replaced whole, so it can be read at any time."""
        at_s, serving, value = time.time(), self._serving(), json.loads(self._state.read_text(encoding="utf-8"))
        for row in value["versions"]:
            key = row["number"], row["decision_id"]
            if key not in self.versions:
                self.versions[key] = Version(row["number"], from_json(row["deployment"]), row["decision_id"])
        on_ray = ray_nodes.workers() if self._on_ray else {}
        self.looks.append(Look(at_s, tuple(self._held(row, on_ray) for row in value["replicas"]), serving,
                               self._scenario.levels(self.versions[key].deployment)))

    def _held(self, row: dict[str, Any], on_ray: Mapping[str, tuple[int, int]]) -> Held:
        kind, parts = kind_from_json(row["kind"]), row["whereabouts"].get("parts", [])
        traces = [part["process"] for part in parts]
        if self._on_ray:  # which does not say; the list of processes does
            processes = tuple(on_ray[trace["actor"]] for trace in traces if trace["actor"] in on_ray)
        else:
            processes = tuple((trace["pid"], trace["started_ticks"]) for trace in traces)
        return Held(row["number"], row["state"], row["started_s"], kind.shape.units, self._candidate(kind), processes)

    def _candidate(self, kind: ReplicaKind) -> int:
        return next(i for i, candidate in enumerate(self._scenario.candidates) if kind in candidate.kinds)

    def _ask(self) -> None:
        reader = ControlReader(self._control, timeout_s=CONTROL_S)
        with contextlib.closing(reader):
            self.settled = reader.get("/v1/replicas")["settled"]
            found = reader.get(f"/v1/events?after={self._newest}")["events"]
            if not found and self._newest and not reader.get(f"/v1/events?after={self._newest - 1}")["events"]:
                self._newest = 0  # another process, that counts from the beginning
                return
            self.events += found
            if found:
                self._newest = found[-1]["number"]

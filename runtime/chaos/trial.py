"""One trial: a live system under load, the faults of its seed, and what became of it all."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from runtime.autoscaler.journal import Record, newest_first
from runtime.chaos import clients, problem, ray_nodes
from runtime.chaos.faults import Fault, drawn, on_ray, with_workers
from runtime.chaos.harm import NobodyThere, Undo, do
from runtime.chaos.history import Begun, History, Intent
from runtime.chaos.invariants import broken
from runtime.chaos.outcome import Met, figures, outcome
from runtime.chaos.system import System
from runtime.chaos.watch import Watch
from runtime.chaos.wishes import SEED
from runtime.demo.processes import Processes, interruptible
from runtime.deployment_json import from_json

TURN_S = 0.02
START_S = 3.0  # of the clients' process
WAIT_S = 3.0  # for somebody to be there whom a fault can hit: a worker that loads, say
SETTLED_S, LEFT_S, CLIENTS_S = 60.0, 30.0, 30.0
"""How long after the faults replicas may take to be ready, processes to be gone, and clients to end after their patience."""


def play(folder: Path, seed: int, seconds: float) -> dict[str, Any]:
    """Plays it in a folder, of which nothing is kept; what became of it, as values that JSON has.

    Raises:
        ProcessFailed: the system did not come up.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    written = problem.write(folder, with_workers(seed))
    environment, ray = {SEED: str(seed), problem.NOTES: str(written.notes)}, on_ray(seed) and ray_nodes.there()
    with (interruptible(), tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as short,
          contextlib.closing(Processes(folder, environment | ray_nodes.environment(Path(short)))) as processes):
        system = System(processes, written, folder, ray)
        system.start()
        watch = Watch(written.scenario, system.state, system.control, lambda: system.parts["cluster"].up, ray)
        watch.start()
        _until(lambda: watch.settled, SETTLED_S)
        met, began_s = _under_load(processes, system, watch, folder, seed, seconds)
        system.end("autoscaler 1", "autoscaler 2", "adviser")
        settled = _until(lambda: watch.settled, SETTLED_S, system.tend)
        watch.end()
        system.end(*reversed(system.parts))
        _until(lambda: not processes.left(), LEFT_S)
        left = tuple(processes.left().values())
    asked = clients.from_json(json.loads((folder / "asked.json").read_text(encoding="utf-8")))
    history = History(
        written.scenario, problem.LIMITS, asked, watch.looks, list(watch.versions.values()), _intents(system.journal),
        frozenset(intent.decision_id for intent in _intents(system.advice)), _begun(written.notes),
        not any("disk full" in one.fault.name for one in met), settled, left)
    return {
        "seed": seed, "seconds": seconds, "replicas": "on Ray" if ray else "workers" if with_workers(seed) else "emulated",
        "began_s": began_s, "broken": broken(history), **figures(asked),
        "faults": [outcome(one, met, history, watch.events, _decided(system.journal)) for one in met],
    }  # fmt: skip


def _under_load(processes: Processes, system: System, watch: Watch, folder: Path, seed: int,
                seconds: float) -> tuple[list[Met], float]:
    """The time of the load: faults begin and end when they are due, what ends is started again."""
    address, begin_s = urlsplit(system.gateway), time.time() + START_S
    command = [sys.executable, "-P", clients.__file__, str(address.hostname), str(address.port), str(seed), str(seconds),
               str(begin_s), str(folder / "asked.json")]
    asking = processes.start("clients", command, "clients")
    doing = _Doing(system, watch, drawn(seed, seconds), begin_s)
    try:
        if not _until(lambda: asking.ended, seconds + clients.patience_s(seed) + CLIENTS_S, doing.turn):
            raise asking.failed("did not end")
    finally:
        doing.end()
    if asking.process.returncode:
        raise asking.failed(f"ended with code {asking.process.returncode}")
    return doing.met, begin_s


class _Doing:
    """Does what is due."""

    def __init__(self, system: System, watch: Watch, faults: list[Fault], begin_s: float) -> None:
        self._system, self._watch, self._to_come, self._begin_s = system, watch, faults, begin_s
        self._to_undo: list[tuple[float, Undo]] = []
        self.met: list[Met] = []

    def turn(self) -> None:
        """To be called all the time."""
        now_s = time.time()
        for due in [one for one in self._to_undo if one[0] <= now_s]:
            self._to_undo.remove(due)
            due[1]()
        for fault in [one for one in self._to_come if self._begin_s + one.at_s <= now_s]:
            if self._done(fault) or now_s > self._begin_s + fault.at_s + WAIT_S:
                self._to_come.remove(fault)
        self._system.tend()

    def _done(self, fault: Fault) -> bool:
        at_s = time.time()
        try:
            whom, undo = do(fault, self._system, self._watch)
        except NobodyThere:
            return False
        self.met.append(Met(fault, at_s, whom))
        self._to_undo.append((at_s + fault.for_s, undo))
        return True

    def end(self) -> None:
        """Undoes what is left to undo."""
        for _, undo in self._to_undo:
            undo()
        self._to_undo.clear()


def _until(true: Callable[[], bool], timeout_s: float, meanwhile: Callable[[], None] = lambda: None) -> bool:
    """Whether it came true in time."""
    until_s = time.monotonic() + timeout_s
    while not (found := true()) and time.monotonic() < until_s:
        meanwhile()
        time.sleep(TURN_S)
    return found


# ---- reading what was left behind

def _oldest_first(journal: Path) -> list[Record]:
    return list(newest_first(journal))[::-1]


def _intents(journal: Path) -> list[Intent]:
    """The decisions that were to be carried out."""
    records = _oldest_first(journal)
    status = {r["decision_id"]: r["status"] for r in records if r["type"] == "outcome"}
    return [Intent(r["decision_id"], r["t_s"], from_json(r["observation"]["deployment"]), from_json(r["deployment"]),
                   status.get(r["decision_id"], "")) for r in records if r["type"] == "intent" and r["acts"]]


def _decided(journal: Path) -> list[float]:
    """When decisions were made."""
    return [record["at_s"] for record in _oldest_first(journal) if record["type"] == "intent"]


def _begun(notes: Path) -> list[Begun]:
    rows = (line.split() for line in notes.read_text(encoding="utf-8").splitlines())
    return [Begun(int(pid), float(at_s), tuple(map(int, numbers))) for pid, at_s, *numbers in rows]

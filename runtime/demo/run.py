"""The demonstration itself: measure, serve, scale, load, kill a worker, and see what becomes of it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from runtime.autoscaler.journal import newest_first
from runtime.control_reader import ControlReader
from runtime.demo import problem, timings, tuning
from runtime.demo.processes import Processes, Running, interruptible
from runtime.demo.record import Kill, Made, Moment, Record, decisions_of, moment_of, replacement_of
from runtime.sources.scrape import Scraper
from runtime.sources.source import PagedSource

POLICY: str | None = None  # a name that `tidal autoscale` knows, such as a pretrained agent's; None: the band, tuned here
KILL_AT = 0.55  # of the time; later, where only one replica is ready then, or others come and go
KILL_AT_LATEST = 0.8
SETTLED_S, REPLACED_S = 60.0, 20.0
PATIENCE_S = 20.0  # with a machine that is starting processes on all of its cores
PROMETHEUS = "prometheus"
PROMETHEUS_CONFIG = """\
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - {{job_name: tidal, static_configs: [{{targets: ["{target}"]}}]}}
"""


class Show(Protocol):
    """Whoever watches."""

    def say(self, text: str) -> None:
        """What is done now, in a line."""

    def event(self, t_s: float, text: str) -> None:
        """What happened, seconds after the load began."""

    def moment(self, moment: Moment) -> None:
        """What was seen in the last second."""


class Demo:
    """One run.

    Args:
        folder: for all that it writes; what an earlier run has left there is replaced.
        seconds: of load.
        show: is told what happens.
    """

    def __init__(self, folder: Path, seconds: int, show: Show) -> None:
        self._folder, self._seconds, self._show = folder, seconds, show
        self._journal, self._state = folder / "journal", folder / "state.json"
        self._load: dict[str, Path] = {name: folder / f"requests.{name}" for name in ("json", "csv")}
        self._events: list[dict[str, Any]] = []
        self._kill: Kill | None = None

    def run(self) -> Record:
        """Runs it to its end; no process of it is left, however it ends.

        Raises:
            ProcessFailed: one of the processes did not come up, or ended by itself.
            OSError: another run uses the folder, something cannot be written, or no longer be reached.
        """
        with interruptible(), self._alone():
            self._prepare()
            with contextlib.closing(Processes(self._folder)) as self._processes:
                return self._with_processes()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else writes into the folder meanwhile."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BlockingIOError(f"another live run writes into {self._folder}: wait until it ends") from None
            yield

    def _prepare(self) -> None:
        """Times the models, and writes the problem."""
        shutil.rmtree(self._journal, ignore_errors=True)
        for file in (*self._load.values(), self._state):
            file.unlink(missing_ok=True)
        self._show.say(f"timing {', '.join(problem.MODELS)} on this machine, {problem.CORES} cores busy")
        timed = timings.measure(problem.MODELS, problem.CORES)
        self._problem = problem.write(self._folder, timed, self._seconds)
        self._show.say("  " + ", ".join(f"{name} {1e3 * t.latency_s:.0f} ms" for name, t in timed.items())
                       + f" a picture, so the SLO is {1e3 * self._slo_s:.0f} ms; weights are drawn, accuracies as published")
        self._show.say(f"load: {self._problem.load}")
        self._settings = tuning.tune(self._problem.scenario, self._problem.others)
        self._show.say(f"{', '.join(self._settings)}: settings chosen in the simulator, {tuning.PLAYS} plays each of "
                       f"{len(self._problem.others)} other stretches of that trace")

    @property
    def _slo_s(self) -> float:
        return self._problem.scenario.services[problem.SERVICE].slo_s

    def _with_processes(self) -> Record:
        serve = self._processes.tidal("serve", "serve", "--scenario", self._problem.path, "--models", self._problem.models,
                                      "--gateway", "127.0.0.1:0", "--control", "127.0.0.1:0", "--state", self._state)
        gateway, control = serve.waits_for(r"requests (\S+), control (\S+)").groups()
        self._show.say(f"gateway {gateway}, control API {control} (tidal status --control {control})")
        self._control = ControlReader(control, timeout_s=PATIENCE_S)
        self._settles()
        source = self._source(gateway)
        scaler = self._processes.tidal("autoscale", "autoscale", "--scenario", self._problem.path, "--policy", self._policy(),
                                       *source, "--actuator", "cluster", "--control", control, "--journal", self._journal,
                                       "--limits", self._problem.limits)
        scaler.waits_for(r"every \S+ s, act")
        sees = "a real Prometheus" if PROMETHEUS in source else "the gateway's metrics (there is no prometheus binary here)"
        self._show.say(f"policy {POLICY or tuning.BAND}; it sees {sees}")
        replay = self._processes.tidal("replay", "replay", "--url", gateway, "--scenario", self._problem.path,
                                       "--seconds", str(self._seconds),
                                       "--json", self._load["json"], "--csv", self._load["csv"])
        replay.waits_for(r"requests in")
        self._began_s = time.time()
        moments = list(self._watch(gateway, replay))
        self._until(lambda: not self._unreplaced(), REPLACED_S)
        return self._recorded(moments, source[1])

    def _policy(self) -> str:
        """What `tidal autoscale` is given."""
        folder = self._folder / "policy"
        tuning.write_policy(folder, self._problem.scenario, tuning.BAND, self._settings, self._problem.load)
        return POLICY or str(folder)

    def _settles(self) -> None:
        if not self._until(lambda: self._control.get("/v1/replicas")["settled"], SETTLED_S):
            raise TimeoutError(f"the first replica was not ready within {SETTLED_S:g} s; see {self._folder}/serve.log")

    def _source(self, gateway: str) -> tuple[str, ...]:
        """Options of the autoscaler; starts a Prometheus where there is one."""
        binary = shutil.which(PROMETHEUS)
        if binary is None:
            return "--source", "scrape", "--url", f"{gateway}/metrics"
        config, data = self._folder / "prometheus.yml", self._folder / "prometheus"
        config.write_text(PROMETHEUS_CONFIG.format(target=gateway.removeprefix("http://")), encoding="utf-8")
        shutil.rmtree(data, ignore_errors=True)
        command = [binary, f"--config.file={config}", f"--storage.tsdb.path={data}", "--web.listen-address=127.0.0.1:0"]
        server = self._processes.start(PROMETHEUS, command, " ".join(command))
        address = server.waits_for(r'"Listening on" address=(\S+)').group(1)
        server.waits_for("ready to receive web requests")
        return "--source", PROMETHEUS, "--url", f"http://{address}"

    def _watch(self, gateway: str, replay: Running) -> Iterator[Moment]:
        """Each second until the load is over: look, tell, and once kill a worker."""
        scraper = Scraper([f"{gateway}/metrics"])
        source = PagedSource(self._problem.scenario, scraper, 1.0)
        with contextlib.closing(scraper):
            due_s = self._began_s
            while not replay.ended:
                due_s = max(due_s + 1.0, time.time())
                time.sleep(max(0.0, due_s - time.time()))
                self._processes.check_all_but(replay)
                self._look()
                if self._kill is None:
                    self._maybe_kill()
                seen = source.read(time.time(), self._problem.scenario.initial_deployment)
                moment = moment_of(time.time() - self._began_s, seen, problem.SERVICE)
                self._show.moment(moment)
                yield moment

    def _look(self) -> None:
        """Takes what happened since the last look, and tells of it."""
        after = self._events[-1]["number"] if self._events else 0
        for event in self._control.get(f"/v1/events?after={after}")["events"]:
            self._events.append(event)
            t_s = event["t_s"] - self._began_s
            if event["what"] == "failed":
                self._show.event(t_s, f"replica {event['replica']} is lost, and fenced: its requests go to others")
            elif event["what"] == "ready" and t_s > 0:
                self._show.event(t_s, f"replica {event['replica']} ({event['kind']['variants'][0]}) is ready {event['why']}")
        for decision in decisions_of(reversed(list(newest_first(self._journal))), self._began_s):
            if decision.t_s > self._decided_s:
                self._decided_s = decision.t_s
                if "→" in decision.changes:
                    self._show.event(decision.t_s, f"{decision.changes}: {decision.reason}")

    _decided_s = float("-inf")

    def _maybe_kill(self) -> None:
        """Kills the worker of a ready replica, at best when nothing else changes, and not of the only one."""
        at = (time.time() - self._began_s) / self._seconds
        there = self._control.get("/v1/replicas")
        ready = [row["number"] for row in there["replicas"] if row["state"] == "ready"]
        good = there["settled"] and len(ready) > 1
        if at < KILL_AT or not ready or (not good and at < KILL_AT_LATEST):
            return
        pid = self._pid_of(ready[0])
        os.kill(pid, signal.SIGKILL)
        self._kill = Kill(time.time() - self._began_s, pid)
        self._show.event(self._kill.t_s, f"kill -9 {pid}: the worker process of replica {ready[0]}, with what it computes")

    def _pid_of(self, replica: int) -> int:
        """Its first process, by what the cluster remembers for a restart."""
        remembered = json.loads(self._state.read_text(encoding="utf-8"))["replicas"]
        parts = next(row["whereabouts"]["parts"] for row in remembered if row["number"] == replica)
        return int(parts[0]["process"]["pid"])

    def _unreplaced(self) -> bool:
        self._look()
        found = self._kill and replacement_of(self._kill, self._events, self._began_s)
        return found is not None and found.replaced_s is None and not found.why

    def _recorded(self, moments: list[Moment], source: str) -> Record:
        kill = self._kill and replacement_of(self._kill, self._events, self._began_s)
        told = json.loads(self._load["json"].read_text(encoding="utf-8"))
        journal = reversed(list(newest_first(self._journal)))
        accuracy = dict(sorted(problem.ACCURACY.items(), key=lambda item: item[1]))
        due_s = np.sort(pd.read_csv(self._load["csv"])["due_s"].to_numpy())
        would = tuning.would_have(self._problem.scenario, self._settings, due_s, self._seconds)
        return Record(problem.NAME, POLICY or tuning.BAND, source, self._problem.load, self._seconds, self._slo_s, accuracy,
                      told, tuple(map(self._named, decisions_of(journal, self._began_s))), kill, tuple(moments),
                      tuple(self._events), self._processes.commands(), tuple(would))

    def _named(self, made: Made) -> Made:
        """The tuned band is known to the journal by its folder."""
        return replace(made, by=tuning.BAND) if made.by == str(self._folder / "policy") else made

    @staticmethod
    def _until(true: Any, timeout_s: float) -> bool:
        """Whether it came true in time."""
        until_s = time.monotonic() + timeout_s
        while not (found := true()) and time.monotonic() < until_s:
            time.sleep(0.1)
        return bool(found)

"""The live system of a trial: cluster, two autoscalers, one that only advises, and Prometheus; what ends is started again."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from runtime.chaos import ray_nodes
from runtime.chaos.problem import Written
from runtime.demo.processes import Processes, Running

RESTART_S = 0.2  # how soon a supervisor notices
PROMETHEUS = "prometheus"
CONFIG = """\
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
  - {{job_name: tidal, static_configs: [{{targets: ["{target}"]}}]}}
"""
SERVES, DECIDES, SCRAPES = r"requests (\S+), control (\S+)", r"every \S+ s, ", "ready to receive web requests"
POLICY = "runtime.chaos.wishes:Wishes"


@dataclass
class Part:
    """One process of the system, in one life after the other.

    Attributes:
        name: of it.
        arguments: of `tidal`, or of another program.
        sign: that it is up: a pattern of what it writes then.
        program: that; "" is `tidal`.
        running: its present life.
        ended_s: since when nothing of it runs; None: it does.
        lives: how many there were.
        leaving: it was told to end.
    """

    name: str
    arguments: tuple[str | Path, ...]
    sign: str
    program: str = ""
    running: Running | None = None
    ended_s: float | None = None
    lives: int = 0
    leaving: bool = False

    @property
    def pid(self) -> int:
        """Of its present life, or the last one."""
        assert self.running is not None
        return self.running.process.pid

    @property
    def runs(self) -> bool:
        """Whether it does."""
        return self.running is not None and not self.running.ended

    @property
    def up(self) -> bool:
        """Whether it runs, has come up, and was not told to end."""
        return self.runs and not self.leaving and self.running is not None and self.running.has_said(self.sign)

    def signal(self, number: int) -> None:
        """Sends it one, where it runs."""
        if self.runs:
            self.leaving |= number == signal.SIGTERM
            os.kill(self.pid, number)


class System:
    """All of it; `start` first.

    Args:
        processes: starts its processes.
        problem: what is served.
        folder: for what it writes.
        on_ray: workers run on the nodes of a Ray cluster.

    Attributes:
        parts: by name.
        gateway, control: URLs, the same in all lives.
        state, journal, advice: what cluster, autoscalers and adviser write.
    """

    def __init__(self, processes: Processes, problem: Written, folder: Path, on_ray: bool) -> None:
        self._processes, self.problem, self._folder, self.on_ray = processes, problem, folder, on_ray
        self.state, self.journal, self.advice = folder / "state.json", folder / "journal", folder / "advice"
        self.parts: dict[str, Part] = {}
        self.gateway = self.control = ""

    def start(self) -> None:
        """Starts Ray's nodes, cluster, Prometheus and autoscalers, and waits for each.

        Raises:
            ProcessFailed: one did not come up.
        """
        models = ("--models", self.problem.models) if self.problem.models else ()
        options = ("serve", "--scenario", self.problem.path, "--state", self.state, *models, *self._launcher())
        first = self._start(Part("cluster", (*options, "--gateway", "127.0.0.1:0", "--control", "127.0.0.1:0"), SERVES))
        self.gateway, self.control = first.waits_for(SERVES).groups()
        addresses = ("--gateway", self.gateway.removeprefix("http://"), "--control", self.control.removeprefix("http://"))
        self.parts["cluster"].arguments = (*options, *addresses)
        source = self._source()
        for name, journal, mode in (("autoscaler 1", self.journal, "act"), ("autoscaler 2", self.journal, "act"),
                                    ("adviser", self.advice, "advisory")):
            self._start(Part(name, (
                "autoscale", "--scenario", self.problem.path, "--policy", POLICY, "--fallback", "static", *source,
                "--actuator", "cluster", "--control", self.control, "--journal", journal, "--mode", mode,
                "--limits", self.problem.limits), DECIDES))
        for part in self.parts.values():
            assert part.running is not None
            part.running.waits_for(part.sign)

    def _launcher(self) -> tuple[str, ...]:
        """Who starts the workers."""
        if not self.on_ray:
            return ()
        address = self._start(Part("head", ray_nodes.head(), ray_nodes.STARTED, sys.executable)).waits_for(
            ray_nodes.ADDRESS).group(1)
        for number in range(1, ray_nodes.NODES + 1):  # one by one: Ray gives each 30 s of its own, however busy the machine
            part = Part(f"{ray_nodes.NODE} {number}", ray_nodes.node(number, address), ray_nodes.STARTED, sys.executable)
            self._start(part).waits_for(part.sign)
        return "--launcher", "ray", "--ray-address", address

    def _source(self) -> tuple[str, ...]:
        """Where the autoscalers see the cluster: in a Prometheus, where there is one."""
        binary = shutil.which(PROMETHEUS)
        if binary is None:
            return "--source", "scrape", "--url", f"{self.gateway}/metrics"
        config = self._folder / "prometheus.yml"
        config.write_text(CONFIG.format(target=self.gateway.removeprefix("http://")), encoding="utf-8")
        options = (f"--config.file={config}", f"--storage.tsdb.path={self._folder}/{PROMETHEUS}")
        first = self._start(Part(PROMETHEUS, (*options, "--web.listen-address=127.0.0.1:0"), SCRAPES, binary))
        address = first.waits_for(r'"Listening on" address=(\S+)').group(1)
        self.parts[PROMETHEUS].arguments = (*options, f"--web.listen-address={address}")
        first.waits_for(SCRAPES)
        return "--source", PROMETHEUS, "--url", f"http://{address}"

    def hand_over(self) -> None:
        """Starts the next cluster process beside the one that serves, which ends by itself."""
        self._start(self.parts["cluster"], "--take-over")

    def _start(self, part: Part, *more: str) -> Running:
        part.lives, part.ended_s, part.leaving = part.lives + 1, None, False
        self.parts[part.name] = part
        name = f"{part.name.replace(' ', '-')}-{part.lives}"
        if part.program:
            words = [part.program, *map(str, part.arguments), *more]
            part.running = self._processes.start(name, words, " ".join(words))
        else:
            part.running = self._processes.tidal(name, *part.arguments, *more)
        return part.running

    def pids(self) -> Iterable[int]:
        """Of all of its processes, and of what they have started."""
        return self._processes.left()

    def tend(self) -> None:
        """What a supervisor does: starts again what has ended."""
        for part in self.parts.values():
            if part.runs:
                continue
            part.ended_s = part.ended_s or time.monotonic()
            if time.monotonic() >= part.ended_s + RESTART_S:
                self._start(part)

    def end(self, *names: str) -> None:
        """Ends parts in good order."""
        for name in names:
            if (part := self.parts.pop(name, None)) and part.running:
                part.signal(signal.SIGCONT)
                part.running.end()

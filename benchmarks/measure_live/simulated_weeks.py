"""The autoscaler's own loop, with policy host, envelope, journal and lease, around a simulated cluster and its clock."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from baselines.hpa import HPA
from baselines.static import Static
from envs.cluster import SimulatedCluster
from envs.contract import Deployment, Observation
from envs.envelope import Limits
from envs.scenario_file import load
from runtime.account import UNSAID, Account, Grounds
from runtime.actuators.actuator import InForce, Outcome
from runtime.autoscaler.lease import FileLease
from runtime.autoscaler.policy_host import HostedPolicy, PolicyHost
from runtime.autoscaler.process import Autoscaler
from traces.samplers import POISSON, make_load

SAMPLES = 400
INTERVAL_S = 30.0
DEADLINE_S = 60.0
DAY_S, BIN_S = 86_400.0, 300.0


@dataclass
class Found:
    """What a run came to.

    Attributes:
        decisions, acted, skipped: how many.
        requests, unsettled: of the simulator.
        samples: of this process, evenly spread.
        decision_s: each decision, from the observation to the journal's last line of it.
    """

    policy: str = "hpa"
    decisions: int = 0
    acted: int = 0
    skipped: int = 0
    requests: int = 0
    unsettled: int = 0
    samples: list[Any] = field(default_factory=list)
    decision_s: list[float] = field(default_factory=list)


class Simulated:
    """Source, actuator and clock of an autoscaler: time passes in the cluster while it sleeps."""

    trouble = ""

    def __init__(self, scenario: Any, loads: Any, last_s: float, found: Found, sample: Callable[[], Any]) -> None:
        self._cluster, self._last_s = SimulatedCluster(scenario, loads, seed=1), last_s
        self._seen, self._in_force = self._cluster.first_observation, InForce(scenario.initial_deployment, "1")
        self._found, self._sample, self._next_sample_s, self._woke_s = found, sample, 0.0, 0.0

    # ---- as a clock

    def now_s(self) -> float:
        """See `Clock`."""
        return self._cluster.t_s

    def sleep_until(self, t_s: float, stop: threading.Event) -> None:
        """See `Clock`."""
        if self._woke_s:
            self._found.decision_s.append(time.perf_counter() - self._woke_s)
        while self._cluster.t_s < t_s - 1e-9:
            self._cluster.apply(self._in_force.deployment)
            self._seen = self._cluster.advance()
        if self._cluster.t_s >= self._next_sample_s:
            self._found.samples.append(self._sample())
            self._next_sample_s += self._last_s / SAMPLES
        if self._cluster.t_s >= self._last_s:
            stop.set()
        self._woke_s = time.perf_counter()

    # ---- as a source

    def read(self, t_s: float, deployment: Deployment) -> Observation:
        """See `Source`."""
        return self._seen

    # ---- as an actuator

    def current(self) -> InForce:
        """See `Actuator`."""
        return self._in_force

    def apply(self, deployment: Deployment, version: str, decision_id: str, grounds: Grounds = UNSAID) -> Outcome:
        """See `Actuator`."""
        self._in_force = InForce(deployment, str(int(version) + 1), decision_id)
        self._found.acted += 1
        return Outcome("applied", self._in_force.version)

    def tell(self, account: Account) -> None:
        """See `Actuator`."""

    def finish(self) -> np.ndarray:
        """Plays on until all requests have settled: counts by application and fate."""
        self._cluster.finish()
        return self._cluster.totals().app_count


def play(name: str, mean_rps: float, length_s: float, folder: Path, sample: Callable[[], Any]) -> Found:
    """Runs it; the load has a wave each day."""
    logging.getLogger("tidal.autoscaler").setLevel(logging.WARNING)
    scenario, found = load(name).with_(interval_s=INTERVAL_S), Found()
    times_s = np.arange(0.0, length_s, BIN_S)
    rates = mean_rps * (1 + 0.8 * np.sin(2 * np.pi * times_s / DAY_S))
    loads = {application: make_load(POISSON, rates, BIN_S) for application in scenario.applications}
    world = Simulated(scenario, loads, length_s, found, sample)
    hpa, static = HostedPolicy("hpa", HPA(), scenario, DEADLINE_S), HostedPolicy("static", Static(), scenario, DEADLINE_S)
    autoscaler = Autoscaler(scenario, PolicyHost(hpa, static, INTERVAL_S), world, world, folder, FileLease(folder), world,
                            interval_s=INTERVAL_S, limits=Limits())
    try:
        autoscaler.run(threading.Event())
    finally:
        hpa.close()
        static.close()
    counted = world.finish().sum(0)
    found.decisions, found.skipped = len(found.decision_s), int(autoscaler.meters.skipped._value.get())
    found.requests = int(counted[0])
    found.unsettled = found.requests - int(counted[1:6].sum())
    return found

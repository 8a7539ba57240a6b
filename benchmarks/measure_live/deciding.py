"""How long one decision takes: from metrics that are there to the call of the actuator, with everything between."""

from __future__ import annotations

import gc
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry, Metric, generate_latest

from agents import registry
from baselines.static import Static
from benchmarks.rows import Row, row
from envs.cluster import SimulatedCluster
from envs.contract import Deployment
from envs.envelope import Limits
from envs.scenario import Scenario
from envs.scenario_file import load
from runtime.account import UNSAID, Account, Grounds
from runtime.actuators.actuator import InForce, Outcome
from runtime.autoscaler.lease import FileLease
from runtime.autoscaler.policy_host import HostedPolicy, PolicyHost
from runtime.autoscaler.process import Autoscaler
from runtime.exposition import expose
from runtime.sources.page import Pages, parsed
from runtime.sources.source import PagedSource
from traces.samplers import POISSON, make_load

SCENARIO, POLICY, TARGET_S = "resnet-variants", "ppo", 0.050
DEADLINE_S = 10.0  # for the policy: far beyond what it takes
WARM_UP = 10


class _Service:
    """A simulated cluster as the autoscaler meets it: clock, reader of pages and actuator in one.

    Args:
        scenario: the problem.
        cached: pages are there, read; else each decision reads its text.
    """

    def __init__(self, scenario: Scenario, cached: bool) -> None:
        rates = 100 + 80 * np.sin(np.arange(2000) / 9)  # swings between 20 and 180 req/s
        loads = {name: make_load(POISSON, rates, scenario.interval_s) for name in scenario.applications}
        self.scenario, self.cluster = scenario, SimulatedCluster(scenario, loads, seed=1)
        self.desired, self.version, self.called_s = self.cluster.deployment, 1, 0.0
        self.cached = cached
        self._expose()

    def now_s(self) -> float:
        return self.cluster.t_s

    def sleep_until(self, t_s: float, stop: threading.Event) -> None:
        raise AssertionError("nobody waits here")

    def pages(self) -> Pages:
        return {"cluster": self._page or parsed(self.text)}

    def pages_at(self, t_s: float) -> Pages:
        return {}

    def current(self) -> InForce:
        return InForce(self.desired, str(self.version))

    def apply(self, deployment: Deployment, version: str, decision_id: str, grounds: Grounds = UNSAID) -> Outcome:
        self.called_s = time.perf_counter()
        self.desired, self.version = deployment, self.version + 1
        return Outcome("applied", str(self.version))

    def tell(self, account: Account) -> None:
        pass

    def advance(self) -> None:
        """Play an interval."""
        self.cluster.apply(self.desired)
        self.cluster.advance()
        self._expose()

    def _expose(self) -> None:
        registry_ = CollectorRegistry()
        registry_.register(_Families(list(expose(self.scenario, self.cluster.kinds, self.cluster._samples[-1], started_s=0.0,
                                                 pending_since_s={}, cold_start_s={}))))
        self.text = generate_latest(registry_).decode()
        self._page = parsed(self.text) if self.cached else None


class _Families:
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        """See `prometheus_client`."""
        return self._families


def rows(decisions: int) -> Iterator[Row]:
    """The time of a decision of the learned policy."""
    how = f"{POLICY} on {SCENARIO}, exported network: observation, policy, envelope, journal on disk, actuator"
    yield row("decision from cached metrics, p99", *_measured(decisions, cached=True, how=how), target=TARGET_S)
    how += "; before it the page is parsed"
    yield row("decision from a page's text, p99", *_measured(decisions // 4, cached=False, how=how))


def _measured(decisions: int, *, cached: bool, how: str) -> tuple[float, str, str]:
    scenario = load(SCENARIO)
    service = _Service(scenario, cached)
    host = PolicyHost(HostedPolicy(POLICY, registry.make(POLICY, scenario), scenario, DEADLINE_S),
                      HostedPolicy("static", Static(), scenario, DEADLINE_S), scenario.interval_s)
    try:
        with tempfile.TemporaryDirectory() as folder:
            scaler = Autoscaler(scenario, host, PagedSource(scenario, service, scenario.interval_s), service, Path(folder),
                                FileLease(Path(folder)), service, interval_s=scenario.interval_s, limits=Limits())
            scaler.resume()
            gc.freeze()  # as `tidal autoscale` does
            taken_s, acted = _ticks(scaler, service, decisions)
    finally:
        host.close()
    if host.failures:
        raise RuntimeError(f"the policy failed: {host.failures}")
    p50, most = 1e3 * np.percentile(taken_s, 50), 1e3 * taken_s.max()
    told = f"{how}; {len(taken_s)} decisions, {acted} of which acted; p50 {p50:.2g} ms, most {most:.2g} ms"
    return float(np.percentile(taken_s, 99)), "s", told


def _ticks(scaler: Autoscaler, service: _Service, decisions: int) -> tuple[np.ndarray, int]:
    """Seconds of each decision (to the actuator's call, or to the end where nothing was to be done), and how many acted."""
    taken_s, acted = [], 0
    for number in range(decisions + WARM_UP):
        began_s, service.called_s = time.perf_counter(), 0.0
        verdict = scaler.tick(number)
        ended_s = time.perf_counter()
        if number >= WARM_UP:
            taken_s.append((service.called_s or ended_s) - began_s)
            acted += bool(verdict and verdict.acts)
        service.advance()
    return np.array(taken_s), acted

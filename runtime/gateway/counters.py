"""What the gateway counts, in the numbers of `envs.scrape.Sample`: whole ones, so that their order cannot matter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from envs import state as st
from envs.contract import ReplicaKind
from envs.rules import billionths
from envs.scenario import Scenario
from envs.scrape import Sample
from runtime.gateway.hosts import Host
from runtime.gateway.kinds import Kind
from runtime.gateway.request import GOOD, LATE, Outcome, Request


class Counters:
    """Since the start.

    Args:
        scenario: its applications and services are the rows.

    Attributes:
        app_count: (A, 7), columns as in `envs.state`.
        histogram: (A, 512) of latencies of answers.
        latency_sum_s: (A,).
        service_offered: (Z,).
        answers: by (service, variant), late ones too.
    """

    def __init__(self, scenario: Scenario) -> None:
        n = len(scenario.applications)
        self.app_count = np.zeros((n, 7), np.int64)
        self.histogram = np.zeros((n, st.HISTOGRAM_BINS), np.int64)
        self.latency_sum_s = np.zeros(n)
        self.service_offered = np.zeros(len(scenario.services), np.int64)
        self.answers: Counter[tuple[str, str]] = Counter()
        # The same memory: one number of an array is changed in half the time.
        self._app, self._bins, self._offered = self.app_count.data, self.histogram.data, self.service_offered.data
        self._gone_ns: dict[ReplicaKind, np.ndarray] = {}
        self._service_row = {name: z for z, name in enumerate(scenario.services)}

    def offered(self, application: int) -> int:
        """A request arrived at an application. Returns its number."""
        number = self._app[application, st.OFFERED]
        self._app[application, st.OFFERED] = number + 1
        return number

    def at_service(self, service: str) -> None:
        """A request arrived at a service."""
        self._offered[self._service_row[service]] += 1

    def answered(self, service: str, variant: str) -> None:
        """A variant gave a service's answer."""
        self.answers[service, variant] += 1

    def settled(self, request: Request, outcome: Outcome, accuracy: float) -> None:
        """A request's fate; `accuracy` is that of its answer."""
        application = request.application
        row = application.row
        self._app[row, outcome.fate] += 1
        if outcome.fate not in (GOOD, LATE):
            return
        latency_s = outcome.t_s - request.arrival_s
        if outcome.fate == GOOD:
            self._app[row, st.ACCURACY_PPB] += billionths(accuracy)
        bin_ = min(st.HISTOGRAM_BINS - 1, int(latency_s * (st.BINS_PER_SLO / application.slo_s)))
        self._bins[row, bin_] += 1
        self.latency_sum_s[row] += latency_s

    def server_time(self, host: Host) -> None:
        """Keeps the server time of a replica that is gone."""
        self._gone_ns[host.kind.what] = self._gone_ns.get(host.kind.what, 0) + _server_ns(host)

    def sample(self, t_s: float, kinds: Sequence[Kind], hosts: Sequence[Host], waiting: Sequence[tuple[Kind, str]]) -> Sample:
        """All counters, and what there is now.

        Args:
            t_s: now.
            kinds: the rows.
            hosts: replicas that are ready or draining.
            waiting: for each request that no server has started, for which kind and service it waits.
        """
        kind_ns = np.array([self._gone_ns.get(kind.what, np.zeros(3, np.int64)) for kind in kinds])
        draining = np.zeros(len(kinds), np.int64)
        for host in hosts:
            host.account(t_s)
            kind_ns[host.kind.index] += _server_ns(host)
            draining[host.kind.index] += host.gone is not None
        at = np.zeros((len(kinds), len(self.service_offered)), np.int64)
        for kind, service in waiting:
            at[kind.index, self._service_row[service]] += 1
        return Sample(
            np.float64(t_s), self.app_count.copy(), self.histogram.copy(), self.service_offered.copy(), at.sum(0), kind_ns,
            ready=np.array([len(kind.ready) for kind in kinds]), pending=np.zeros(len(kinds), np.int64),
            draining=draining, kind_waiting=at.sum(1))  # fmt: skip


def _server_ns(host: Host) -> np.ndarray:
    row = np.zeros(3, np.int64)
    row[[st.READY_SERVERS, st.BUSY]] = host.ready_server_ns, host.busy_ns
    return row

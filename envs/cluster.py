"""The simulated cluster: the contract's `Cluster`, played request by request by the event kernel."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from envs import state as st
from envs.contract import Cluster, Deployment, Observation, ReplicaKind
from envs.next_deployment import write_next
from envs.observation import kind_constants, missing_observation, observe, pending_ages, stale_observation
from envs.randomness import draw, key, uniform
from envs.scenario import Scenario
from envs.scrape import Sample, Scrape, between
from envs.served_routes import check_routes
from envs.simulation import Played, Simulation
from traces.samplers import Load

SCRAPE = 6  # cause of randomness: whether an interval's metrics are missing (stage 0) or stale (stage 1)
DRAIN_LIMIT_S = 3600.0


class Snapshot(NamedTuple):
    """All that a cluster is at one time; `SimulatedCluster.restore` goes back to it."""

    t_s: float
    intervals: int
    played: Played
    samples: tuple[Sample, ...]
    last: Observation
    truth: Sample


class SimulatedCluster(Simulation, Cluster):
    """One cluster under load.

    Args:
        scenario: the problem.
        loads: what arrives, by application (`traces.samplers.Load`); an application without a load gets no requests.
        seed: key of all randomness. The same seed means the same requests and noise, whatever is deployed.
        offset_s: where in the trace the cluster's time 0 lies.
        scale: multiplies the rates of the loads (1 for recorded ones).
        record: keep the fate of every request, for `records`.
        kinds: replica kinds beyond the candidates that will be deployed (others are added when they come).

    Attributes:
        t_s: now, a time of decision.
        last_truth: what the last interval really showed, un-smoothed and without delay (`envs.scrape.Scrape`).
    """

    def __init__(
        self,
        scenario: Scenario,
        loads: Mapping[str, Load],
        *,
        seed: int = 0,
        offset_s: float = 0.0,
        scale: float = 1.0,
        record: bool = False,
        kinds: Sequence[ReplicaKind] = (),
    ) -> None:
        super().__init__(scenario, loads, seed=seed, offset_s=offset_s, scale=scale, record=record, kinds=kinds)
        self._slo_s = np.array([a.slo_s for a in scenario.applications.values()])
        self.t_s = 0.0
        self._intervals = 0
        self._truth = self._sample(0.0)
        self._samples: deque[Sample] = deque([self._truth], maxlen=scenario.scrape.window_intervals + 1)
        self._last = missing_observation(scenario, self.kinds, self.deployment, 0.0)
        self.last_truth: Scrape = between(self._truth, self._truth, self._slo_s)

    def _compile(self) -> None:
        super()._compile()
        self._constants = kind_constants(self.scenario, self.kinds)

    # ---- the contract

    def apply(self, deployment: Deployment) -> None:
        """Makes a deployment the desired one, in force `decision_delay_s` from now; it replaces one that still waits.

        Raises:
            ValueError: a route to a kind without the variant or to one that is not deployed, or an unknown service.
            ProfileError: a kind without a profile.
        """
        new = tuple(kind for kind in deployment.replicas if kind not in self.kinds)
        if new:
            self._add_kinds(new)
        check_routes(deployment, self.scenario, self.kinds)
        self._desire(deployment, self.t_s + self.scenario.decision_delay_s)

    def advance(self) -> Observation:
        """Plays one interval and returns what a policy sees of it."""
        scenario = self.scenario
        t_end = (self._intervals + 1) * scenario.interval_s
        t_sample = sample_time(scenario.scrape.interval_s, scenario.scrape.delay_s, t_end)
        self.state.clock[st.CHANGE_LOAD] = 0.0
        counts = self._arrivals(t_end)
        heads = np.zeros_like(counts)
        newer = bool(t_sample > self._samples[-1].t_s)
        if newer and t_sample < t_end:
            self._run(counts, heads, self.t_s, t_sample)
            self._samples.append(self._sample(t_sample))
        self._run(counts, heads, max(self.t_s, min(t_sample, t_end)), t_end)
        self._keep_records()
        before, self._truth = self._truth, self._sample(t_end)
        if newer and t_sample >= t_end:
            self._samples.append(self._truth)
        self.t_s = t_end
        self._intervals += 1
        self.last_truth = between(self._truth, before, self._slo_s)
        self._last = self._observation(newer)
        return self._last

    # ---- beyond the contract: for episodes, tests, oracles and look-ahead

    @property
    def first_observation(self) -> Observation:
        """What a policy sees before the first interval: everything is missing."""
        return missing_observation(self.scenario, self.kinds, self.deployment, 0.0)

    @property
    def change_load_s(self) -> float:
        """The longest load time that was started in the last interval, seconds."""
        return float(self.state.clock[st.CHANGE_LOAD])

    def finish(self) -> Scrape:
        """Runs on without arrivals until every request has settled, an hour at most, and returns what that showed."""
        none = np.zeros(len(self._loads), np.int64)
        before, t_end = self._truth, self.t_s
        while self.outstanding and t_end < self.t_s + DRAIN_LIMIT_S:
            t, t_end = t_end, min(t_end + self.scenario.interval_s, self.t_s + DRAIN_LIMIT_S)
            self._run(none, none.copy(), t, t_end)
        if self.outstanding:
            self._kernel.give_up(self.model, self.state, t_end)
        self._keep_records()
        self._truth = self._sample(t_end)
        return between(self._truth, before, self._slo_s)

    def totals(self) -> Sample:
        """Counters since the start, as of the last time of decision."""
        return self._truth

    def snapshot(self) -> Snapshot:
        """A copy of all that the cluster is."""
        return Snapshot(self.t_s, self._intervals, self._played(), tuple(self._samples), self._last, self._truth)

    def restore(self, snapshot: Snapshot) -> None:
        """Goes back to a snapshot of this cluster (or of one with the same scenario and loads)."""
        self._go_back(snapshot.played)
        self.t_s, self._intervals = snapshot.t_s, snapshot.intervals
        self._samples.clear()
        self._samples.extend(snapshot.samples)
        self._last, self._truth = snapshot.last, snapshot.truth

    @classmethod
    def from_observation(
        cls, observation: Observation, scenario: Scenario, loads: Mapping[str, Load], *, seed: int = 0, scale: float = 1.0
    ) -> SimulatedCluster:
        """A cluster as an observation shows it, for look-ahead: its time 0 is the observation's.

        Ready replicas are ready and idle, pending ones have what is left of their mean load time, waiting requests arrive
        anew at once.
        What cannot be seen (work in flight, draining replicas) is left out.
        """
        wanted = observation.deployment
        cluster = cls(scenario.with_(initial=()), loads, seed=seed, scale=scale, kinds=tuple(wanted.replicas))
        rows = [(cluster.kinds.index(kind), kind, row) for kind, row in observation.kinds.items() if kind in cluster.kinds]
        cluster._reserve(
            slots=int(sum(np.nan_to_num(row.ready + row.pending) for _, _, row in rows) + sum(wanted.replicas.values()))
        )
        kernel, model, state = cluster._kernel, cluster.model, cluster.state
        write_next(state, scenario, cluster.kinds, wanted)
        for k, _, row in rows:
            for _ in range(int(np.nan_to_num(row.ready))):
                kernel.start_ready(model, cluster.state, k, 0.0)
        for k, kind, row in rows:
            for age_s in row.pending_s:
                kernel.create(model, state, k, -min(age_s, scenario.load_s(kind)))
        kernel.take_effect(model, state, 0.0)
        for i, name in enumerate(scenario.applications):
            waiting = int(np.nan_to_num(sum(observation.services[z].queue for z in scenario.applications[name].services)))
            if waiting:
                cluster._reserve(requests=waiting)
                times = np.zeros((len(cluster._loads), waiting))
                counts = np.zeros(len(cluster._loads), np.int64)
                counts[i] = waiting
                kernel.run(model, cluster.state, times, counts, np.zeros_like(counts), np.nextafter(0.0, 1.0))
        cluster.deployment = cluster._in_force = wanted
        return cluster

    # ---- inside

    def _observation(self, newer: bool) -> Observation:
        scrape = self.scenario.scrape
        word = key(self.seed, SCRAPE, 0)
        if scrape.missing_ratio and uniform(np.uint64(draw(np.uint64(word), self._intervals, 0))) < scrape.missing_ratio:
            return missing_observation(self.scenario, self.kinds, self.deployment, self.t_s)
        if not newer or (
            scrape.stale_ratio and uniform(np.uint64(draw(np.uint64(word), self._intervals, 1))) < scrape.stale_ratio
        ):
            return stale_observation(self._last, self.deployment, self.t_s)
        new, old = self._samples[-1], self._samples[0]
        return observe(
            self.scenario,
            self._constants,
            between(new, old, self._slo_s),
            t_s=self.t_s,
            sampled_s=float(new.t_s),
            window_s=float(new.t_s - old.t_s),
            deployment=self.deployment,
            pending_s=pending_ages(self.state.replica_status, self.state.replica_kind, self.state.replica_born, self.t_s),
            load_seen_s=self.state.load_seen,
        )

    def _add_kinds(self, new: tuple[ReplicaKind, ...]) -> None:
        super()._add_kinds(new)
        samples = [self._widened(s) for s in self._samples]
        self._samples.clear()
        self._samples.extend(samples)
        self._truth = self._widened(self._truth)

    def _widened(self, sample: Sample) -> Sample:
        more = len(self.kinds) - len(sample.kind_waiting)
        return sample._replace(
            kind_ns=np.pad(sample.kind_ns, ((0, more), (0, 0))),
            **{name: np.pad(getattr(sample, name), (0, more)) for name in ("ready", "pending", "draining", "kind_waiting")},
        )


def sample_time(interval_s: float, delay_s: float, t_s: float) -> float:
    """Time of the newest sample that can be read at t."""
    return t_s if interval_s == 0 else max(0.0, float(np.floor((t_s - delay_s) / interval_s)) * interval_s)

"""The simulated cluster: the contract's `Cluster`, played request by request by the event kernel."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from envs import state as st
from envs.contract import Cluster, Deployment, Observation, ReplicaKind
from envs.growth import grown, with_pipelines
from envs.interference import Spells
from envs.kernel import Flags, specialise
from envs.kernel.clocks import set_clock
from envs.model import compile_model, kernel_flags, new_state
from envs.next_deployment import write_next
from envs.observation import kind_constants, missing_observation, observe, pending_ages, stale_observation
from envs.randomness import ARRIVAL, draw, key, uniform
from envs.scenario import Scenario
from envs.scrape import Sample, Scrape, between, take_sample
from envs.served_routes import check_routes
from envs.state import Size, State
from envs.waking import wakeful, woken
from traces.samplers import Load, Stream, fill, new_stream, start

SCRAPE = 6  # cause of randomness: whether an interval's metrics are missing (stage 0) or stale (stage 1)
DRAIN_LIMIT_S = 3600.0


class Snapshot(NamedTuple):
    """All that a cluster is at one time; `SimulatedCluster.restore` goes back to it."""

    t_s: float
    intervals: int
    deployment: Deployment
    in_force: Deployment
    effect_s: float
    kinds: tuple[ReplicaKind, ...]
    state: State
    streams: tuple[Stream, ...]
    samples: tuple[Sample, ...]
    last: Observation
    truth: Sample
    records: tuple[tuple[np.ndarray, np.ndarray], ...]


class SimulatedCluster(Cluster):
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
        unknown = set(loads) - set(scenario.applications)
        if unknown:
            raise ValueError(f"load for unknown application(s) {sorted(unknown)}; known: {list(scenario.applications)}")
        self.scenario = scenario
        self.seed = seed
        self.kinds = tuple(dict.fromkeys([*scenario.kinds, *kinds, *scenario.initial_deployment.replicas]))
        self._record = record
        self._wakeful = wakeful(scenario)
        self._spells = Spells(scenario.interference, seed) if scenario.interference else None
        self._slo_s = np.array([a.slo_s for a in scenario.applications.values()])
        self._compile()
        slots = max(8, 2 * sum(scenario.initial_deployment.replicas.values()))
        self.state = new_state(self.model, self.flags, seed, Size(slots, 256, 256 if record else 1))
        self._loads = [loads.get(name) for name in scenario.applications]
        self._streams = tuple(new_stream() for _ in self._loads)
        for i, (load, stream) in enumerate(zip(self._loads, self._streams)):
            if load is not None:
                start(load, stream, np.uint64(key(seed, ARRIVAL, i)), offset_s, scale)
        self._times = np.empty((len(self._loads), 1024))
        self._records: list[tuple[np.ndarray, np.ndarray]] = []
        self.t_s = 0.0
        self._intervals = 0
        self._begin(scenario.initial_deployment)

    def _compile(self) -> None:
        self.model = compile_model(self.scenario, self.kinds)
        self._calm_s = self.model.latency.copy() if self._spells else self.model.latency
        self.flags = self._features()
        self._constants = kind_constants(self.scenario, self.kinds)
        self._kernel = specialise(self.flags)

    def _features(self) -> Flags:
        return kernel_flags(self.scenario, self.kinds, self._record)

    def _begin(self, deployment: Deployment) -> None:
        """The initial deployment is ready and in force; the first samples are taken."""
        write_next(self.state, self.scenario, self.kinds, deployment)
        for kind, count in sorted(deployment.replicas.items(), key=lambda item: self.kinds.index(item[0])):
            for _ in range(count):
                self._kernel.start_ready(self.model, self.state, self.kinds.index(kind), 0.0)
        self._kernel.take_effect(self.model, self.state, 0.0)
        self.state.clock[st.CHANGE_LOAD] = 0.0
        self.deployment = self._in_force = deployment
        self._effect_s = np.inf
        self._truth = self._sample(0.0)
        self._samples: deque[Sample] = deque([self._truth], maxlen=self.scenario.scrape.window_intervals + 1)
        self._last = missing_observation(self.scenario, self.kinds, deployment, 0.0)
        self.last_truth: Scrape = between(self._truth, self._truth, self._slo_s)

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
    def outstanding(self) -> int:
        """Requests in the system now."""
        count = self.state.app_count
        return int(count[:, st.OFFERED].sum() - count[:, st.GOOD : st.FAILED + 1].sum())

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

    def records(self) -> pd.DataFrame:
        """Fates of settled requests: application, number, fate, t_s, variant ("" where unanswered), sorted by those two."""
        whole = np.concatenate([r[0] for r in self._records] or [np.zeros((0, 4), np.int64)])
        variants = np.array([*self.scenario.variants, ""])
        frame = pd.DataFrame(
            {
                "application": np.array(list(self.scenario.applications))[whole[:, 0]],
                "number": whole[:, 1],
                "fate": np.array(st.FATES)[whole[:, 2]],
                "t_s": np.concatenate([r[1] for r in self._records] or [np.zeros(0)]),
                "variant": variants[whole[:, 3]],
            }
        )
        return frame.sort_values(["application", "number"], kind="stable", ignore_index=True)

    def totals(self) -> Sample:
        """Counters since the start, as of the last time of decision."""
        return self._truth

    def snapshot(self) -> Snapshot:
        """A copy of all that the cluster is."""
        return Snapshot(
            self.t_s,
            self._intervals,
            self.deployment,
            self._in_force,
            self._effect_s,
            self.kinds,
            _copy(self.state),
            tuple(_copy(s) for s in self._streams),
            tuple(self._samples),
            self._last,
            self._truth,
            tuple(self._records),
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Goes back to a snapshot of this cluster (or of one with the same scenario and loads)."""
        if snapshot.kinds != self.kinds:
            self.kinds = snapshot.kinds
            self._compile()
        self.t_s, self._intervals, self.deployment = snapshot.t_s, snapshot.intervals, snapshot.deployment
        self._in_force, self._effect_s = snapshot.in_force, snapshot.effect_s
        self.state = _copy(snapshot.state)
        self._streams = tuple(_copy(s) for s in snapshot.streams)
        self._samples.clear()
        self._samples.extend(snapshot.samples)
        self._last, self._truth, self._records = snapshot.last, snapshot.truth, list(snapshot.records)

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

    def _desire(self, deployment: Deployment, effect_s: float) -> None:
        """Has a deployment taken into force at that time."""
        occupied = int((self.state.replica_status != st.FREE).sum())
        self._reserve(slots=occupied + sum(deployment.replicas.values()))
        write_next(self.state, self.scenario, self.kinds, deployment)
        self.deployment, self._effect_s = deployment, effect_s
        leaf = 2 * len(self.state.replica_kind) + len(self.state.queue_waiting)
        set_clock(self.state.tree_time, self.state.tree_node, leaf, effect_s)

    def _run(self, counts: np.ndarray, heads: np.ndarray, t: float, t_end: float) -> None:
        """Plays from t to t_end, and wakes what is to wake in between (`envs.waking`)."""
        while self._wakeful:
            called_s, application = self._next_call(counts, heads)
            until_s = min(called_s, self._effect_s)
            if until_s >= t_end:
                break
            self._play(counts, heads, t, until_s)
            if until_s == self._effect_s:
                self._desire(woken(self.deployment, self._busy(), self.scenario), until_s)
                self._in_force, self._effect_s = self.deployment, np.inf
            else:
                self._wake(application, until_s)
            t = until_s
        self._play(counts, heads, t, t_end)

    def _next_call(self, counts: np.ndarray, heads: np.ndarray) -> tuple[float, str]:
        """When the next request comes that finds a service asleep which it may wake, and its application; inf: none."""
        calls = ((self._times[a, heads[a]], name) for a, name in enumerate(self.scenario.applications)
                 if heads[a] < counts[a] and woken(self._in_force, [name], self.scenario) is not self._in_force)
        return min(calls, default=(np.inf, ""))

    def _busy(self) -> list[str]:
        """The applications that have requests now."""
        count = self.state.app_count
        left = count[:, st.OFFERED] - count[:, st.GOOD : st.FAILED + 1].sum(1)
        return [name for name, n in zip(self.scenario.applications, left) if n]

    def _wake(self, application: str, t: float) -> None:
        """What sleeps of an application is wanted from now on; a deployment that is still to take effect does so later."""
        before, effect_s = self.deployment, self._effect_s
        self._desire(woken(self._in_force, [application], self.scenario), t)
        self._in_force, self._effect_s = self.deployment, np.inf
        self._kernel.take_effect(self.model, self.state, t)
        if effect_s < np.inf:
            self._desire(before, effect_s)

    def _play(self, counts: np.ndarray, heads: np.ndarray, t: float, t_end: float) -> None:
        """The same without waking, piece by piece where a spell begins or ends in between."""
        while self._spells:
            factor, changes = self._spells.at(t)
            np.multiply(self._calm_s, factor, out=self.model.latency)
            if changes >= t_end:
                break
            self._kernel.run(self.model, self.state, self._times, counts, heads, changes)
            t = changes
        self._kernel.run(self.model, self.state, self._times, counts, heads, t_end)

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

    def _arrivals(self, t_end: float) -> np.ndarray:
        """Fills the table of arrival times up to t_end and returns how many there are of each application."""
        counts = np.zeros(len(self._loads), np.int64)
        for i, (load, stream) in enumerate(zip(self._loads, self._streams)):
            if load is None:
                continue
            while True:
                counts[i] += fill(load, stream, t_end, self._times[i, counts[i] :])
                if counts[i] < self._times.shape[1]:
                    break
                self._times = np.concatenate([self._times, np.empty_like(self._times)], axis=1)
        self._reserve(requests=int(counts.sum()))
        return counts

    def _reserve(self, slots: int = 0, requests: int = 0) -> None:
        """Makes room: for that many replicas in all, and that many more requests."""
        state = self.state
        need = Size(slots, requests + self.outstanding, requests + self.outstanding + 1 if self._record else 1)
        have = Size(len(state.replica_kind), len(state.request_next), len(state.record_f))
        if any(n > h for n, h in zip(need, have)):
            size = Size(*(h if n <= h else 1 << (n - 1).bit_length() for n, h in zip(need, have)))
            self.state = grown(self.model, self.flags, state, size)

    def _add_kinds(self, new: tuple[ReplicaKind, ...]) -> None:
        size = Size(len(self.state.replica_kind), len(self.state.request_next), len(self.state.record_f))
        kinds, before = self.kinds, self.flags
        self.kinds = kinds + new
        self._compile()
        if before.LANES != self.flags.LANES and self.outstanding:
            self.kinds = kinds
            self._compile()
            raise ValueError(
                f"{new[0]}: the first kind with batches and several variants; name it in `kinds` when making the cluster"
            )
        self.state = grown(self.model, self.flags, self.state, size)
        if self.flags.PIPELINE and not before.PIPELINE:
            with_pipelines(self.state)
        samples = [self._widened(s) for s in self._samples]
        self._samples.clear()
        self._samples.extend(samples)
        self._truth = self._widened(self._truth)
        self.state.load_seen[len(kinds) :] = self.model.kind_load_s[len(kinds) :]

    def _widened(self, sample: Sample) -> Sample:
        more = len(self.kinds) - len(sample.kind_waiting)
        return sample._replace(
            kind_ns=np.pad(sample.kind_ns, ((0, more), (0, 0))),
            **{name: np.pad(getattr(sample, name), (0, more)) for name in ("ready", "pending", "draining", "kind_waiting")},
        )

    def _sample(self, t_s: float) -> Sample:
        by_service = np.zeros(len(self.scenario.services), np.int64)
        by_kind = np.zeros(len(self.kinds), np.int64)
        self._kernel.count_waiting(self.model, self.state, by_service, by_kind)
        return take_sample(self.state, by_service, by_kind, t_s)

    def _keep_records(self) -> None:
        n = int(self.state.whole[st.RECORDED])
        if n:
            self._records.append((self.state.record_i[:n].copy(), self.state.record_f[:n].copy()))
            self.state.whole[st.RECORDED] = 0


def sample_time(interval_s: float, delay_s: float, t_s: float) -> float:
    """Time of the newest sample that can be read at t."""
    return t_s if interval_s == 0 else max(0.0, float(np.floor((t_s - delay_s) / interval_s)) * interval_s)


def _copy(arrays: Any) -> Any:
    """A copy of a NamedTuple of arrays."""
    return type(arrays)(*(a.copy() for a in arrays))

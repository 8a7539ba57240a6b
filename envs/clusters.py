"""Many simulated clusters in lock-step: `SimulatedCluster` for N at once, one kernel call an interval, to the bit the same."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from envs.cluster import SCRAPE, SimulatedCluster, sample_time
from envs.contract import Deployment, Observation
from envs.growth import grown
from envs.kernel import specialise
from envs.model import keys, leave_table, new_state
from envs.observation import kind_constants, missing_observation, observe, pending_ages, stale_observation
from envs.randomness import ARRIVAL, draw, key, uniform
from envs.routes import deployment_of
from envs.scenario import Scenario
from envs.scrape import Sample, Scrape, between, take_sample
from envs.state import Size, State
from envs.view import View
from envs.waking import wakeful
from traces.samplers import POISSON, STREAM_FLOATS, STREAM_WORDS, Load, Stream, make_load, start

NO_LOAD = make_load(POISSON, np.zeros(1), 1.0)


class Plan(NamedTuple):
    """What all clusters are to deploy next, and the tables of a scenario that the kernel needs to write it."""

    levels: np.ndarray  # (N, C) level of each candidate
    shares: np.ndarray  # (N, Z, C) share of each service's requests; all 0: no routes
    effect_s: float  # when it takes effect
    first_kind: np.ndarray  # (C,) index of each candidate's first kind
    sized: np.ndarray  # (C,) whether a level is a size, not a count
    lone_variant: np.ndarray  # (K,) variant of a kind that hosts only one, -1: several
    load_s: np.ndarray  # (V,) the scenario's cold starts


class Streams(NamedTuple):
    """Arrival streams of all clusters, and scratch for one of them."""

    f: np.ndarray  # (N, A, STREAM_FLOATS)
    u: np.ndarray  # (N, A, STREAM_WORDS)
    f_before: np.ndarray  # (A, STREAM_FLOATS) scratch
    u_before: np.ndarray  # (A, STREAM_WORDS) scratch
    counts: np.ndarray  # (A,) scratch
    heads: np.ndarray  # (A,) scratch


class Noted(NamedTuple):
    """What an interval showed beside its samples."""

    pending_age_s: np.ndarray  # (N, K) since the oldest pending replica was started, 0: none pending
    load_s: np.ndarray  # (N, V) last measured cold start
    change_load_s: np.ndarray  # (N,) longest load time started in the interval


class Clusters:
    """N clusters of one scenario, each with its own seed, place in the trace and deployment, at the same time.

    Args:
        scenario: the problem; only its candidates are deployed.
        loads: what arrives, by application; an application without a load gets no requests.
        count: N.

    Attributes:
        t_s: now, a time of decision.
        view: what policies see now, leading dimension N.
        truth: what the last interval really showed, un-smoothed and without delay.
        noted: the same for what is not in a scrape.
        levels, shares: (N, C) and (N, Z, C), the deployments now desired.
    """

    def __init__(self, scenario: Scenario, loads: Mapping[str, Load], count: int) -> None:
        if scenario.interference is not None:
            raise ValueError("a noisy neighbour is played by one cluster at a time: leave `interference` out")
        if scenario.price_limit is not None:
            raise ValueError("a ceiling over all device types is kept by the envelope, not here: leave `price_limit` out")
        if wakeful(scenario):
            raise ValueError("services wake in one cluster at a time: leave `wake` out")
        first = SimulatedCluster(scenario, loads)  # checks the loads, compiles the scenario
        self.scenario, self.count, self.kinds = scenario, count, scenario.kinds
        self._constants = kind_constants(scenario, self.kinds)
        self.model, self.flags, self._kernel = first.model, first.flags, specialise(first.flags)
        self._slo_s = np.array([a.slo_s for a in scenario.applications.values()])
        self._loads = tuple(loads.get(name, NO_LOAD) for name in scenario.applications)
        self._size = Size(max(8, 2 * sum(scenario.initial_deployment.replicas.values())), 256, 1)
        self._times = np.empty((len(self._loads), 1024))
        self._starting = scenario.levels(scenario.initial_deployment)
        variants = list(scenario.variants)
        self._tables = (
            np.cumsum([0, *(len(c.kinds) for c in scenario.candidates)])[:-1],
            np.array([c.sized for c in scenario.candidates]),
            np.array([variants.index(k.variants[0]) if len(k.variants) == 1 else -1 for k in self.kinds]),
            np.array([v.load_s for v in scenario.variants.values()]),
        )

    def begin(self, seeds: Sequence[int], offsets_s: Sequence[float], scales: Sequence[float]) -> None:
        """Starts all clusters afresh; each argument has one entry a cluster (see `SimulatedCluster`)."""
        n, scenario = self.count, self.scenario
        a, z = len(scenario.applications), len(scenario.services)
        k, c = len(self.kinds), len(scenario.candidates)
        self._seeds = [int(seed) for seed in seeds]
        self._states = self._new_states()
        self._streams = Streams(
            np.zeros((n, a, STREAM_FLOATS)),
            np.zeros((n, a, STREAM_WORDS), np.uint64),
            np.zeros((a, STREAM_FLOATS)),
            np.zeros((a, STREAM_WORDS), np.uint64),
            np.zeros(a, np.int64),
            np.zeros(a, np.int64),
        )
        for e, (seed, offset_s, scale) in enumerate(zip(self._seeds, offsets_s, scales, strict=True)):
            for i, load in enumerate(self._loads):
                stream = Stream(self._streams.f[e, i], self._streams.u[e, i])
                start(
                    load, stream, np.uint64(key(seed, ARRIVAL, i)), float(offset_s), 1.0 if load is NO_LOAD else float(scale)
                )
        self.t_s, self._intervals = 0.0, 0
        self.levels = np.tile(np.array(self._starting, np.int64), (n, 1))
        self.shares = np.zeros((n, z, c))
        self._truth = take_sample(self._states, np.zeros((n, z), np.int64), np.zeros((n, k), np.int64), 0.0)
        self._samples: deque[Sample] = deque([self._truth], maxlen=scenario.scrape.window_intervals + 1)
        self.truth: Scrape = between(self._truth, self._truth, self._slo_s)
        self.noted = Noted(np.zeros((n, k)), np.tile(self._tables[3], (n, 1)), np.zeros(n))
        self.view = self._missing_view()
        self._missing, self._stale = np.ones(n, bool), np.zeros(n, bool)
        self._last = [missing_observation(scenario, self.kinds, scenario.initial_deployment, 0.0)] * n

    def set_thresholds(self, thresholds: Sequence[Mapping[tuple[str, int], float]]) -> None:
        """The certainty thresholds, by application and stage, that each cluster's deployments have from the next one on."""
        for e, row in enumerate(thresholds):
            self._states.leave[e, 1] = leave_table(self.scenario, dict(row), self._states.leave.shape[3])

    def advance(self, levels: np.ndarray, shares: np.ndarray) -> None:
        """Makes deployments the desired ones and plays one interval.

        Args:
            levels: (N, C), within the budget.
            shares: (N, Z, C), each service's routes to the candidates' kinds at these levels; all 0: none.
        """
        scenario = self.scenario
        self.levels, self.shares = np.ascontiguousarray(levels, np.int64), np.ascontiguousarray(shares, np.float64)
        t_end = (self._intervals + 1) * scenario.interval_s
        t_sample = sample_time(scenario.scrape.interval_s, scenario.scrape.delay_s, t_end)
        newer = t_sample > float(self._samples[-1].t_s)
        seen, truth = self._blank_sample(t_sample), self._blank_sample(t_end)
        plan = Plan(self.levels, self.shares, self.t_s + scenario.decision_delay_s, *self._tables)
        noted = Noted(*(np.empty_like(x) for x in self.noted))
        self._play(plan, seen, truth, noted, t_sample if newer else t_end, t_end)
        if newer:
            self._samples.append(seen if t_sample < t_end else truth)
        self.truth = between(truth, self._truth, self._slo_s)
        self.t_s, self._truth, self.noted = t_end, truth, noted
        self._intervals += 1
        self._look(newer)

    def observations(self) -> list[Observation]:
        """The contract's observations of all clusters, as policies see them; call it after each interval, or never."""
        new, old = self._samples[-1], self._samples[0]
        shown = between(new, old, self._slo_s)
        for e in range(self.count):
            deployment = self.deployment(e)
            if self._missing[e]:
                self._last[e] = missing_observation(self.scenario, self.kinds, deployment, self.t_s)
            elif self._stale[e]:
                self._last[e] = stale_observation(self._last[e], deployment, self.t_s)
            else:
                self._last[e] = observe(
                    self.scenario,
                    self._constants,
                    Scrape(*(x[e] for x in shown)),
                    t_s=self.t_s,
                    sampled_s=float(new.t_s),
                    window_s=float(new.t_s - old.t_s),
                    deployment=deployment,
                    pending_s=pending_ages(
                        self._states.replica_status[e], self._states.replica_kind[e], self._states.replica_born[e], self.t_s
                    ),
                    load_seen_s=self._states.load_seen[e],
                )
        return list(self._last)

    def deployment(self, e: int) -> Deployment:
        """The desired deployment of one cluster."""
        return deployment_of(self.scenario, self.levels[e], self.shares[e])

    def totals(self) -> Sample:
        """Counters since the start, as of the last time of decision."""
        return self._truth

    def arrays(self) -> dict[str, np.ndarray]:
        """All that grows when a cluster is short of room, by name."""
        return {**self._states._asdict(), "times": self._times}

    # ---- inside

    def _new_states(self) -> State:
        """All clusters at their start, the initial deployment ready."""
        state, deployment = new_state(self.model, self.flags, 0, self._size), self.scenario.initial_deployment
        state.kind_next_wanted[:] = [deployment.replicas.get(kind, 0) for kind in self.kinds]
        state.leave[1] = leave_table(self.scenario, dict(deployment.thresholds), state.leave.shape[2])
        states = _stacked([state] * self.count)
        for e, seed in enumerate(self._seeds):
            states.app_key[e], states.replica_key[e] = keys(seed, len(self._loads))
        self._kernel.begin_many(self.model, states)
        return states

    def _play(self, plan: Plan, seen: Sample, truth: Sample, noted: Noted, t_sample: float, t_end: float) -> None:
        """One interval of all clusters; makes room where one is short of it, and goes on."""
        kernel, first = self._kernel, 0
        while True:
            first, short = kernel.advance_many(
                self.model,
                self._states,
                plan,
                self._loads,
                self._streams,
                self._times,
                seen,
                truth,
                noted,
                first,
                t_sample,
                t_end,
            )
            if short == kernel.DONE:
                return
            if short == kernel.TIMES_SHORT:
                self._times = np.empty((len(self._times), 2 * self._times.shape[1]))
                continue
            size = self._size
            self._size = (
                size._replace(slots=2 * size.slots)
                if short == kernel.SLOTS_SHORT
                else size._replace(requests=2 * size.requests)
            )
            self._states = _stacked(
                [grown(self.model, self.flags, State(*(x[e] for x in self._states)), self._size) for e in range(self.count)]
            )

    def _blank_sample(self, t_s: float) -> Sample:
        """Room for a sample of all clusters."""
        return Sample(np.float64(t_s), *(np.empty_like(x) for x in self._truth[1:]))

    def _look(self, newer: bool) -> None:
        """What policies see now: the newest sample, nothing (its series have vanished), or what they saw before."""
        scrape, last = self.scenario.scrape, self.view
        self._missing, self._stale = np.zeros(self.count, bool), np.full(self.count, not newer)
        for e in range(self.count if scrape.missing_ratio or scrape.stale_ratio else 0):
            word = np.uint64(key(self._seeds[e], SCRAPE, 0))
            self._missing[e] = uniform(np.uint64(draw(word, self._intervals, 0))) < scrape.missing_ratio
            self._stale[e] = not newer or uniform(np.uint64(draw(word, self._intervals, 1))) < scrape.stale_ratio
        new, old = self._samples[-1], self._samples[0]
        shown = between(new, old, self._slo_s)
        self.view = View(
            age_s=np.full(self.count, self.t_s - float(new.t_s)),
            offered_rps=shown.offered_rps,
            violation_ratio=1 - shown.fate_ratio[..., 0],
            accuracy=shown.accuracy,
            quantiles_s=shown.quantiles_s,
            service_rps=shown.service_rps,
            queue=shown.service_waiting,
            ready=shown.ready,
            pending=shown.pending,
            draining=shown.draining,
            busy_ratio=shown.busy_ratio,
            pending_age_s=self.noted.pending_age_s,
            levels=self.levels,
            load_s=self.noted.load_s,
        )
        for rows, other in (
            (self._stale, last._replace(age_s=last.age_s + self.scenario.interval_s)),
            (self._missing, self._missing_view()),
        ):
            if rows.any():
                kept = other._replace(levels=self.levels)
                self.view = View(*(np.where(rows.reshape(-1, *(1,) * (x.ndim - 1)), o, x) for x, o in zip(self.view, kept)))

    def _missing_view(self) -> View:
        """A view with every number missing, but for what the scenario and the deployment tell."""
        n, scenario = self.count, self.scenario
        a, z, k = len(scenario.applications), len(scenario.services), len(self.kinds)
        shapes = ((), (a,), (a,), (a,), (a, 3), (z,), (z,), (k,), (k,), (k,), (k,))
        missing = [np.full((n, *shape), np.nan) for shape in shapes]
        return View._make([*missing, np.zeros((n, k)), self.levels, np.tile(self._tables[3], (n, 1))])


def _stacked(states: Sequence[State]) -> State:
    """Many states in one, each array with one more leading dimension."""
    return State(*(np.stack(rows) for rows in zip(*states)))

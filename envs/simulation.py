"""What the event kernel plays of one cluster: its requests, replicas and deployments, from any time to any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from envs import state as st
from envs.contract import Deployment, ReplicaKind
from envs.growth import grown, with_pipelines
from envs.interference import Spells
from envs.kernel import Flags, specialise
from envs.kernel.clocks import set_clock
from envs.model import compile_model, kernel_flags, new_state
from envs.next_deployment import write_next
from envs.randomness import ARRIVAL, key
from envs.scenario import Scenario
from envs.scrape import Sample, take_sample
from envs.state import Size, State
from envs.waking import wakeful, woken
from traces.samplers import Load, Stream, fill, new_stream, start


class Played(NamedTuple):
    """All that a simulation is at one time; it can go back to it."""

    deployment: Deployment
    in_force: Deployment
    effect_s: float
    kinds: tuple[ReplicaKind, ...]
    state: State
    streams: tuple[Stream, ...]
    records: tuple[tuple[np.ndarray, np.ndarray], ...]


class Simulation:
    """Requests, replicas and deployments of one cluster. It knows of no intervals, scrapes and observations.

    Args: see `envs.cluster.SimulatedCluster`.

    Attributes:
        kinds: replica kinds that are known, in the order of the kernel's tables.
        model, flags, state: of the kernel (`envs.model`, `envs.state`).
        deployment: the desired one.
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
        self._begin(scenario.initial_deployment)

    def _compile(self) -> None:
        self.model = compile_model(self.scenario, self.kinds)
        self._calm_s = self.model.latency.copy() if self._spells else self.model.latency
        self.flags = self._features()
        self._kernel = specialise(self.flags)

    def _features(self) -> Flags:
        return kernel_flags(self.scenario, self.kinds, self._record)

    def _begin(self, deployment: Deployment) -> None:
        """The initial deployment is ready and in force."""
        write_next(self.state, self.scenario, self.kinds, deployment)
        for kind, count in sorted(deployment.replicas.items(), key=lambda item: self.kinds.index(item[0])):
            for _ in range(count):
                self._kernel.start_ready(self.model, self.state, self.kinds.index(kind), 0.0)
        self._kernel.take_effect(self.model, self.state, 0.0)
        self.state.clock[st.CHANGE_LOAD] = 0.0
        self.deployment = self._in_force = deployment
        self._effect_s = np.inf

    @property
    def outstanding(self) -> int:
        """Requests in the system now."""
        return int(self._outstanding().sum())

    def _outstanding(self) -> np.ndarray:
        """(A,) the same by application."""
        count = self.state.app_count
        left: np.ndarray = count[:, st.OFFERED] - count[:, st.GOOD : st.FAILED + 1].sum(1)
        return left

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

    def _keep_records(self) -> None:
        n = int(self.state.whole[st.RECORDED])
        if n:
            self._records.append((self.state.record_i[:n].copy(), self.state.record_f[:n].copy()))
            self.state.whole[st.RECORDED] = 0

    def _sample(self, t_s: float) -> Sample:
        by_service = np.zeros(len(self.scenario.services), np.int64)
        by_kind = np.zeros(len(self.kinds), np.int64)
        self._kernel.count_waiting(self.model, self.state, by_service, by_kind)
        return take_sample(self.state, by_service, by_kind, t_s)

    # ---- time goes by

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

    # ---- what is wanted

    def _desire(self, deployment: Deployment, effect_s: float) -> None:
        """Has a deployment taken into force at that time."""
        occupied = int((self.state.replica_status != st.FREE).sum())
        self._reserve(slots=occupied + sum(deployment.replicas.values()))
        write_next(self.state, self.scenario, self.kinds, deployment)
        self.deployment, self._effect_s = deployment, effect_s
        leaf = 2 * len(self.state.replica_kind) + len(self.state.queue_waiting)
        set_clock(self.state.tree_time, self.state.tree_node, leaf, effect_s)

    def _next_call(self, counts: np.ndarray, heads: np.ndarray) -> tuple[float, str]:
        """When the next request comes that finds a service asleep which it may wake, and its application; inf: none."""
        calls = ((self._times[a, heads[a]], name) for a, name in enumerate(self.scenario.applications)
                 if heads[a] < counts[a] and woken(self._in_force, [name], self.scenario) is not self._in_force)
        return min(calls, default=(np.inf, ""))

    def _busy(self) -> list[str]:
        """The applications that have requests now."""
        return [name for name, n in zip(self.scenario.applications, self._outstanding()) if n]

    def _wake(self, application: str, t: float) -> None:
        """What sleeps of an application is wanted from now on; a deployment that is still to take effect does so later."""
        before, effect_s = self.deployment, self._effect_s
        self._desire(woken(self._in_force, [application], self.scenario), t)
        self._in_force, self._effect_s = self.deployment, np.inf
        self._kernel.take_effect(self.model, self.state, t)
        if effect_s < np.inf:
            self._desire(before, effect_s)

    # ---- room

    def _reserve(self, slots: int = 0, requests: int = 0) -> None:
        """Makes room: for that many replicas in all, and that many more requests."""
        have = self._size()
        more = requests + self.outstanding
        need = Size(slots, more, more + 1 if self._record else 1)
        if any(n > h for n, h in zip(need, have)):
            size = Size(*(h if n <= h else 1 << (n - 1).bit_length() for n, h in zip(need, have)))
            self.state = grown(self.model, self.flags, self.state, size)

    def _size(self) -> Size:
        return Size(len(self.state.replica_kind), len(self.state.request_next), len(self.state.record_f))

    def _add_kinds(self, new: tuple[ReplicaKind, ...]) -> None:
        size = self._size()
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
        self.state.load_seen[len(kinds) :] = self.model.kind_load_s[len(kinds) :]

    # ---- there and back

    def _played(self) -> Played:
        return Played(self.deployment, self._in_force, self._effect_s, self.kinds, _copy(self.state),
                      tuple(_copy(s) for s in self._streams), tuple(self._records))

    def _go_back(self, played: Played) -> None:
        if played.kinds != self.kinds:
            self.kinds = played.kinds
            self._compile()
        self.deployment, self._in_force, self._effect_s = played.deployment, played.in_force, played.effect_s
        self.state = _copy(played.state)
        self._streams = tuple(_copy(s) for s in played.streams)
        self._records = list(played.records)


def _copy(arrays: Any) -> Any:
    """A copy of a NamedTuple of arrays."""
    return type(arrays)(*(a.copy() for a in arrays))

"""The gateway's /metrics: the metric contract (`runtime.metrics`), all of one moment."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
from prometheus_client import Metric, generate_latest
from prometheus_client.registry import Collector

from envs import state as st
from envs.contract import ReplicaKind
from envs.scrape import Sample
from runtime import metrics as m
from runtime.exposition import Used, expose
from runtime.gateway.dispatcher import Dispatcher

PIECE = 128  # samples that are put in words at a time


class Lives(Protocol):
    """What the cluster knows of its replicas: `runtime.serving.census` is one. Times are those of the dispatcher's clock."""

    cold_start_s: dict[ReplicaKind, float]

    def count(self, state: m.ReplicaState) -> Mapping[ReplicaKind, int]:
        """Replicas in a state, by kind."""

    def pending_since_s(self) -> Mapping[ReplicaKind, Sequence[float]]:
        """When pending replicas were started, the oldest first."""

    def held_ns(self, t_s: float) -> Mapping[ReplicaKind, int]:
        """For how long replicas of each kind have held their resources, all together."""


@dataclass(frozen=True, eq=False)
class Moment:
    """What a page tells, taken at one moment and not yet put in words, which takes milliseconds.

    Attributes:
        sample: counters and gauges, rows in the order of `kinds`.
        failed, pending_since_s, cold_start_s: see `Lives`.
        latency_sum_s: (A,).
        answers: by (service, variant).
        version: of the deployment that is wanted.
        used: measured of each device type; None: replicas are emulated.
    """

    kinds: Sequence[ReplicaKind]
    sample: Sample
    failed: Mapping[ReplicaKind, int]
    pending_since_s: Mapping[ReplicaKind, Sequence[float]]
    cold_start_s: Mapping[ReplicaKind, float]
    latency_sum_s: np.ndarray
    answers: Mapping[tuple[str, str], int]
    version: int
    used: Mapping[str, Used] | None


class Page:
    """One gateway's page.

    Args:
        dispatcher: counts requests and server time. Its clock tells Unix time.
        lives: of the replicas.
        version: gives the number of the deployment that is wanted.
        used: gives what was measured of each device type; None: replicas are emulated.
    """

    def __init__(self, dispatcher: Dispatcher, lives: Lives, version: Callable[[], int],
                 used: Callable[[], Mapping[str, Used]] | None = None) -> None:
        self._dispatcher, self._lives, self._version, self._used = dispatcher, lives, version, used
        self._started_s = dispatcher.clock.now_s()

    async def text(self) -> bytes:
        """The page, as Prometheus reads it. Others have the event loop between its pieces: all of it takes milliseconds."""
        pieces = []
        for piece in self.pieces():
            pieces.append(piece)
            await asyncio.sleep(0)
        return b"".join(pieces)

    def pieces(self) -> Iterator[bytes]:
        """The text, piece by piece, all of the moment in which the first is asked for."""
        for family in self.families(self.now()):
            yield from _in_words(family)

    def now(self) -> Moment:
        """What there is to tell."""
        dispatcher, lives = self._dispatcher, self._lives
        counts = {state: lives.count(state) for state in m.STATES}
        for kind in {kind for by_kind in counts.values() for kind in by_kind}:
            dispatcher.placement.know(kind)
        kinds, sample = list(dispatcher.placement.kinds), dispatcher.sample()
        held = lives.held_ns(float(sample.t_s))
        sample.kind_ns[:, st.HELD] = [held.get(kind, 0) for kind in kinds]
        failed = counts.pop("failed")
        rows = {state: np.array([by_kind.get(kind, 0) for kind in kinds]) for state, by_kind in counts.items()}
        return Moment(kinds, sample._replace(**rows), failed, lives.pending_since_s(), dict(lives.cold_start_s),
                      dispatcher.counters.latency_sum_s.copy(), Counter(dispatcher.counters.answers), self._version(),
                      self._used and self._used())

    def families(self, moment: Moment) -> Iterator[Metric]:
        """The families of a moment."""
        scenario = self._dispatcher.scenario
        yield from expose(
            scenario, moment.kinds, moment.sample, failed=moment.failed, started_s=self._started_s,
            pending_since_s=moment.pending_since_s, cold_start_s=moment.cold_start_s, latency_sum_s=moment.latency_sum_s,
            used=moment.used)  # fmt: skip
        answers, version = m.ANSWERS.family(), m.VERSION.family()
        for name, service in scenario.services.items():
            for variant in service.variants:
                answers.add_metric([name, variant, service.tenant], moment.answers[name, variant])
        version.add_metric([], moment.version)
        yield from (answers, version)


class _Only(Collector):
    """What there is to collect is one family."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        yield self._family


def _in_words(family: Metric) -> Iterator[bytes]:
    """The text of a family, some of its samples at a time; its help and type before the first."""
    part, samples = copy(family), iter(family.samples)
    part.samples = list(islice(samples, PIECE))
    yield generate_latest(_Only(part))
    while more := list(islice(samples, PIECE)):
        part.samples = more
        yield generate_latest(_Only(part)).split(b"\n", 2)[2]

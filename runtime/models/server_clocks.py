"""When an emulated replica is busy and when it answers: the arithmetic of `docs/simulator.md`, Serving, step 5."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from envs.contract import ReplicaKind
from envs.randomness import SERVICE, draw, factor, gamma_table, key
from envs.scenario import Scenario
from runtime.models.model import ModelError


class Head(NamedTuple):
    """The oldest request of a batch; the batch takes its draw of the service time.

    Attributes:
        application: its name in the scenario.
        number: it is the application's n-th request, from 0.
        stage: of the application's chain.
    """

    application: str
    number: int
    stage: int = 0


class Held(NamedTuple):
    """What a batch holds of a replica, seconds: from start to free it occupies a server; at finish it is answered."""

    start_s: float
    free_s: float
    finish_s: float


class ServerClocks:
    """The servers and stages of one replica, first come first served.

    The same (seed, request) takes the same time here and in the simulator, to the last bit.

    Args:
        scenario: profile, overheads and noise.
        kind: of the replica.
        seed: key of the noise.
        ready_s: when the replica became ready.

    Raises:
        ProfileError: the kind has no profile.
    """

    def __init__(self, scenario: Scenario, kind: ReplicaKind, *, seed: int, ready_s: float) -> None:
        self._scenario = scenario
        self.become(kind)
        self._overhead_s = scenario.overhead_s
        self._noise = gamma_table(scenario.service_cv)
        self._keys = {name: key(seed, SERVICE, i) for i, name in enumerate(scenario.applications)}
        self._servers = 0
        self._stage_clock_s: dict[int, list[float]] = {}
        self._idle: list[int] = []  # a stack, server 0 on top
        self._occupied: list[tuple[float, int]] = []  # when it is free, which server
        self.resize(ready_s)

    def become(self, kind: ReplicaKind) -> None:
        """The replica is of another kind, which differs only in cores: batches that start from now on take its time."""
        stretch = 1 + self._scenario.stage_overhead_ratio * kind.shape.inter_op
        self.kind = kind
        self._latency_s = {
            (variant, size): [latency_s * stretch for latency_s in self._scenario.profile.latency_s(variant, kind.shape, size)]
            for variant in kind.variants for size in range(1, kind.batch + 1)
        }  # fmt: skip

    def resize(self, t_s: float) -> None:
        """It has its kind's servers: the highest are cut once they are free, new ones are idle, the lowest on top."""
        self.idle(t_s)
        before, self._servers = self._servers, self.kind.shape.servers
        self._idle = [server for server in self._idle if server < self._servers]
        occupied = {server for _, server in self._occupied}
        for server in range(self._servers - 1, before - 1, -1):
            if server not in occupied:
                self._stage_clock_s[server] = [t_s] * self.kind.shape.inter_op
                self._idle.append(server)

    def idle(self, t_s: float) -> int:
        """How many servers could start a batch at t."""
        for entry in sorted(entry for entry in self._occupied if entry[0] <= t_s):
            self._occupied.remove(entry)
            if entry[1] < self._servers:
                self._idle.append(entry[1])
        return len(self._idle)

    def take(self, variant: str, size: int, head: Head, t_s: float) -> Held:
        """Gives a batch to an idle server, or to the first that will be free.

        Args:
            variant: hosted by the kind.
            size: requests in the batch, at most the kind's.
            head: its oldest request.
            t_s: when the batch came; not before that of the call before.

        Raises:
            ModelError: a variant, batch or application that the replica does not know.
        """
        if (variant, size) not in self._latency_s:
            raise ModelError(f"a batch of {size} for '{variant}': a replica of {self.kind} takes 1 to {self.kind.batch}")
        if head.application not in self._keys:
            raise ModelError(f"a request of '{head.application}': the scenario has {', '.join(self._keys)}")
        start_s = t_s
        if self.idle(t_s):
            server = self._idle.pop()
        else:
            start_s, server = min(entry for entry in self._occupied if entry[1] < self._servers)
            self._occupied.remove((start_s, server))
        clock_s = self._stage_clock_s[server]
        noise = drawn(self._noise, self._keys[head.application], head.number, head.stage)
        x_s = start_s
        for stage, latency_s in enumerate(self._latency_s[variant, size]):
            x_s = max(x_s, clock_s[stage]) + latency_s * noise
            clock_s[stage] = x_s
        self._occupied.append((clock_s[0], server))
        return Held(start_s, clock_s[0], x_s + self._overhead_s)


def drawn(table: np.ndarray, key_: int, number: int, stage: int) -> float:
    """The entry of a table of quantiles that a request (or replica) and a stage draw."""
    return float(factor(table, np.uint64(draw(np.uint64(key_), number, stage))))  # typed: numba takes a small int as signed

"""Emulated replicas: they hold servers for the profiled time and compute nothing, so that many share one process.

A 20-core or 64-device deployment thus runs live on two cores, under the gateway, the reconciler and the autoscaler that real
replicas have. Figures from emulated replicas say so, and name the time dilation of the clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from envs.contract import ReplicaKind
from envs.randomness import FAILURE, LOAD, gamma_table, key
from envs.scenario import Scenario
from runtime.models.dilated_clock import AsyncClock
from runtime.models.model import FREE, ModelError, TensorSpec
from runtime.models.server_clocks import Head, Held, ServerClocks, drawn

PAYLOAD = TensorSpec("payload", "FP32", (FREE, 1))
"""The input of an emulated model, and its output: it answers with what it was sent."""


class EmulatedReplica:
    """One replica of a kind, all its servers and stages.

    Args:
        scenario: where its profile, load time and noise come from.
        kind: what it is a replica of.
        number: its id in the cluster, the key of its load time's noise.
        seed: the same as a simulated cluster's: the same requests take the same time.
        clock: its time.

    Attributes:
        inputs, outputs: what requests and answers hold.
        load_s, lasts_s: until it is ready, and from then until it breaks.
    """

    inputs = outputs = (PAYLOAD,)

    def __init__(self, scenario: Scenario, kind: ReplicaKind, *, number: int, seed: int, clock: AsyncClock) -> None:
        self.scenario, self.kind, self.seed, self.clock = scenario, kind, seed, clock
        noise = drawn(gamma_table(scenario.failures.load_cv), key(seed, LOAD, 0), number, 0)
        self.load_s = scenario.load_s(kind) * scenario.failures.load_factor * noise
        mean_s = scenario.failures.mean_time_s
        self.lasts_s = mean_s * drawn(gamma_table(1.0), key(seed, FAILURE, 0), number, 0) if mean_s else math.inf
        self._servers: ServerClocks | None = None

    async def load(self) -> None:
        """Becomes ready after the load time."""
        ready_s = self.clock.now_s() + self.load_s
        await self.clock.sleep_until(ready_s)
        self._servers = ServerClocks(self.scenario, self.kind, seed=self.seed, ready_s=ready_s)

    def become(self, kind: ReplicaKind) -> None:
        """It is of another kind, which differs only in cores; `resize` gives it that kind's servers."""
        self.kind = kind
        self._ready().become(kind)

    def resize(self) -> None:
        """It has its kind's servers from now on."""
        self._ready().resize(self.clock.now_s())

    def unload(self) -> None:
        """Takes no more batches; those that were started are still answered."""
        self._servers = None

    @property
    def idle(self) -> int:
        """How many servers could start a batch now."""
        return self._ready().idle(self.clock.now_s())

    def start(self, variant: str, size: int, head: Head) -> Held:
        """Takes a batch now, whether a server is idle or the batch must wait for one.

        Raises:
            ModelError: not loaded, or a batch that it cannot serve.
        """
        return self._ready().take(variant, size, head, self.clock.now_s())

    async def run(self, variant: str, size: int, head: Head, freed: Callable[[], None] = lambda: None) -> Held:
        """Takes a batch now, and returns when it is answered; calls `freed` where the first stage is free before that.

        Raises:
            ModelError: not loaded, or a batch that it cannot serve.
        """
        held = self.start(variant, size, head)
        if held.free_s < held.finish_s:
            await self.clock.sleep_until(held.free_s)
            freed()
        await self.clock.sleep_until(held.finish_s)
        return held

    @property
    def memory_bytes(self) -> float:
        """What the scenario says that each of its devices holds, bytes; 0 when not loaded. No such memory is taken."""
        return self.scenario.memory_bytes(self.kind) if self._servers else 0.0

    def _ready(self) -> ServerClocks:
        if self._servers is None:
            raise ModelError(f"a replica of {self.kind} is not loaded; await load() first")
        return self._servers

"""An emulated replica behind the `Replica` protocol: it holds servers for the profiled time and answers what it was sent."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from envs.contract import ReplicaKind
from envs.scenario import Scenario
from runtime.models.dilated_clock import AsyncClock
from runtime.models.emulated import EmulatedReplica
from runtime.models.model import TensorSpec
from runtime.models.server_clocks import Head
from runtime.serving.replica import Answered, Answers, ReplicaLost, Tensors, answer_by


class EmulatedLiveReplica:
    """One emulated replica of the live cluster; see `runtime.serving.replica.Replica`.

    Args:
        number: its id in the cluster, the key of its load time's noise.
        kind: what it is an instance of.
        scenario, seed, clock: see `runtime.models.emulated.EmulatedReplica`.
    """

    def __init__(self, number: int, kind: ReplicaKind, *, scenario: Scenario, seed: int, clock: AsyncClock) -> None:
        self.number, self.kind = number, kind
        self._clock, self._resize_s = clock, scenario.in_place_resize_s or 0.0
        self._emulated = EmulatedReplica(scenario, kind, number=number, seed=seed, clock=clock)
        self.inputs: dict[str, tuple[TensorSpec, ...]] = dict.fromkeys(kind.variants, self._emulated.inputs)
        self.outputs: dict[str, tuple[TensorSpec, ...]] = dict.fromkeys(kind.variants, self._emulated.outputs)
        self.whereabouts: dict[str, Any] = {}
        self._under_way: set[asyncio.Task[None]] = set()
        self._why_gone = ""
        self._call: Callable[[str], None] = lambda reason: None
        self._detection_s, self._broken, self._over = scenario.failures.detection_s, False, asyncio.Event()
        self._breaking: asyncio.Task[None] | None = None

    async def load(self) -> None:
        """See `Replica`. From then on it breaks when a simulated one would, and is lost once that is detected."""
        await self._emulated.load()
        self._raise_if_gone()
        if self._emulated.lasts_s < math.inf:
            self._breaking = asyncio.create_task(self._break(self._clock.now_s() + self._emulated.lasts_s))

    async def _break(self, t_s: float) -> None:
        await self._clock.sleep_until(t_s)
        self._broken = True
        await self._clock.sleep_until(t_s + self._detection_s)
        self.lose("it broke")

    def serve(self, variant: str, requests: Sequence[Tensors], head: Head, traces: Sequence[str],
              freed: Callable[[], None], answered: Answered) -> None:
        """See `Replica`."""
        task = asyncio.ensure_future(answer_by(self._answers(variant, requests, head, freed), answered))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _answers(self, variant: str, requests: Sequence[Tensors], head: Head, freed: Callable[[], None]) -> Answers:
        self._raise_if_gone()
        await self._emulated.run(variant, len(requests), head, lambda: None if self._broken else freed())
        if self._broken:
            await self._over.wait()
        self._raise_if_gone()
        return requests

    def resize(self, kind: ReplicaKind) -> Awaitable[None]:
        """See `Replica`; it takes the scenario's `in_place_resize_s`."""
        self.kind = kind
        self._emulated.become(kind)
        return self._resize_at(self._clock.now_s() + self._resize_s)

    async def _resize_at(self, t_s: float) -> None:
        await self._clock.sleep_until(t_s)
        self._raise_if_gone()
        self._emulated.resize()

    async def stop(self) -> None:
        """See `Replica`."""
        self._end("it was stopped")

    def fence(self) -> None:
        """See `Replica`."""
        self._end("it was fenced")

    def on_lost(self, call: Callable[[str], None]) -> None:
        """See `Replica`."""
        self._call = call

    def lose(self, why: str) -> None:
        """It is gone, as if its process had died."""
        if not self._why_gone:
            self._end(why)
            self._call(why)

    @property
    def memory_bytes(self) -> float:
        """What the scenario says that each of its devices holds, bytes. No such memory is taken."""
        return self._emulated.memory_bytes

    def _end(self, why: str) -> None:
        self._why_gone = self._why_gone or why
        self._emulated.unload()
        self._over.set()
        if self._breaking and self._breaking is not asyncio.current_task():
            self._breaking.cancel()

    def _raise_if_gone(self) -> None:
        if self._why_gone:
            raise ReplicaLost(f"replica {self.number} ({self.kind}): {self._why_gone}")

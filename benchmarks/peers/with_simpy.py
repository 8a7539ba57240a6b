"""One queue before c servers in simpy, as its users write it: a process for each server, one for the arrivals."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import Any

import numpy as np
import simpy

Steps = Generator[simpy.Event, Any, Any]


def play(
    arrival_s: np.ndarray, latency_s: np.ndarray, factors: np.ndarray, n_servers: int, max_wait_s: float, drop_after_s: float
) -> np.ndarray:
    """Plays what `envs.replay.replay_queue` plays.

    Args:
        arrival_s: (n,), ascending.
        latency_s: (B + 1,), seconds of a batch of each size.
        factors: (n,), service-time factor of the batch headed by each request.
        n_servers: servers that start a batch each.
        max_wait_s: how long the oldest waits for a batch to fill.
        drop_after_s: a request of this age is given up when a server would take it.

    Returns:
        (n,) latency of each answer, nan where given up.
    """
    env = simpy.Environment()
    arrivals, latencies, noise = arrival_s.tolist(), latency_s.tolist(), factors.tolist()
    largest = len(latencies) - 1
    out = [float("nan")] * len(arrivals)
    waiting: deque[int] = deque()
    idle: list[simpy.Event] = []  # servers that sleep until there is something to take
    filling: list[simpy.Event] = []  # the one server, if any, that waits for a batch to fill

    def source() -> Steps:
        for i, arrival in enumerate(arrivals):
            yield env.timeout(arrival - env.now)
            waiting.append(i)
            if filling:
                if len(waiting) >= largest:
                    filling.pop().succeed()
            elif idle:
                idle.pop().succeed()

    def fill() -> Steps:
        """Waits until the batch is full or its oldest request has waited long enough."""
        left = arrivals[waiting[0]] + max_wait_s - env.now
        if left > 0 and len(waiting) < largest:
            full = env.event()
            filling.append(full)
            yield full | env.timeout(left)
            if full in filling:
                filling.remove(full)

    def server() -> Steps:
        while True:
            while waiting and env.now - arrivals[waiting[0]] > drop_after_s:
                waiting.popleft()
            if not waiting or filling:
                wake = env.event()
                idle.append(wake)
                yield wake
                continue
            if max_wait_s:
                yield from fill()
            batch = [waiting.popleft()]
            while waiting and len(batch) < largest:
                batch.append(waiting.popleft())
            if max_wait_s and waiting and idle:
                idle.pop().succeed()
            yield env.timeout(latencies[len(batch)] * noise[batch[0]])
            for i in batch:
                out[i] = env.now - arrivals[i]

    env.process(source())
    for _ in range(n_servers):
        env.process(server())
    env.run()
    return np.array(out)

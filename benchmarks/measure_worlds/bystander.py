"""What one world feels of others of its process: of joins, and of big tensors that move."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.measure_worlds.team import meet, team, world_of
from benchmarks.rows import Row, row
from runtime.worlds import World, WorldError, WorldManager

BIG = {"4 MB": 4 << 20, "64 MB": 64 << 20}


def pong(manager: WorldManager, name: str, count: int) -> None:
    """A member's part of `pings`."""
    world = world_of(manager, name)
    tensor = torch.ones(1000, device=world.device)
    for _ in range(count):
        world.recv(tensor, 0)
        world.send(tensor, 0)


def pings(world: World, count: int, into: list[float]) -> None:
    """Seconds of so many round trips of 4 KB."""
    tensor = torch.ones(1000, device=world.device)
    for _ in range(count):
        began_s = time.perf_counter()
        world.send(tensor, 1)
        world.recv(tensor, 1)
        into.append(time.perf_counter() - began_s)
        time.sleep(0.0005)


def latency_row(figure: str, without_s: list[float], beside_s: list[float]) -> Row:
    """How many times as long the 99th percentile is."""
    without, beside = (1e6 * np.percentile(seconds, [50, 99]) for seconds in (without_s, beside_s))
    how = f"p50 {without[0]:.0f} -> {beside[0]:.0f} µs, p99 {without[1]:.0f} -> {beside[1]:.0f} µs, "
    how += f"{len(beside_s)} round trips each"
    return row(figure, beside[1] / without[1], "ratio", how)


def _send_until_it_ends(manager: WorldManager, name: str, size: int) -> None:
    world = world_of(manager, name)
    tensor = torch.ones(size // 4, device=world.device)
    try:
        while True:
            world.send(tensor, 0)
    except WorldError:
        return


def traffic_rows(backend: str, rounds: int) -> Iterator[Row]:
    """Round trips in one world, without and with big tensors that come in another."""
    with team(2) as (manager, (talker, sender)):
        world = meet(manager, talker, "bystander", backend)
        for name, size in BIG.items():
            seconds: dict[bool, list[float]] = {False: [], True: []}
            for number in range(2 * rounds):
                busy = bool(number % 2)
                talker.start(pong, "bystander", 200)
                if busy:
                    other = meet(manager, sender, "big", backend)
                    sender.start(_send_until_it_ends, "big", size)
                    receiving = threading.Thread(target=_receive_until_it_ends, args=(other, size))
                    receiving.start()
                pings(world, 200, seconds[busy])
                talker.result()
                if busy:
                    manager.leave(other)
                    receiving.join()
                    sender.result()
            yield latency_row(f"bystander's p99 beside tensors of {name}", seconds[False], seconds[True])


def _receive_until_it_ends(world: World, size: int) -> None:
    into = torch.empty(size // 4, device=world.device)
    try:
        while True:
            world.recv(into, 1)
    except WorldError:
        return

"""What a world costs against plain `torch.distributed`, in one run and in turns."""

from __future__ import annotations

import random
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.distributed as plain

from benchmarks.measure_worlds.team import Helper, meet, team, world_of
from benchmarks.rows import Row, quantity, row
from runtime.worlds import World, WorldManager

SIZES = {"4 KB": (4_096, 400), "40 KB": (40_960, 400), "400 KB": (409_600, 200), "4 MB": (4_194_304, 40)}  # bytes, messages
TARGET_PERCENT, FRAMED_PERCENT = 1.4, 10.0


def start_plain(_: WorldManager | None, rank: int, size: int, port: int, backend: str) -> None:
    """Join the one process group that plain torch knows."""
    plain.init_process_group(backend, init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)


def _tensor(size: int, world: World) -> torch.Tensor:
    return torch.ones(size // 4, device=world.device)


def send_plain(manager: WorldManager, name: str, size: int, count: int) -> None:
    """A helper's part: by plain torch, from where the world of that name has its tensors."""
    tensor = _tensor(size, world_of(manager, name))
    for _ in range(count):
        plain.send(tensor, 0)


def send_known(manager: WorldManager, name: str, size: int, count: int) -> None:
    """A helper's part: into a tensor that the receiver knows."""
    world = world_of(manager, name)
    tensor = _tensor(size, world)
    for _ in range(count):
        world.send(tensor, 0, size)


def send_framed(manager: WorldManager, name: str, size: int, count: int) -> None:
    """A helper's part: as messages."""
    world = world_of(manager, name)
    message = [_tensor(size, world)]
    for _ in range(count):
        world.send_message(message, 0)


def _timed(receive: Callable[[], Any], count: int) -> float:
    """Messages per second; the first is not counted."""
    receive()
    began_s = time.perf_counter()
    for _ in range(count - 1):
        receive()
    return (count - 1) / (time.perf_counter() - began_s)


def one_sender(world: World, helper: Helper, size: int) -> dict[str, Callable[[int], float]]:
    """Ways to bring messages from one sender, each a function from their number to messages per second."""
    into = _tensor(size, world)

    def by(send: Callable[..., None], *arguments: Any, receive: Callable[[], Any]) -> Callable[[int], float]:
        def run(count: int) -> float:
            helper.start(send, *arguments, size, count)
            speed = _timed(receive, count)
            helper.result()
            return speed

        return run

    return {
        "plain": by(send_plain, world.name, receive=lambda: plain.recv(into, 1)),
        "known": by(send_known, world.name, receive=lambda: world.recv(into, 1, size)),
        "framed": by(send_framed, world.name, receive=lambda: world.recv_message(1)),
    }


def two_senders(worlds: list[World], helpers: list[Helper], size: int) -> dict[str, Callable[[int], float]]:
    """The same with two: plain torch in one group of three, we in two worlds of two."""
    into = [_tensor(size, world) for world in worlds]

    def in_one_group(count: int) -> float:
        def receive() -> None:
            for work in [plain.irecv(tensor, rank) for rank, tensor in enumerate(into, 1)]:
                work.wait()  # type: ignore[union-attr]

        for world, helper in zip(worlds, helpers):
            helper.start(send_plain, world.name, size, count)
        speed = 2 * _timed(receive, count)
        [helper.result() for helper in helpers]
        return speed

    def in_two_worlds(count: int) -> float:
        for world, helper in zip(worlds, helpers):
            helper.start(send_known, world.name, size, count)

        def receive() -> None:
            for transfer in [world.irecv(tensor, 1, size) for world, tensor in zip(worlds, into)]:
                transfer.wait()

        speed = 2 * _timed(receive, count)
        [helper.result() for helper in helpers]
        return speed

    return {"plain": in_one_group, "known": in_two_worlds}


def in_turns(ways: dict[str, Callable[[int], float]], count: int, order: random.Random) -> dict[str, float]:
    """Messages per second of each way: each runs twice, in an order drawn anew each time."""
    for way in ways.values():
        way(20)  # what only the first messages of a lane cost
    runs = [{name: ways[name](count) for name in order.sample(list(ways), len(ways))} for _ in range(2)]
    return {name: float(np.mean([run[name] for run in runs])) for name in ways}


def median_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Median and its 95 % interval, from order statistics (no assumption about the values but independence)."""
    ordered, count = np.sort(values), len(values)
    reach = 1.96 * np.sqrt(count) / 2
    low, high = max(0, int(np.floor(count / 2 - reach))), min(count - 1, int(np.ceil(count / 2 + reach)))
    return float(np.median(values)), float(ordered[low]), float(ordered[high])


def loss_row(figure: str, speeds: dict[str, np.ndarray], way: str, target: float) -> Row:
    """How many percent fewer messages than plain torch: the upper end of the interval counts."""
    loss, low, high = median_interval(100 * (1 - speeds[way] / speeds["plain"]))
    how = f"loss {loss:+.1f} % [{low:+.1f}, {high:+.1f}], median of {len(speeds[way])} rounds and its 95 % interval; "
    how += f"{quantity(float(np.median(speeds[way])))} against {quantity(float(np.median(speeds['plain'])))} messages/s"
    return row(figure, high, "%", how, target=target)


def one_round(backend: str, order: random.Random) -> Iterator[tuple[str, dict[str, float]]]:
    """All cases once, between processes and groups made for it: how the system places their threads differs from one to the
    next.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with team(2) as (manager, helpers):
        for place, helper in enumerate(helpers, 1):
            helper.start(start_plain, place, 3, port, backend)
        start_plain(None, 0, 3, port, backend)
        [helper.result() for helper in helpers]
        worlds = [meet(manager, helper, f"edge {number}", backend) for number, helper in enumerate(helpers)]
        for name, (size, count) in SIZES.items():
            yield f"{name}, 1 sender", in_turns(one_sender(worlds[0], helpers[0], size), count, order)
            yield f"{name}, 2 senders, 2 worlds", in_turns(two_senders(worlds, helpers, size), count, order)
        plain.destroy_process_group()


def rows(backend: str, rounds: int) -> Iterator[Row]:
    """All rows of throughput."""
    order, speeds = random.Random(1), defaultdict[str, list[dict[str, float]]](list)
    for _ in range(rounds):
        for case, by_way in one_round(backend, order):
            speeds[case].append(by_way)
    for case in sorted(speeds, key=lambda case: "2 senders" in case):
        columns = {way: np.array([one[way] for one in speeds[case]]) for way in speeds[case][0]}
        yield loss_row(f"throughput loss, {case}", columns, "known", TARGET_PERCENT)
        if "framed" in columns:
            yield loss_row(f"throughput loss, {case}, framed", columns, "framed", FRAMED_PERCENT)

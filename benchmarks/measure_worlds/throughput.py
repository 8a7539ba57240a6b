"""What a world costs against plain `torch.distributed`, in one run and in turns.

In a round the same processes run all ways in short blocks, in an order drawn anew for each turn, so that whatever disturbs one
way disturbs all; rounds differ in their processes, groups and connections. Threads are kept to cores in all ways alike (see
`pinned`): where the system puts them would else decide more than who sends.
"""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.distributed as plain

from benchmarks.measure_worlds.member import Member
from benchmarks.measure_worlds.team import join, meet, pinned, team, world_of
from benchmarks.rows import Row, quantity, row
from runtime.worlds import State, World, WorldManager

SIZES = {"4 KB": (4_096, 200), "40 KB": (40_960, 200), "400 KB": (409_600, 80), "4 MB": (4_194_304, 16)}  # bytes, messages
BLOCKS = 9  # of so many messages, of each way in a round
TARGET_PERCENT, FRAMED_PERCENT = 1.4, 10.0
WIDE = "all"  # the world of all three


def start_plain(_: WorldManager | None, rank: int, size: int, port: int, backend: str) -> None:
    """Join the one process group that plain torch knows."""
    plain.init_process_group(backend, init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)


def _tensor(size: int, world: World) -> torch.Tensor:
    return torch.ones(size // 4, device=world.device)


def send_blocks(manager: WorldManager, name: str, size: int, count: int, order: list[str]) -> list[float]:
    """A member's part: so many messages by each way of the order; CPU seconds of each block."""
    world, wide = world_of(manager, name), world_of(manager, WIDE)
    tensor = _tensor(size, world)
    ways: dict[str, Callable[[], object]] = {
        "plain": lambda: plain.send(tensor, 0),
        "known": lambda: world.send(tensor, 0, size),
        "wide": lambda: wide.send(tensor, 0, size),
        "framed": lambda: world.send_message([tensor], 0),
    }
    took_s = []
    for way in order:
        send, began_s = ways[way], time.process_time()
        for _ in range(count):
            send()
        took_s.append(time.process_time() - began_s)
    return took_s


def receivers(worlds: list[World], wide: World, size: int) -> dict[str, Callable[[], object]]:
    """Ways to receive one message from every sender: plain torch in one group of all, we in a world with each, or in one of
    all.
    """
    into = [_tensor(size, world) for world in worlds]
    if len(worlds) == 1:
        (world,), (tensor,) = worlds, into
        return {
            "plain": lambda: plain.recv(tensor, 1),
            "known": lambda: world.recv(tensor, 1, size),
            "framed": lambda: world.recv_message(1),
        }

    def in_one_group() -> None:
        for work in [plain.irecv(tensor, rank) for rank, tensor in enumerate(into, 1)]:
            work.wait()  # type: ignore[union-attr]

    def in_worlds() -> None:
        for transfer in [world.irecv(tensor, 1, size) for world, tensor in zip(worlds, into)]:
            transfer.wait()

    def in_one_world() -> None:
        for transfer in [wide.irecv(tensor, rank, size) for rank, tensor in enumerate(into, 1)]:
            transfer.wait()

    return {"plain": in_one_group, "known": in_worlds, "wide": in_one_world}


def in_blocks(
    worlds: list[World], wide: World, members: list[Member], size: int, count: int, order: random.Random
) -> dict[str, np.ndarray]:
    """By way, (2, blocks): seconds for each message, by the clock and of CPU in all processes."""
    ways = receivers(worlds, wide, size)
    turns = list(ways) + [way for _ in range(BLOCKS) for way in order.sample(list(ways), len(ways))]
    for world, member in zip(worlds, members):
        member.start(send_blocks, world.name, size, count, turns)
    wall_s, cpu_s = [], []
    for way in turns:
        receive, cpu_began_s = ways[way], time.process_time()
        receive()  # from here on all are in this block
        began_s = time.perf_counter()
        for _ in range(count - 1):
            receive()
        wall_s.append((time.perf_counter() - began_s) / (count - 1))
        cpu_s.append(time.process_time() - cpu_began_s)
    taken = np.array([wall_s, (np.array(cpu_s) + np.sum([member.result() for member in members], axis=0)) / count])
    taken /= len(worlds)
    chosen = np.array(turns)
    chosen[: len(ways)] = ""  # what only the first messages of a lane cost
    return {way: taken[:, chosen == way] for way in ways}


def median_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Median and its 95 % interval, from order statistics (no assumption about the values but independence)."""
    ordered, count = np.sort(values), len(values)
    reach = 1.96 * np.sqrt(count) / 2
    low, high = max(0, int(np.floor(count / 2 - reach))), min(count - 1, int(np.ceil(count / 2 + reach)))
    return float(np.median(values)), float(ordered[low]), float(ordered[high])


def loss(rounds: list[dict[str, np.ndarray]], way: str, against: str) -> tuple[float, float, str]:
    """How many percent fewer messages go one way than another: both ends of the interval, and how it comes about.

    Args:
        rounds: what `in_blocks` measured, once for each round; of a round's blocks the median counts.
        way: whose loss.
        against: the other.
    """
    ours, theirs = (np.array([np.median(blocks[which], axis=1) for blocks in rounds]) for which in (way, against))
    median, low, high = median_interval(100 * (1 - theirs[:, 0] / ours[:, 0]))
    cpu = median_interval(ours[:, 1] / theirs[:, 1])
    how = f"loss {median:+.1f} % [{low:+.1f}, {high:+.1f}], median of {len(rounds)} rounds and its 95 % interval; "
    how += " against ".join(quantity(float(1 / np.median(side[:, 0]))) for side in (ours, theirs)) + " messages/s, "
    how += f"{cpu[0]:.2f} [{cpu[1]:.2f}, {cpu[2]:.2f}] of its CPU time"
    return low, high, how


def loss_row(figure: str, rounds: list[dict[str, np.ndarray]], way: str, target: float) -> Row:
    """A loss against plain torch: the upper end of the interval counts."""
    _, high, how = loss(rounds, way, "plain")
    return row(figure, high, "%", how, target=target)


def one_round(backend: str, order: random.Random, anywhere: bool) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """All cases once, between processes and groups made for it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with team(2) as (manager, members):
        for place, member in enumerate(members, 1):
            member.start(start_plain, place, 3, port, backend)
        start_plain(None, 0, 3, port, backend)
        [member.result() for member in members]
        worlds = [meet(manager, member, f"edge {number}", backend) for number, member in enumerate(members)]
        wide = manager.create(WIDE, 3, backend=backend, wait=False)
        for rank, member in enumerate(members, 1):
            member.start(join, WIDE, manager.address, rank)
        [member.result() for member in members]
        wide.wait(State.UP)
        with contextlib.nullcontext() if anywhere else pinned(members):
            for name, (size, count) in SIZES.items():
                yield f"{name}, 1 sender", in_blocks(worlds[:1], wide, members[:1], size, count, order)
                yield f"{name}, 2 senders", in_blocks(worlds, wide, members, size, count, order)
        plain.destroy_process_group()


def rows(backend: str, rounds: int, anywhere: bool = False) -> Iterator[Row]:
    """All rows of throughput; with threads kept to cores, or anywhere."""
    order, measured = random.Random(1), defaultdict[str, list[dict[str, np.ndarray]]](list)
    for _ in range(rounds):
        for case, by_way in one_round(backend, order, anywhere):
            measured[case].append(by_way)
    for case in sorted(measured, key=lambda case: "2 senders" in case):
        rounds_of_it = measured[case]
        yield loss_row(f"throughput loss, {case}", rounds_of_it, "known", TARGET_PERCENT)
        if "framed" in rounds_of_it[0]:
            yield loss_row(f"throughput loss, {case}, framed", rounds_of_it, "framed", FRAMED_PERCENT)
        else:
            low, _, how = loss(rounds_of_it, "known", "wide")
            yield row(f"two worlds against one of three, {case}", low, "%", f"lower end; {how}", target=0)

"""What one world feels of what goes on beside it: of joins (`joining.py`), and of big tensors that move.

It happens in the bystander's process and, as a control, between two other processes: so what a machine does to anybody's round
trips while others work is told apart from what a world does to its neighbours. All times are `time.perf_counter()`, which all
processes of a machine share on Linux.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.measure_worlds.team import join, meet, team, world_of
from benchmarks.measure_worlds.throughput import median_interval
from benchmarks.rows import Row, row
from runtime.worlds import World, WorldError, WorldManager

TURN_S = 0.4
BIG = {"4 MB": 4 << 20, "64 MB": 64 << 20}
DRAWS = 1000
Span = tuple[float, float]
"""When something began, and when it had ended."""
Happening = Callable[[], Sequence[Span] | None]
"""What happens in a turn; where single things do, when."""


class Turn(NamedTuple):
    """What was felt in one turn.

    Attributes:
        trips: (n, 2) the span of each round trip.
        events: (m, 2) that of each thing that happened.
    """

    trips: np.ndarray
    events: np.ndarray

    @property
    def seconds(self) -> np.ndarray:
        """(n,) of the round trips."""
        return self.trips[:, 1] - self.trips[:, 0]

    @property
    def seconds_meanwhile(self) -> np.ndarray:
        """Those of the round trips that overlap one of the events."""
        began, ended = (self.trips[:, at, None] for at in (0, 1))
        return self.seconds[((began < self.events[:, 1]) & (ended > self.events[:, 0])).any(axis=1)]


Felt = dict[str, list[Turn]]
"""By what happened, for each round."""


def pong(manager: WorldManager, name: str) -> None:
    """A member's part of `pings`: sends back what comes."""
    world = world_of(manager, name)
    tensor = torch.ones(1000, device=world.device)
    with contextlib.suppress(WorldError):
        while True:
            world.recv(tensor, 0)
            world.send(tensor, 0)


def pings(world: World, over: threading.Event, into: list[Span]) -> None:
    """Round trips of 4 KB."""
    tensor = torch.ones(1000, device=world.device)
    while not over.is_set():
        began_s = time.perf_counter()
        world.send(tensor, 1)
        world.recv(tensor, 1)
        into.append((began_s, time.perf_counter()))
        time.sleep(0.0005)


def in_turns(world: World, here: Happening, elsewhere: Happening, rounds: int) -> Felt:
    """What round trips in a world feel of nothing, of what happens in their process, and of the same in other processes."""
    nothing = partial(time.sleep, TURN_S)
    happenings: dict[str, Happening] = {"nothing": nothing, "here": here, "elsewhere": elsewhere}
    felt: Felt = {case: [] for case in happenings}
    for _ in range(rounds):
        for case, happening in happenings.items():
            over, trips = threading.Event(), list[Span]()
            talking = threading.Thread(target=pings, args=(world, over, trips))
            talking.start()
            try:
                events = happening()
            finally:
                over.set()
                talking.join()
            felt[case].append(Turn(np.array(trips), np.reshape(events or [], (-1, 2))))
    return felt


def latency_rows(figure: str, felt: Felt) -> Iterator[Row]:
    """How many times as long the 99th percentile is as without, here (the target: what chance alone makes of it) and in the
    control.
    """
    seconds = {case: [turn.seconds for turn in turns] for case, turns in felt.items()}
    p99 = {case: 1e6 * np.array([np.percentile(of_one, 99) for of_one in turns]) for case, turns in seconds.items()}
    without, target = _percentiles(seconds["nothing"]), _by_chance(seconds["nothing"])
    told = {"here": _interval(p99["here"] / p99["elsewhere"], ".2f") + " x the control's",
            "elsewhere": "between two processes that the bystander has nothing to do with"}  # fmt: skip
    for case, name in (("here", figure), ("elsewhere", f"{figure}: control")):
        beside = _percentiles(seconds[case])
        how = f"p50 {without[0]:.0f} -> {beside[0]:.0f} µs, p99 {without[1]:.0f} -> {beside[1]:.0f} µs "
        how += f"of {sum(map(len, seconds[case]))} round trips; p99 of a round, median of {len(p99[case])} and 95 % interval: "
        how += f"{_interval(p99['nothing'])} -> {_interval(p99[case])} µs; {told[case]}"
        yield row(name, beside[1] / without[1], "ratio", how, target=target if case == "here" else None)


def meanwhile_row(figure: str, felt: Felt) -> Row:
    """The round trips that an event overlaps: the lower end of the interval of their p99 over the control's; at most 1 where
    the difference may be chance.
    """
    seconds = {case: [turn.seconds_meanwhile for turn in felt[case]] for case in ("here", "elsewhere")}
    draw, rounds = np.random.default_rng(2), len(felt["here"])
    ratios = [
        _percentiles([seconds["here"][at] for at in drawn])[1] / _percentiles([seconds["elsewhere"][at] for at in drawn])[1]
        for drawn in draw.integers(rounds, size=(DRAWS, rounds))
    ]
    low, high = np.percentile(ratios, [2.5, 97.5])
    here, elsewhere = (np.concatenate(seconds[case]) for case in ("here", "elsewhere"))
    of = ", ".join(
        f"p{percent} {1e6 * np.percentile(here, percent):.0f} against {1e6 * np.percentile(elsewhere, percent):.0f} µs"
        for percent in (50, 90, 99)
    )
    ratio = np.percentile(here, 99) / np.percentile(elsewhere, 99)
    how = f"lower end; {ratio:.2f} [{low:.2f}, {high:.2f}], rounds drawn again; {of} in the control; {len(here)} round trips"
    return row(figure, float(low), "ratio", how, target=1.0)


def _percentiles(rounds: list[np.ndarray]) -> tuple[float, float]:
    """Microseconds: 50th and 99th, of all rounds together."""
    p50, p99 = 1e6 * np.percentile(np.concatenate(rounds), [50, 99])
    return float(p50), float(p99)


def _interval(values: np.ndarray, form: str = ".0f") -> str:
    median, low, high = median_interval(values)
    return f"{median:{form}} [{low:{form}}, {high:{form}}]"


def _by_chance(rounds: list[np.ndarray]) -> float:
    """What the ratio of the 99th percentiles of two runs alike stays below in 39 of 40 cases: both of rounds drawn again."""
    draw = np.random.default_rng(1)
    runs = np.array([
        _percentiles([rounds[at] for at in draw.integers(len(rounds), size=len(rounds))])[1] for _ in range(2 * DRAWS)
    ])  # fmt: skip
    return float(np.percentile(runs[:DRAWS] / runs[DRAWS:], 97.5))


def send_for(manager: WorldManager, name: str, size: int, seconds: float) -> None:
    """A member's part of `receive`: sends tensors for so long; the last one begins with 0."""
    world = world_of(manager, name)
    tensor, until_s = torch.ones(size // 4, device=world.device), time.monotonic() + seconds
    while tensor[0]:
        tensor[0] = time.monotonic() < until_s
        world.send(tensor, 0)


def receive(manager: WorldManager, name: str, size: int) -> None:
    """Tensors, up to the last one."""
    world = world_of(manager, name)
    into = torch.ones(size // 4, device=world.device)
    while into[0]:
        world.recv(into, 1)


def create(manager: WorldManager, name: str, backend: str) -> None:
    """A world of two."""
    manager.create(name, 2, backend=backend)


def traffic_rows(backend: str, rounds: int) -> Iterator[Row]:
    """Round trips in one world while big tensors come in another."""
    with team(3) as (manager, (talker, sender, other)):
        world = meet(manager, talker, "bystander", backend)
        talker.start(pong, world.name)
        for name, size in BIG.items():

            def here(name: str = name, size: int = size) -> None:
                sender.start(send_for, f"{name} here", size, TURN_S)
                receive(manager, f"{name} here", size)
                sender.result()

            def elsewhere(name: str = name, size: int = size) -> None:
                other.start(receive, f"{name} elsewhere", size)
                sender.run(send_for, f"{name} elsewhere", size, TURN_S)
                other.result()

            meet(manager, sender, f"{name} here", backend)
            other.start(create, f"{name} elsewhere", backend)
            sender.run(join, f"{name} elsewhere", other.address)
            other.result()
            yield from latency_rows(f"bystander's p99 beside tensors of {name}", in_turns(world, here, elsewhere, rounds))
        manager.leave(world)
        talker.result()

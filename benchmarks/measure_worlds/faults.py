"""How soon a crash and a freeze are seen, and how often one is seen that is none."""

from __future__ import annotations

import ctypes
import pickle
import signal
import threading
import time
from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.measure_worlds.member import Member
from benchmarks.measure_worlds.team import meet, team, world_of
from benchmarks.rows import Row, row
from runtime.worlds import State, World, WorldError, WorldManager

CRASH_TARGET_S, FREEZE_TARGET_S = 0.05, 0.6


def seconds_row(figure: str, seconds: list[float], target: float | None) -> Row:
    """The median, with the extremes beside it."""
    low, median, high = (1e3 * float(value) for value in np.percentile(seconds, [0, 50, 100]))
    how = f"min {low:.1f}, median {median:.1f}, max {high:.1f} ms of {len(seconds)}"
    return row(figure, median / 1e3, "s", how, target=target)


def _blocked(world: World, freed: list[float]) -> None:
    try:
        world.recv(torch.empty(1000, device=world.device), 1)
    except WorldError:
        freed.append(time.monotonic())


def _seen(manager: WorldManager, fault: signal.Signals, in_flight: bool, backend: str, number: int) -> float:
    member = Member()
    try:
        world, freed = meet(manager, member, f"victim {number}", backend), []  # type: tuple[World, list[float]]
        blocked = threading.Thread(target=_blocked, args=(world, freed))
        if in_flight:
            blocked.start()
        time.sleep(0.15 + 0.1 * (number % 10) / 10)  # anywhere between two beats
        at_s = member.signal(fault)
        world.wait(State.BROKEN)
        if in_flight:
            blocked.join()
            return freed[0] - at_s
        assert world.broken is not None
        return world.broken.time_s - at_s
    finally:
        member.end()


def detection_rows(backend: str, repeats: int) -> Iterator[Row]:
    """Crash and freeze, idle and in flight."""
    with WorldManager() as manager:
        for name, fault, target in (("crash", signal.SIGKILL, CRASH_TARGET_S), ("freeze", signal.SIGSTOP, FREEZE_TARGET_S)):
            for in_flight in (False, True):
                seconds = [_seen(manager, fault, in_flight, backend, number) for number in range(repeats)]
                yield seconds_row(f"{name} seen, {'in flight' if in_flight else 'idle'}", seconds, target)


def _burn(_: WorldManager, seconds: float) -> None:
    """Keep a core busy."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        sum(range(10_000))


def load_models(manager: WorldManager, seconds: float) -> list[str]:
    """A member that does what loading models does, long calls that hold the interpreter's lock among it; worlds that broke."""
    until_s, held = time.monotonic() + seconds, ctypes.PyDLL(None)
    rubbish = pickle.dumps([{"name": f"layer {number}", "shape": (number, 3)} for number in range(200_000)])
    while time.monotonic() < until_s:
        layers = [torch.nn.Linear(2048, 2048) for _ in range(8)]
        torch.nn.Sequential(*layers)(torch.ones(4, 2048))
        pickle.loads(rubbish)
        held.usleep(1_500_000)
        time.sleep(0.1)
    return [world.name for world in manager.list()]


def alarm_rows(backend: str, minutes: float) -> Iterator[Row]:
    """Members that load models on a machine with far too much to do: none may be taken for dead."""
    with team(4) as (manager, members), team(4) as (_, burners):
        worlds = [meet(manager, member, f"member {number}", backend) for number, member in enumerate(members)]
        beside = [meet(manager, member, f"beside {number}", backend) for number, member in enumerate(members)]
        echo = [threading.Thread(target=_echo, args=(world, minutes * 60), daemon=True) for world in beside]
        for thread in echo:
            thread.start()
        for member in burners:
            member.start(_burn, minutes * 60)
        for number, member in enumerate(members):
            member.start(_answer_and_load, f"beside {number}", minutes * 60)
        kept = [member.result() for member in members]
        alive = sum(world.state is State.UP for world in [*worlds, *beside])
        lost = 2 * len(members) - min(alive, sum(map(len, kept)))
        how = f"{2 * len(members)} worlds, {minutes:g} minutes, {len(burners)} busy processes, {len(members)} that load models"
        yield row("false alarms", lost, "alarms", how, target=0)


def _echo(world: World, seconds: float) -> None:
    until_s, tensor = time.monotonic() + seconds, torch.ones(100, device=world.device)
    while time.monotonic() < until_s:
        world.send(tensor, 1)
        time.sleep(0.01)


def _answer_and_load(manager: WorldManager, name: str, seconds: float) -> list[str]:
    world = world_of(manager, name)

    def answer() -> None:
        into = torch.empty(100, device=world.device)
        try:
            while True:
                world.recv(into, 0)
        except WorldError:
            return

    threading.Thread(target=answer, daemon=True).start()
    return load_models(manager, seconds)

"""How long joining takes, what a bystander feels of it, and what worlds that come and go leave behind."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.measure_worlds.bystander import TURN_S, Span, in_turns, latency_rows, meanwhile_row, pong
from benchmarks.measure_worlds.faults import seconds_row
from benchmarks.measure_worlds.member import Member
from benchmarks.measure_worlds.team import meet, team
from benchmarks.rows import Row, row
from runtime.worlds import State, WorldManager

JOIN_TARGET_S = 0.02
PAUSES_S = {"a join every 0.1 s": 0.1, "a join every 20 ms": 0.02}
OFTEN_S = min(PAUSES_S.values())
COST_ROUNDS = 5


def joins_of(pause_s: float) -> int:
    """How many joins a turn has."""
    return round(TURN_S / pause_s)


def host(manager: WorldManager, backend: str, pause_s: float) -> list[float]:
    """Makes one world after another with a guest, and leaves each as soon as he is there; when each was up."""
    up_s = []
    for number in range(joins_of(pause_s)):
        world = manager.create(f"guest {number}", 2, backend=backend)
        up_s.append(time.perf_counter())
        manager.leave(world)
    return up_s


def visit(manager: WorldManager, address: str, pause_s: float) -> list[Span]:
    """A guest's part of `host`; when each join began, and when it was up for him."""
    spans = []
    for number in range(joins_of(pause_s)):
        time.sleep(pause_s)
        began_s = time.perf_counter()
        world = manager.join(f"guest {number}", 1, address, wait=False)
        world.wait(State.UP, State.DRAINING)
        spans.append((began_s, time.perf_counter()))
        world.wait()
    return spans


def both(visits: list[Span], up_s: list[float]) -> list[Span]:
    """Joins, until both sides are up."""
    return [(began_s, max(ended_s, host_s)) for (began_s, ended_s), host_s in zip(visits, up_s)]


def _spent(_: WorldManager | None = None) -> tuple[float, int]:
    """Seconds of CPU time that this process has used, and how often its threads have gone to sleep."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime, usage.ru_nvcsw


def cost_row(here: Callable[[], object], guest: Member) -> Row:
    """What joining, and leaving again, costs both sides: it depends little on what else the machine does."""
    before, joins = (_spent(), guest.run(_spent)), COST_ROUNDS * joins_of(OFTEN_S)
    for _ in range(COST_ROUNDS):
        here()
    used = [[(now - then) / joins for now, then in zip(*of)] for of in zip((_spent(), guest.run(_spent)), before)]
    told = (f"{who} {1e6 * cpu_s:.0f} µs, {sleeps:.1f} sleeps" for who, (cpu_s, sleeps) in zip(("host", "guest"), used))
    return row("CPU time of a join and a leave", sum(cpu_s for cpu_s, _ in used), "s", f"{'; '.join(told)}")


def join_rows(backend: str, rounds: int) -> Iterator[Row]:
    """Joins of a warm process while a bystander talks."""
    with team(3) as (manager, (talker, guest, other)):
        took_s: list[float] = []

        def here(pause_s: float) -> list[Span]:
            guest.start(visit, manager.address, pause_s)
            up_s = host(manager, backend, pause_s)
            visits: list[Span] = guest.result()
            took_s.extend(ended_s - began_s for began_s, ended_s in visits)
            return both(visits, up_s)

        def elsewhere(pause_s: float) -> list[Span]:
            other.start(host, backend, pause_s)
            visits = guest.run(visit, other.address, pause_s)
            return both(visits, other.result())

        here(OFTEN_S)  # the processes know each other from now on
        elsewhere(OFTEN_S)
        yield cost_row(partial(here, OFTEN_S), guest)
        took_s.clear()
        world = meet(manager, talker, "bystander", backend)
        talker.start(pong, world.name)
        felt = {
            pause_s: in_turns(world, partial(here, pause_s), partial(elsewhere, pause_s), rounds)
            for pause_s in PAUSES_S.values()
        }
        yield seconds_row("join of a warm process", took_s, JOIN_TARGET_S)
        for name, pause_s in PAUSES_S.items():
            yield from latency_rows(f"bystander's p99, {name}", felt[pause_s])
        yield meanwhile_row("p99 of round trips during a join, over the control's", felt[OFTEN_S])
        manager.leave(world)
        talker.result()


def _held() -> tuple[int, int, int]:
    """Threads, descriptors, resident bytes of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd")), pages * os.sysconf("SC_PAGE_SIZE")


def resource_rows(backend: str, cycles: int, many: int) -> Iterator[Row]:
    """Many worlds at once, and many one after the other."""
    with team(1) as (manager, (member,)):
        meet(manager, member, "warm", backend)
        before = _held()
        worlds = [meet(manager, member, f"world {number}", backend) for number in range(many)]
        grown = [now - then for now, then in zip(_held(), before)]
        how = f"{grown[0] / many:.1f} threads, {grown[1] / many:.1f} descriptors and {grown[2] / many / 1e3:.0f} KB each"
        yield row(f"{many} worlds in one process, up", sum(world.state is State.UP for world in worlds), "worlds", how)
        for world in worlds:
            manager.leave(world)
        for number in range(cycles):
            if number == cycles // 5:
                time.sleep(1)
                before = _held()
            manager.leave(meet(manager, member, "again", backend))
        time.sleep(1)
        for name, now, then in zip(("threads", "descriptors"), _held(), before):
            how = f"{then} -> {now}, from the {cycles // 5}th on"
            yield row(f"{name} grown by {cycles} worlds", now - then, name, how, target=0)
        now, then = _held()[2], before[2]
        how = f"{then / 1e6:.1f} -> {now / 1e6:.1f} MB"
        yield row(f"memory grown by {cycles} worlds", max(0, now - then), "B", how, target=1e6)

"""How long joining takes, what a bystander feels of it, and what worlds that come and go leave behind."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure_worlds.bystander import latency_row, pings, pong
from benchmarks.measure_worlds.faults import seconds_row
from benchmarks.measure_worlds.team import join, meet, team
from benchmarks.rows import Row, row
from runtime.worlds import State

JOIN_TARGET_S = 0.02


def join_rows(backend: str, joins: int, rounds: int) -> Iterator[Row]:
    """Joins of a warm process, in rounds with and without them while a bystander talks."""
    with team(2) as (manager, (bystander, guest)):
        world = meet(manager, bystander, "bystander", backend)
        took: list[float] = []
        latencies: dict[bool, list[float]] = {False: [], True: []}
        manager.leave(meet(manager, guest, "first", backend))  # the processes know each other from now on
        for number in range(2 * rounds):
            joining, trips = bool(number % 2), 600
            bystander.start(pong, "bystander", trips)
            talk = threading.Thread(target=pings, args=(world, trips, latencies[joining]))
            talk.start()
            for count in range(joins // rounds if joining else 0):
                began_s = time.perf_counter()
                new = manager.create(f"guest {count}", 2, backend=backend, wait=False)
                guest.start(join, new.name, manager.address)
                new.wait(State.UP)
                took.append(time.perf_counter() - began_s)
                guest.result()
                manager.leave(new)
                time.sleep(0.02)
            talk.join()
            bystander.result()
        yield seconds_row("join of a warm process", took, JOIN_TARGET_S)
        yield latency_row("bystander's p99 during joins", latencies[False], latencies[True])


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

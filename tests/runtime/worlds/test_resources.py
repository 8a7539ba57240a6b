"""Worlds that are over leave nothing behind, however many there were, and a manager that closes takes everything with it."""

import contextlib
import gc
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch

from runtime.worlds import Exchange, State, WorldManager
from runtime.worlds.pulse import Pulse


def held():
    """Descriptors, threads and child processes of this process."""
    children = 0
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError):  # a thread that has just ended
            children += len(Path(f"/proc/self/task/{task}/children").read_text().split())
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")), children


def settled(expected, timeout_s=10.0):
    """What is held, once it is no more than expected, or at the end of the time."""
    until_s = time.monotonic() + timeout_s
    while any(now > then for now, then in zip(held(), expected)) and time.monotonic() < until_s:
        gc.collect()
        time.sleep(0.05)
    return held()


def cycle(one, two, backend, number):
    world = one.create("w", 2, backend=backend, wait=False)
    other = two.join("w", 1, one.address)
    world.wait(State.UP)
    if number % 3 == 0:
        (one if number % 2 else two).leave(world if number % 2 else other)
    else:
        one.leave(world)
    for end in (world, other):
        end.wait(State.CLOSED, timeout_s=5)


@pytest.mark.parametrize("backend", ["inproc", "gloo"])
def test_worlds_that_come_and_go_leave_nothing(backend):
    exchange = Exchange()
    with WorldManager(exchange=exchange) as one, WorldManager(exchange=exchange) as two:
        for number in range(5):
            cycle(one, two, backend, number)
        time.sleep(1)
        before = held()
        for number in range(60):
            cycle(one, two, backend, number)
        assert all(now <= then + 1 for now, then in zip(settled(before), before))


def carry(world, other):
    """One tensor and one message."""
    receiving = threading.Thread(target=lambda: (other.recv(torch.empty(3), 0), other.recv_message(0)))
    receiving.start()
    world.send(torch.ones(3), 1)
    world.send_message([torch.ones(20_000)], 1)
    receiving.join(10)


def test_worlds_that_are_over_hold_nothing_however_long_they_are_kept():
    with WorldManager() as one, WorldManager() as two:
        kept = []
        for number in range(12):
            kept += [one.create("w", 2, wait=False), two.join("w", 1, one.address)]
            kept[-2].wait(State.UP)
            carry(*kept[-2:])
            one.leave(kept[-2])
            kept[-1].wait(State.CLOSED, timeout_s=5)
            if number == 3:
                time.sleep(1)
                before = held()
        assert all(now <= then + 1 for now, then in zip(settled(before), before))


def test_a_manager_that_closes_leaves_no_thread_descriptor_or_process():
    with WorldManager(exchange=Exchange()):
        pass
    before = held()
    one, two = WorldManager(), WorldManager()
    world = one.create("w", 2, wait=False)
    two.join("w", 1, one.address)
    world.wait(State.UP)
    assert held() > before
    two.close()
    one.close()
    assert all(now <= then for now, then in zip(settled(before), before))


def test_sixty_worlds_in_one_process():
    with WorldManager() as hub, WorldManager() as spokes:
        worlds = [hub.create(f"w{number}", 2, wait=False) for number in range(60)]
        others = [spokes.join(f"w{number}", 1, hub.address) for number in range(60)]
        for number, (world, other) in enumerate(zip(worlds, others)):
            assert world.wait(State.UP) is State.UP
            other_side = torch.empty(1)
            receiving = threading.Thread(target=other.recv, args=(other_side, 0))
            receiving.start()
            world.send(torch.tensor([float(number)]), 1)
            receiving.join(10)
            assert other_side.item() == number


def test_a_beating_process_that_dies_is_replaced_before_anybody_takes_us_for_frozen():
    with WorldManager() as one, WorldManager() as two:
        world = one.create("w", 2, wait=False)
        two.join("w", 1, one.address)
        world.wait(State.UP)
        process = one.links._pulse._process
        process.kill()
        with pytest.raises(TimeoutError):
            one.wait_any([world], timeout_s=3)
        assert one.links._pulse._process.pid != process.pid


def test_while_a_new_beating_process_is_slow_to_start_we_beat_ourselves(monkeypatch, tmp_path):
    with WorldManager() as one, WorldManager() as two:
        world = one.create("w", 2, wait=False)
        two.join("w", 1, one.address)
        world.wait(State.UP)
        (tmp_path / "beat.py").write_text("import time; time.sleep(60)")
        monkeypatch.setattr("runtime.worlds.pulse.BEAT", tmp_path / "beat.py")
        one.links._pulse._process.kill()
        with pytest.raises(TimeoutError):
            two.wait_any(two.list(), timeout_s=1.5)


def test_while_the_beating_process_gets_no_turn_we_beat_ourselves():
    with WorldManager() as one, WorldManager() as two:
        one.create("w", 2, wait=False)
        world = two.join("w", 1, one.address)
        os.kill(one.links._pulse._process.pid, signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            two.wait_any([world], timeout_s=1.5)


@pytest.mark.parametrize("lacking", [MemoryError(), OSError(24, "too many open files")], ids=["memory", "descriptors"])
def test_who_lacks_something_at_a_tick_watches_on(monkeypatch, lacking):
    found, progress = [], Pulse.progress

    def no_more(pulse):
        found.append(pulse)
        if len(found) <= 3:
            raise lacking
        progress(pulse)

    monkeypatch.setattr(Pulse, "progress", no_more)
    with WorldManager():
        until_s = time.monotonic() + 20
        while len(found) < 6 and time.monotonic() < until_s:
            time.sleep(0.05)
    assert len(found) >= 6

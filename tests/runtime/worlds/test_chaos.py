"""Half a minute of random crashes, freezes, leaves and joins around two members that never stop talking, checked against a
history.
"""

import itertools
import random
import threading
import time

import pytest
import torch
from actors import Actor
from members import create, fate, join, world_of

from runtime.worlds import State, WorldError

CHAOS_S = 30.0
STOPPING = threading.Event()  # of an actor's process
HISTORY = {}


def payload(number, size):
    """A message whose every element tells its number."""
    return [torch.tensor([number, size]), torch.full((size,), float(number))]


def sizes(seed):
    """Sizes that a stream goes through: runs of one size, small and large."""
    stream = random.Random(seed)
    while True:
        size = stream.choice([1, 10, 5_000, 20_000, 100_000])
        yield from [size] * stream.randrange(1, 6)


def talk(manager, name, seed):
    """Both sides of the bystanders: send and receive at once until told to stop; then say goodbye and keep the history."""
    world = world_of(manager, name)
    other = 1 - world.rank

    def send():
        for number, size in enumerate(sizes(seed + world.rank)):
            last = STOPPING.is_set()
            world.send_message(payload(-1 if last else number, size), other)
            if last:
                HISTORY["sent"] = number
                return

    def receive():
        HISTORY["received"] = []
        while True:
            head, body = world.recv_message(other)
            if head[0] == -1:
                return
            assert body.numel() == head[1] and bool((body == float(head[0])).all())
            HISTORY["received"].append(int(head[0]))

    def run(role):
        try:
            role()
        except Exception as error:
            HISTORY["error"] = repr(error)

    HISTORY["threads"] = [threading.Thread(target=run, args=(role,), daemon=True) for role in (send, receive)]
    for thread in HISTORY["threads"]:
        thread.start()


def stop_talking(manager):
    STOPPING.set()
    for thread in HISTORY.pop("threads"):
        thread.join(30)
    return HISTORY, [world.name for world in manager.list()]


def pour(manager, name, seed):
    """A short-lived member sends as fast as it can, until the world is over or it shall leave; how much it sent."""
    world, sent = world_of(manager, name), 0
    STOPPING.clear()
    try:
        world.wait(State.UP, timeout_s=10)
        for number, size in enumerate(sizes(seed)):
            if STOPPING.is_set():
                manager.leave(world)
                break
            world.send_message(payload(number, size), 0)
            sent += 1
    except WorldError:
        pass
    HISTORY["poured"] = sent


def start_pouring(manager, name, seed):
    HISTORY["thread"] = threading.Thread(target=pour, args=(manager, name, seed), daemon=True)
    HISTORY["thread"].start()


def leave_after_pouring(manager):
    STOPPING.set()
    HISTORY["thread"].join(20)
    return HISTORY["poured"]


def drink(manager, name):
    """The hub's side of a short-lived world: receive and check, until it is over."""
    world = world_of(manager, name)
    HISTORY[name] = 0

    def receive():
        try:
            world.wait(State.UP, timeout_s=10)
            while True:
                head, body = world.recv_message(1)
                assert (head[0], body.numel()) == (HISTORY[name], head[1]) and bool((body == float(head[0])).all())
                HISTORY[name] += 1
        except WorldError:
            pass
        except Exception as error:
            HISTORY["error"] = f"{name}: {error!r}"

    threading.Thread(target=receive, daemon=True).start()


def drunk(manager, name):
    return HISTORY[name], fate(manager, name, 8.0), HISTORY.get("error")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", [7])
def test_bystanders_never_lose_reorder_or_repeat_a_message(processes, seed):
    chance = random.Random(seed)
    hub, bystander = processes.grow(2)
    processes.world("bystanders", [hub, bystander])
    for member in (hub, bystander):
        member.run(talk, "bystanders", seed)
    until_s, names = time.monotonic() + CHAOS_S, itertools.cycle("abc")  # names are used again and again
    faults = []
    while time.monotonic() < until_s:
        name, guest = next(names), Actor()
        hub.run(create, name, 2, processes.backend, {"wait": False, "init_timeout_s": 5})
        hub.run(drink, name)
        fault = chance.choice(["kill", "freeze", "leave", "kill while joining"])
        faults.append(fault)
        try:
            if fault == "kill while joining":
                guest.start(join, name, 1, hub.address, {})
                time.sleep(chance.uniform(0, 0.02))
                guest.kill()
                _, end, error = hub.run(drunk, name)
                assert end is not None and end[:2] in (("broken", "init_failed"), ("broken", "peer_died")) and error is None
                continue
            guest.run(join, name, 1, hub.address, {})
            guest.run(start_pouring, name, seed)
            time.sleep(chance.uniform(0, 0.8))
            if fault == "leave":
                poured = guest.run(leave_after_pouring)
                assert hub.run(drunk, name) == (poured, ("broken", "left", 1), None)
            else:
                getattr(guest, fault)()
                _, end, error = hub.run(drunk, name)
                assert (end, error) == (("broken", {"kill": "peer_died", "freeze": "frozen"}[fault], 1), None)
        finally:
            guest.end()
    (ours, our_worlds), (theirs, their_worlds) = processes.play([hub, bystander], stop_talking)
    assert "error" not in ours and "error" not in theirs
    assert theirs["received"] == list(range(ours["sent"])) and ours["received"] == list(range(theirs["sent"]))
    assert ours["sent"] > 100 and len(set(faults)) == 4
    assert our_worlds == their_worlds == ["bystanders"]

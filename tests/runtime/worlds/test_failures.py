"""Crashes, freezes and leaves: the world that is concerned ends for the right reason and frees whoever is blocked; no other
notices.
"""

import os
import subprocess
import sys
import time

import pytest
import torch
from actors import TOKEN
from members import HELD, create, fate, join, world_of

from runtime.worlds import State, WorldError, WorldManager

MORE_THAN_A_STREAM_HOLDS = 16_000  # times 4 KB
SOON_S = 5.0  # what takes milliseconds is measured in benchmarks/worlds.py; here it must merely not hang


def blocked(manager, operation, name="w"):
    """Run an operation that cannot end; how it was freed."""
    world = world_of(manager, name)
    tensor = torch.ones(1000, device=world.device)
    try:
        if operation == "send":
            world.recv(tensor, 1)  # so that the lane stands, and the next is under way
            much = tensor.repeat(MORE_THAN_A_STREAM_HOLDS)
            world.send(much, 1, tag=1)
            world.send(much, 1, tag=1)
        elif operation == "recv":
            world.recv(tensor, 1)
            world.recv(tensor, 1)
        elif operation == "send_message":
            world.recv(tensor, 1)
            world.send_message([tensor.repeat(MORE_THAN_A_STREAM_HOLDS)], 1)
        elif operation == "recv_message":
            world.recv(tensor, 1)
            world.recv_message(1)
        else:
            world.all_reduce(tensor)
            world.recv(tensor, 1)
            world.all_reduce(tensor)
    except WorldError as error:
        return type(error).__name__, error.broken.reason.value, error.broken.peer, time.monotonic()
    return None


def begin(manager, operation):
    """The other side: as much as it takes for the first to block."""
    world = world_of(manager)
    tensor = torch.ones(1000, device=world.device)
    if operation == "collective":
        world.all_reduce(tensor)
    world.send(tensor, 0)
    if operation == "send":
        world.recv(tensor.repeat(MORE_THAN_A_STREAM_HOLDS), 0, tag=1)


OPERATIONS = ["send", "recv", "send_message", "recv_message", "collective"]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_whoever_is_in_an_operation_is_freed(processes, operation, fault):
    members = processes.grow(2)
    processes.world("w", members)
    members[0].start(blocked, operation)
    members[1].run(begin, operation)
    time.sleep(0.1)
    at_s = getattr(members[1], fault)()
    error, reason, peer, freed_s = members[0].result()
    assert (error, reason, peer) == ("WorldBroken", {"kill": "peer_died", "freeze": "frozen"}[fault], 1)
    assert 0 <= freed_s - at_s < SOON_S


@pytest.mark.parametrize("creator_survives", [True, False])
@pytest.mark.parametrize("fault, reason", [("kill", "peer_died"), ("freeze", "frozen")])
def test_an_idle_world_ends_too_whoever_created_it(processes, fault, reason, creator_survives):
    members = processes.grow(2)
    processes.world("w", members)
    survivor, victim = (0, 1) if creator_survives else (1, 0)
    getattr(members[victim], fault)()
    assert members[survivor].run(fate) == ("broken", reason, victim)


def test_one_that_thaws_finds_its_worlds_broken_and_can_make_new_ones(processes):
    members = processes.grow(2)
    processes.world("w", members)
    members[1].freeze()
    assert members[0].run(fate) == ("broken", "frozen", 1)
    members[1].thaw()
    assert members[1].run(fate)[0] == "broken"
    processes.world("w", members)
    assert processes.play(members, ping) == ["pong", "pong"]


def ping(manager, name="w"):
    world = world_of(manager, name)
    world.all_reduce(torch.ones(1, device=world.device))
    return "pong"


def test_a_short_stop_is_no_freeze(processes):
    members = processes.grow(2)
    processes.world("w", members)
    members[1].freeze()
    time.sleep(0.2)
    members[1].thaw()
    assert members[0].run(fate, "w", 1.0) is None
    assert processes.play(members, ping) == ["pong", "pong"]


def hold_the_interpreter(manager, seconds):
    """One long call that never releases the interpreter's lock, as loading a model may be."""
    import ctypes

    ctypes.PyDLL(None).usleep(int(seconds * 1e6))


def test_a_process_busy_in_one_long_call_is_not_taken_for_dead_and_blames_nobody(processes):
    members = processes.grow(2)
    processes.world("w", members)
    members[1].start(hold_the_interpreter, 2.5)
    assert members[0].run(fate, "w", 3.0) is None
    members[1].result()
    assert members[1].run(fate, "w", 0.7) is None
    assert processes.play(members, ping) == ["pong", "pong"]


def test_a_world_of_three_ends_for_all_when_one_dies_and_their_other_world_lives(processes):
    members = processes.grow(3)
    processes.world("w", members)
    processes.world("pair", members[:2])
    for member in members[:2]:
        member.start(blocked_in_collective)
    time.sleep(0.1)
    members[2].kill()
    for member in members[:2]:
        assert member.result() == ("peer_died", 2)
    for member in members[:2]:
        member.start(ping, "pair")
    assert [member.result() for member in members[:2]] == ["pong", "pong"]


def test_what_fails_before_the_links_had_their_turn_is_blamed_on_who_died():
    with WorldManager() as one, WorldManager() as two:
        world = one.create("w", 2, wait=False)
        other = two.join("w", 1, one.address)
        world.wait(State.UP)
        other.send_message([torch.zeros(1)], 0)
        world.recv_message(1)
        one.links._loop.call_soon_threadsafe(time.sleep, 0.3)  # as on a busy machine
        for peer in [peer for peers in two.links._peers.values() for peer in peers]:
            two.links._loop.call_soon_threadsafe(peer.hang_up)
        other.streams.abort()
        with pytest.raises(WorldError):
            world.recv_message(1)
        assert (world.broken.reason.value, world.broken.peer) == ("peer_died", 1)


def renew(manager, without, more):
    HELD[manager, "w"] = manager.renew(world_of(manager), without=without, more=more)


def test_survivors_go_on_in_a_new_world_with_one_member_less_and_then_one_more(processes):
    members = processes.grow(4)
    processes.world("w", members[:3])
    members[0].kill()
    for member in members[1:3]:
        assert member.run(fate) == ("broken", "peer_died", 0)
    assert processes.play(members[1:3], renew, [0], 0) == [None, None]
    assert processes.play(members[1:3], ping_sum) == [2, 2]
    processes.play(members[1:3], leave)
    for member in members[1:3]:
        member.start(renew, [], 1)
    members[3].run(join, "w", 2, members[1].address, {})
    assert [member.result() for member in members[1:3]] == [None, None]
    assert processes.play(members[1:], ping_sum) == [3, 3, 3]


def ping_sum(manager):
    world = world_of(manager)
    return world.all_reduce(torch.ones(1, device=world.device)).item()


def blocked_in_collective(manager):
    world = world_of(manager)
    try:
        world.all_reduce(torch.ones(10, device=world.device))
    except WorldError as error:
        return error.broken.reason.value, error.broken.peer
    return None


def receive_until_the_end(manager, plain):
    """Receive what comes; how much, and why it ended."""
    world, got = world_of(manager), 0
    into = torch.empty(20_000, device=world.device)
    try:
        while True:
            tensor = world.recv(into, 0) if plain else world.recv_message(0)[0]
            assert tensor[0].item() == tensor[-1].item() == got
            got += 1
    except WorldError as error:
        return got, error.broken.reason.value


def send_and_leave(manager, count, plain):
    world = world_of(manager)
    for number in range(count):
        tensor = torch.full((20_000,), float(number), device=world.device)
        world.send(tensor, 1) if plain else world.send_message([tensor], 1)
    manager.leave(world)
    return world.state.value


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("count", [1, 200])
def test_a_sender_leaves_and_everything_it_sent_has_arrived(team, count, plain):
    members = team.grow(2)
    team.world("w", members)
    members[0].start(send_and_leave, count, plain)
    members[1].start(receive_until_the_end, plain)
    assert members[0].result() == "closed"
    assert members[1].result() == (count, "left")


def send_until_the_end(manager):
    world, sent = world_of(manager), 0
    try:
        while True:
            world.send_message([torch.full((20_000,), float(sent), device=world.device)], 1)
            sent += 1
    except WorldError as error:
        return sent, error.broken.reason.value


def receive_some_and_leave(manager, count):
    from concurrent.futures import ThreadPoolExecutor

    world, got = world_of(manager), 0

    def receive():
        nonlocal got
        try:
            while True:
                world.recv_message(0)
                got += 1
        except WorldError:
            return None

    with ThreadPoolExecutor(1) as threads:
        receiving = threads.submit(receive)
        while got < count:
            time.sleep(0.001)
        manager.leave(world)
        receiving.result()
    return got, world.state.value


def test_a_receiver_leaves_under_load_and_what_was_sent_was_received(team):
    members = team.grow(2)
    team.world("w", members)
    members[1].start(receive_some_and_leave, 100)
    members[0].start(send_until_the_end)
    got, state = members[1].result()
    sent, reason = members[0].result()
    assert (state, reason) == ("closed", "left")
    assert sent <= got <= sent + 1  # a send that was cut off may have arrived all the same


def leave(manager):
    manager.leave(world_of(manager))


def test_both_leave_at_once(team):
    members = team.grow(2)
    team.world("w", members)
    team.play(members, leave)
    team.world("w", members)
    assert team.play(members, ping) == ["pong", "pong"]


def time_out(manager):
    world = world_of(manager)
    try:
        world.recv_message(1, timeout_s=0.3)
    except WorldError as error:
        return error.broken.reason.value, error.broken.peer
    return None


def test_a_timeout_breaks_the_world_for_both_sides(team):
    members = team.grow(2)
    team.world("w", members)
    assert members[0].run(time_out) == ("timeout", 1)
    assert members[1].run(fate) == ("broken", "timeout", 1)


def test_an_operation_timeout_of_the_world_counts_for_the_first_send_too(team):
    members = team.grow(2)
    team.world("w", members, op_timeout_s=0.3)
    assert members[0].run(send_to_nobody) == "timeout"


def send_to_nobody(manager):
    world = world_of(manager)
    try:
        world.send(torch.ones(1, device=world.device), 1)
    except WorldError as error:
        return error.broken.reason.value
    return None


CARELESS = """
import sys, torch
from runtime.worlds import WorldManager
manager = WorldManager(token={token!r})
world = manager.join("w", 1, {address!r})
raise RuntimeError("of mine")
"""


def test_a_process_that_ends_without_closing_leaves_no_process_behind_and_dies_of_its_own_error(processes):
    (member,) = processes.grow(1)
    if processes.backend != "gloo":
        pytest.skip("the same on every backend")
    member.run(create, "w", 2, "gloo", {"wait": False})
    code = CARELESS.format(token=TOKEN, address=member.address)
    root = os.path.dirname(os.path.dirname(sys.modules["runtime"].__file__))
    careless = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60)
    assert careless.stderr.strip().endswith("RuntimeError: of mine")
    assert careless.returncode == 1
    assert member.run(fate) == ("broken", "left", 1)

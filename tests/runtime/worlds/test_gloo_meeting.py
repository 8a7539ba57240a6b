"""The making of Gloo groups: each world's group has connections of its own, and one that fails in the making harms nobody."""

import contextlib
import os
import socket
import struct
import threading
import time

import pytest
import torch
from actors import Actor
from members import create, join, world_of

from runtime.worlds.backends.gloo_meeting import Door, Meeting, connections
from runtime.worlds.board import Board

CPU = {"op_timeout_s": 20.0}


@pytest.fixture
def actors():
    made = []

    def make(count):
        made.extend(Actor() for _ in range(count))
        return made

    yield make
    for actor in made:
        actor.end()


def ends(manager, name):
    """Both ends of the connection that a world of two takes for its own: ours, theirs."""
    world_of(manager, name).barrier()
    (connection,) = world_of(manager, name)._wire._connections
    return connection.getsockname(), connection.getpeername()


def meet_many(manager, ours, theirs, address):
    """Create and join many worlds at once, with groups that are made at once."""
    got = {}

    def come_up(name):
        join(manager, name, 1, address, CPU) if name in theirs else create(manager, name, 2, "gloo", CPU)
        got[name] = ends(manager, name)

    calls = [threading.Thread(target=come_up, args=(name,)) for name in [*ours, *theirs]]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    return got


def total(manager, name, value):
    """The sum of both members' values."""
    return world_of(manager, name).all_reduce(torch.tensor([value])).item()


def abort(manager, name):
    world_of(manager, name)._wire.abort()


def test_of_worlds_made_at_once_by_two_processes_each_has_a_connection_of_its_own_on_which_both_agree(actors):
    one, two = actors(2)
    names = [f"w{number}" for number in range(16)]
    one.start(meet_many, names[:8], names[8:], two.address)
    two.start(meet_many, names[8:], names[:8], one.address)
    at_one, at_two = one.result(), two.result()
    assert at_one == {name: (ours, theirs) for name, (theirs, ours) in at_two.items()}
    assert len(set(at_one.values())) == len(names)


def test_shutting_down_one_connection_ends_just_its_world(actors):
    one, two = actors(2)
    names = [f"w{number}" for number in range(6)]
    one.start(meet_many, names[:3], names[3:], two.address)
    two.start(meet_many, names[3:], names[:3], one.address)
    one.result(), two.result()
    while names:
        abort_at, name = (one, two)[len(names) % 2], names.pop()
        abort_at.run(abort, name)
        with pytest.raises(AssertionError, match="Broken"):
            one.start(total, name, 1.0)
            two.start(total, name, 2.0)
            [two.result(), one.result()]
        with pytest.raises(AssertionError, match="Broken"):
            one.result()
        for other in names:
            one.start(total, other, 1.0)
            two.start(total, other, 2.0)
            assert (one.result(), two.result()) == (3.0, 3.0)


def tell_of(host, note):
    """What a member would tell that listens at another address, and is like us in all else."""
    at = note.index(struct.pack("=H", socket.AF_INET), note.index(b"\x88" + bytes(7)))  # an address takes 136 bytes
    return note[: at + 4] + socket.inet_aton(host) + note[at + 8 :]


def meet_nobody(deadline_s=0.05):
    """Meet a member that says where it listens, at a greater address, and never connects; our door."""
    doors = []

    def post(key, value, ranks):
        doors.append(Door.read(value))
        board.receive(1, key[:-1] + "1", tell_of("127.0.0.2", value))

    board = Board(0, 2, post)
    with pytest.raises(TimeoutError, match="the data connections did not stand in time"):
        Meeting(board, time.monotonic() + deadline_s, "127.0.0.1").hold()
    return doors[0]


def meet():
    """The connections of both ends of a group in this process."""
    boards, found = [], [None, None]
    boards.append(Board(0, 2, lambda key, value, ranks: boards[1].receive(0, key, value)))
    boards.append(Board(1, 2, lambda key, value, ranks: boards[0].receive(1, key, value)))

    def come(rank):
        found[rank] = Meeting(boards[rank], time.monotonic() + 10, "127.0.0.1").hold()[1]

    joining = threading.Thread(target=come, args=(1,))
    joining.start()
    come(0)
    joining.join()
    return found


def come_late(_):
    """Members connect after their worlds have failed; then a group is made in the same process."""
    doors = [meet_nobody() for _ in range(10)]
    time.sleep(1.5)  # Gloo's own timeouts are whole seconds
    for door in doors:
        with contextlib.suppress(ConnectionError), socket.create_connection(door.end) as late:
            late.sendall(struct.pack("@n", door.numbers[1]))
            time.sleep(0.02)
    (one,), (two,) = meet()
    return one.getsockname() == two.getpeername() and one.getpeername() == two.getsockname()


def test_a_member_that_connects_after_its_world_has_failed_harms_nobody(actors):
    (actor,) = actors(1)
    assert actor.run(come_late)  # else its process would die by a signal


def test_a_world_that_fails_while_it_connects_leaves_no_thread_and_no_descriptor():

    def held():
        return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

    meet_nobody()
    time.sleep(0.5)
    before = held()
    for _ in range(5):
        meet_nobody()
    until_s = time.monotonic() + 10
    while held() != before and time.monotonic() < until_s:
        time.sleep(0.02)
    assert held() == before


def test_a_door_is_read_from_what_gloo_tells():
    size, number = struct.Struct("@N"), struct.Struct("@n")
    address = struct.pack("=H", socket.AF_INET6) + struct.pack("!HI", 4000, 0) + socket.inet_pton(socket.AF_INET6, "fe80::1:2")
    address = address.ljust(128, b"\0") + number.pack(-1)
    door = Door.read(size.pack(4) + b"host" + size.pack(len(address)) + address + number.pack(7) + number.pack(8))
    assert door.end == ("fe80::1:2", 4000) and door.numbers == (7, 8)


def test_connections_are_found_by_their_ends():
    with contextlib.ExitStack() as opened:
        server = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        one, two = (opened.enter_context(socket.create_connection(server.getsockname())) for _ in range(2))
        accepted = opened.enter_context(server.accept()[0])

        def found(which):
            inodes = set()
            for connection in connections(which):
                with connection:
                    inodes.add(os.fstat(connection.fileno()).st_ino)
            return inodes

        def inodes(*connections):
            return {os.fstat(connection.fileno()).st_ino for connection in connections}

        door = server.getsockname()
        assert found(lambda near, far: far == door) == inodes(one, two)
        assert found(lambda near, far: near == door) == inodes(accepted)
        assert found(lambda near, far: far == door and near == two.getsockname()) == inodes(two)

"""Coming up: absent, late, dying and unwelcome members, names used again, and all of it in order where nothing goes wrong."""

import asyncio
import gc
import socket
import threading
import time
import weakref

import pytest
import torch
from actors import Actor
from members import create, fate, join, world_of

from runtime.worlds import AsyncWorld, Exchange, InitFailed, NameTaken, Reason, State, WorldClosed, WorldManager
from runtime.worlds.coming import Coming


def attempt(manager, function, *arguments):
    """What a create or join raises."""
    began_s = time.monotonic()
    try:
        function(manager, *arguments)
    except InitFailed as error:
        return error.broken.reason.value, str(error), time.monotonic() - began_s
    return None


@pytest.fixture
def managers():
    """Managers in this process, closed at the end."""
    made, exchange = [], Exchange()

    def make(**options):
        made.append(WorldManager(exchange=exchange, **options))
        return made[-1]

    yield make
    for manager in made:
        manager.close()


def test_an_absent_member_fails_the_creation_in_time(team):
    (member,) = team.grow(1)
    reason, text, took_s = member.run(attempt, create, "w", 3, team.backend, {"init_timeout_s": 0.5})
    assert reason == "init_failed" and "rank 1, 2 of 3 did not come in time" in text
    assert 0.4 < took_s < 3


def test_a_late_member_is_waited_for_on_either_side(team):
    members = team.grow(2)
    members[1].start(join, "w", 1, members[0].address, {})
    time.sleep(0.4)
    members[0].run(create, "w", 2, team.backend, {})
    members[1].result()


def test_joining_where_nobody_creates_fails_in_time(team):
    members = team.grow(2)
    reason, text, _ = members[1].run(attempt, join, "w", 1, members[0].address, {"init_timeout_s": 0.5})
    assert reason == "init_failed" and "has no complete world 'w'" in text


def test_joining_where_nobody_listens_fails_at_once(team):
    (member,) = team.grow(1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    reason, text, took_s = member.run(attempt, join, "w", 1, address, {})
    assert reason == "init_failed" and f"nobody can be reached at {address}" in text and took_s < 5


def who_came(manager, name):
    roll = manager._post.joining._rolls.get(name)
    return list(roll.came) if roll else []


def await_coming(member, name):
    """Until rank 1 has come to a world that the member creates."""
    until_s = time.monotonic() + 30
    while member.run(who_came, name) != [1]:
        assert time.monotonic() < until_s
        time.sleep(0.02)


@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_a_member_that_came_and_died_fails_the_creation_at_once(processes, fault):
    members = processes.grow(2)
    members[0].run(create, "w", 3, processes.backend, {"wait": False})
    members[1].run(join, "w", 1, members[0].address, {"wait": False})
    await_coming(members[0], "w")
    getattr(members[1], fault)()
    assert members[0].run(fate) == ("broken", "init_failed", 1)


def test_a_creator_that_dies_fails_the_joining_at_once(processes):
    members = processes.grow(2)
    members[0].run(create, "w", 3, processes.backend, {"wait": False})
    members[1].start(attempt, join, "w", 1, members[0].address, {})
    await_coming(members[0], "w")
    members[0].kill()
    reason, text, took_s = members[1].result()
    assert reason == "init_failed" and "the process that creates the world is gone" in text and took_s < 10


def test_members_killed_at_any_moment_of_the_joining_never_hang_the_others(processes):
    host, neighbour = processes.grow(2)
    for step in range(6):
        victim = Actor()
        host.start(attempt, create, "w", 3, processes.backend, {"init_timeout_s": 2})
        neighbour.start(attempt, join, "w", 1, host.address, {"init_timeout_s": 2})
        victim.start(join, "w", 2, host.address, {})
        time.sleep(0.003 * step)
        victim.kill()
        outcomes = [host.result(), neighbour.result()]
        victim.end()
        for member, outcome in zip((host, neighbour), outcomes):
            if outcome is None:  # it had come up before
                assert member.run(fate) in (None, ("broken", "peer_died", 2), ("broken", "init_failed", 2))
            else:
                assert outcome[0] == "init_failed" and outcome[2] < 10
        deadline_s = time.monotonic() + 10
        while host.run(names) or neighbour.run(names):
            assert time.monotonic() < deadline_s


def names(manager):
    return [world.name for world in manager.list()]


def test_a_wrong_token_is_refused_and_harms_nobody(processes):
    if processes.backend != "gloo":
        pytest.skip("before any backend")
    (host,) = processes.grow(1)
    stranger = Actor(token="another token")
    try:
        host.start(create, "w", 2, "gloo", {})
        reason, text, took_s = stranger.run(attempt, join, "w", 1, host.address, {"init_timeout_s": 5})
        assert reason == "init_failed" and "wrong token" in text and took_s < 4
        friend = processes.grow(2)[1]
        friend.run(join, "w", 1, host.address, {})
        host.result()
    finally:
        stranger.end()


def test_what_is_no_process_of_ours_is_hung_up_on(managers):
    manager = managers(token="secret")
    host, port = manager.address.split(":")
    for greeting in (b"GET / HTTP/1.1\r\n\r\n", b"\x00\x00\x00\x02{}", b"\x00\x00\x00\x05hello", b"\xff\xff\xff\xff"):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(greeting)
            while connection.recv(4096):
                pass  # its own hello, then the end


def test_a_stranger_is_told_apart_from_a_member(managers):
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: server.accept()[0].sendall(b"220 mail.example\r\n" * 10), daemon=True).start()
        with pytest.raises(InitFailed, match="does not speak our protocol"):
            managers().join("w", 1, f"127.0.0.1:{server.getsockname()[1]}", init_timeout_s=5)


def test_members_on_different_addresses_meet(managers):
    one, two = managers(host="127.0.0.1"), managers(host="127.0.0.2")
    world = one.create("w", 2, wait=False)
    other = two.join("w", 1, one.address)
    world.wait(State.UP)
    receiving = threading.Thread(target=lambda: other.send(torch.arange(3.0), 0))
    receiving.start()
    assert world.recv(torch.empty(3), 1).tolist() == [0.0, 1.0, 2.0]
    receiving.join()
    assert two.address.startswith("127.0.0.2:")


def test_no_token_on_a_public_address():
    with pytest.raises(ValueError, match="give a token"):
        WorldManager(host="0.0.0.0")


def test_names_are_used_again_and_epochs_tell_the_worlds_apart(team):
    members = team.grow(2)
    for epoch in (1, 2, 3):
        team.world("w", members)
        assert team.play(members, epoch_of) == [epoch, epoch]
        members[epoch % 2].run(leave)
        members[1 - epoch % 2].run(wait_until_gone)


def epoch_of(manager):
    world = world_of(manager)
    world.all_reduce(torch.ones(1, device=world.device))
    return world.epoch


def leave(manager):
    manager.leave(world_of(manager))


def wait_until_gone(manager):
    while manager.list():
        time.sleep(0.002)


def test_a_taken_name_a_taken_rank_and_an_impossible_one(managers):
    host, one, two = managers(), managers(), managers()
    world = host.create("w", 3, backend="inproc", wait=False)
    with pytest.raises(NameTaken, match="joining"):
        host.create("w", 2, backend="inproc")
    first = one.join("w", 1, host.address, wait=False)
    time.sleep(0.2)
    with pytest.raises(InitFailed, match="rank 1 is taken"):
        two.join("w", 1, host.address)
    with pytest.raises(InitFailed, match="rank 3 is outside 1 to 2"):
        two.join("w", 3, host.address)
    two.join("w", 2, host.address)
    assert world.wait(State.UP) == first.wait(State.UP) == State.UP
    with pytest.raises(ValueError, match="rank 0 creates"):
        two.join("v", 0, host.address)
    with pytest.raises(ValueError, match="at least 2"):
        host.create("v", 1)
    with pytest.raises(ValueError, match="no backend 'smoke'"):
        host.create("v", 2, backend="smoke")


def test_a_creation_and_a_joining_are_given_up_by_leaving(managers):
    host, one = managers(), managers()
    waiting = [host.create("w", 3, wait=False), one.join("w", 1, host.address, wait=False)]
    time.sleep(0.2)
    for manager, world in zip((one, host), reversed(waiting)):
        manager.leave(world)
        assert world.broken.reason is Reason.INIT_FAILED
        assert manager.list() == []


def test_a_world_may_be_left_before_what_was_started_in_it_is_waited_for(managers):
    host, one = managers(), managers()
    world = host.create("w", 2, wait=False)
    one.join("w", 1, host.address)
    world.wait(State.UP, timeout_s=30)
    started = world.irecv(torch.zeros(1), 1)
    leaving = threading.Thread(target=host.leave, args=(world,), daemon=True)
    leaving.start()
    leaving.join(60)
    assert not leaving.is_alive() and world.state is State.CLOSED
    with pytest.raises(WorldClosed):
        started.wait()


def test_a_name_that_was_given_up_is_used_again_at_once(managers):
    host, one = managers(), managers()
    for _ in range(20):
        host.leave(host.create("w", 2, backend="inproc", wait=False))
    world = host.create("w", 2, backend="inproc", wait=False)
    assert one.join("w", 1, host.address).epoch == 21 and world.wait(State.UP, timeout_s=30) is State.UP


def test_worlds_that_come_up_take_no_thread(managers):
    host, one = managers(), managers()
    before = threading.active_count()
    coming = [host.create(f"w{number}", 3, backend="inproc", wait=False) for number in range(10)]
    asked = [one.join(world.name, 1, host.address, wait=False) for world in coming]
    deadline_s = time.monotonic() + 30
    while len(who_came(host, "w9")) == 0:  # all frames of a link come in order
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    assert {world.state for world in coming + asked} == {State.JOINING} and threading.active_count() <= before


def test_a_backend_that_takes_its_time_keeps_no_other_world_waiting():
    gate, uids = threading.Event(), []

    class Slow(Exchange):
        blocks = True

        def connect(self, board, streams, uid, device, deadline_s):
            uids.append(uid)
            assert uid != uids[0] or gate.wait(30)
            return super().connect(board, streams, uid, device, deadline_s)

    with WorldManager(exchange=(exchange := Slow())) as host, WorldManager(exchange=exchange) as one:
        first = host.create("first", 2, backend="inproc", wait=False)
        one.join("first", 1, host.address, wait=False)
        while not uids:
            time.sleep(0.002)
        second = host.create("second", 2, backend="inproc", wait=False)
        one.join("second", 1, host.address)
        assert second.wait(State.UP, timeout_s=30) is State.UP and first.state is State.JOINING
        gate.set()
        assert first.wait(State.UP, timeout_s=30) is State.UP


def test_asyncio_waits_for_a_world_without_a_thread(managers):
    host, one = managers(), managers()

    async def wait():
        waiting = [AsyncWorld(host.create(f"w{number}", 2, backend="inproc", wait=False)) for number in range(3)]
        before = threading.active_count()
        up = [asyncio.create_task(world.wait(State.UP)) for world in waiting]
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in up) and threading.active_count() <= before
        for number in range(2):
            one.join(f"w{number}", 1, host.address, wait=False)
        host.leave(waiting[2].world)
        return await asyncio.wait_for(asyncio.gather(*up), 30), await asyncio.wait_for(waiting[0].wait(State.UP), 30)

    assert asyncio.run(wait()) == ([State.UP, State.UP, State.BROKEN], State.UP)


def test_a_world_that_was_left_is_gone_without_a_run_of_the_collector(managers):
    host, one = managers(), managers()
    gc.disable()
    try:
        world = host.create("w", 2, wait=False)
        other = one.join("w", 1, host.address)
        other.send_message([torch.arange(3)], 0)
        world.recv_message(1)
        host.leave(world)
        other.wait()
        gone = [weakref.ref(world), weakref.ref(other)]
        del world, other
        deadline_s = time.monotonic() + 30
        while any(one() is not None for one in gone):  # other threads drop theirs last
            assert time.monotonic() < deadline_s
            time.sleep(0.002)
    finally:
        gc.enable()


def test_a_manager_that_is_closed_makes_no_world():
    manager = WorldManager()
    manager.close()
    with pytest.raises(WorldClosed, match="the manager is closed"):
        manager.create("w", 2)


def test_many_worlds_come_up_at_once(team):
    members = team.grow(2)
    assert team.play(members, many, members[0].address, team.backend)[0] == list(range(12))


def many(manager, address, backend):
    if manager.address == address:
        worlds = [manager.create(f"w{number}", 2, backend=backend, wait=False) for number in range(12)]
    else:
        worlds = [manager.join(f"w{number}", 1, address, wait=False) for number in reversed(range(12))][::-1]
    for world in worlds:
        assert world.wait(State.UP, timeout_s=30) is State.UP
    got = []
    for number, world in enumerate(worlds):
        if world.rank:
            world.send(torch.tensor([float(number)], device=world.device), 0)
        else:
            got.append(int(world.recv(torch.empty(1, device=world.device), 1).item()))
    return got


def test_callbacks_and_wait_any_tell_which_world_broke(managers):
    host, one, two = managers(), managers(), managers()
    told = []
    host.on_broken(lambda world: 1 / 0)  # a callback that fails disturbs nobody
    host.on_broken(told.append)
    a, b = host.create("a", 2, backend="inproc", wait=False), host.create("b", 2, backend="inproc", wait=False)
    one.join("a", 1, host.address)
    two.join("b", 1, host.address)
    with pytest.raises(TimeoutError):
        host.wait_any([a, b], timeout_s=0.05)
    two.close()
    assert host.wait_any([a, b], timeout_s=10) is b
    assert host.wait_any([a, b], State.UP) is a
    deadline_s = time.monotonic() + 10
    while not told and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert told == [b] and b.broken.reason is Reason.LEFT and host.list() == [a]


def test_one_that_leaves_before_another_has_seen_that_all_are_there_has_left_and_lost_nothing(managers, monkeypatch):
    host, guest = managers(), managers()
    left, until = threading.Event(), Coming.until

    async def late(coming, ready, missing):
        await until(coming, ready, missing)
        while coming.world.rank == 1 and not left.is_set():
            await asyncio.sleep(0.01)

    monkeypatch.setattr(Coming, "until", late)
    joining = guest.join("w", 1, host.address, wait=False)
    world = host.create("w", 2)
    world.send_message([torch.arange(3)], 1)
    leaving = threading.Thread(target=host.leave, args=(world,))
    leaving.start()
    assert world.wait(State.DRAINING, timeout_s=30)
    time.sleep(0.05)  # until that was heard, most likely
    left.set()
    assert joining.wait(State.UP, State.DRAINING, timeout_s=30) in (State.UP, State.DRAINING)
    (got,) = joining.recv_message(0)
    assert got.tolist() == [0, 1, 2]
    assert joining.wait(timeout_s=30) is State.BROKEN and joining.broken.reason is Reason.LEFT
    leaving.join(30)

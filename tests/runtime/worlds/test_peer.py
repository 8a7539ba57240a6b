"""Frames to a process at the other end of a link: whole and in order, also where it does not read."""

import asyncio
import select
import socket
import threading

import pytest
import uvloop

from runtime.worlds.control_frames import ControlFrames
from runtime.worlds.handshake import Introduction, encode
from runtime.worlds.peer import Peer

FRAMES, SENDERS = 60, 3


def connected():
    """Both ends of a TCP connection."""
    far = socket.socket()
    with socket.create_server(("127.0.0.1", 0)) as server:
        far.connect(server.getsockname())
        return server.accept()[0], far


@pytest.mark.parametrize("reads_late", [False, True])
def test_frames_of_several_threads_arrive_whole_and_each_threads_in_order(reads_late):
    async def talk():
        here, far = connected()
        _, writer = await asyncio.open_connection(sock=here)
        peer = Peer(Introduction("uid", "address", "control"), writer)
        reader, far_writer = await asyncio.open_connection(sock=far)
        if reads_late:
            far_writer.transport.pause_reading()
        padding = "x" * (200_000 if reads_late else 10)

        def send(sender):
            for number in range(FRAMES):
                peer.send(encode({"sender": sender, "number": number, "padding": padding}))

        threads = [threading.Thread(target=send, args=(sender,)) for sender in range(SENDERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        peer.send(encode({"sender": SENDERS, "number": 0}))  # from the loop's own thread, after what waits
        assert not peer.ended()
        assert peer._slow == reads_late
        if reads_late:
            far_writer.transport.resume_reading()
        frames, ended, enough = list[dict](), asyncio.Event(), asyncio.Event()

        def hear(frame):
            frames.append(frame)
            if len(frames) == FRAMES * SENDERS + 1:
                enough.set()

        await ControlFrames(hear, lambda error: ended.set()).take_over(reader, far_writer.transport)
        async with asyncio.timeout(60):
            await enough.wait()
            peer.hang_up()
            await ended.wait()  # both descriptors of the connection are closed
        peer.send(encode({}))  # to one that is gone: nothing
        far_writer.close()
        return frames

    frames = uvloop.run(talk())
    for sender in range(SENDERS):
        assert [frame["number"] for frame in frames if frame["sender"] == sender] == list(range(FRAMES))
    assert frames[-1]["sender"] == SENDERS


def test_a_link_that_the_other_side_has_closed_has_ended():
    async def talk():
        here, there = connected()
        _, writer = await asyncio.open_connection(sock=here)
        writer.transport.pause_reading()
        peer = Peer(Introduction("uid", "address", "control"), writer)
        there.send(b"x")
        before = peer.ended()
        there.close()
        select.select([peer._line], [], [], 20)
        peer._line.recv(1)
        select.select([peer._line], [], [], 20)
        after = peer.ended()
        peer.hang_up()
        return before, after, peer.ended()

    assert uvloop.run(talk()) == (False, True, True)


def test_frames_that_come_in_pieces_are_whole_and_what_comes_before_is_not_lost():
    sent = [{"number": number, "padding": "x" * number} for number in range(30)]
    data, came, ended = b"".join(map(encode, sent)), list[dict](), list[Exception | None]()
    for piece in (1, 5, 64, len(data)):
        came.clear()
        frames = ControlFrames(came.append, ended.append)
        for at in range(0, len(data), piece):
            frames.data_received(data[at : at + piece])
        assert came == sent
    frames.connection_lost(None)
    assert ended == [None]


@pytest.mark.parametrize("bad", [b"\xff\xff\xff\xff", b"\0\0\0\2[]", b"\0\0\0\1{"])
def test_a_frame_that_is_none_ends_the_link_after_those_before_it(bad):
    came, ended = list[dict](), list[Exception | None]()
    ControlFrames(came.append, ended.append).data_received(encode({"number": 1}) + bad)
    assert came == [{"number": 1}]
    assert [str(error) for error in ended] == [str(ended[0])] and "does not speak our protocol" in str(ended[0])

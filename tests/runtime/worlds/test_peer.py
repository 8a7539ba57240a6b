"""Frames to a process at the other end of a link: whole and in order, also where it does not read."""

import asyncio
import socket
import threading

import pytest
import uvloop

from runtime.worlds.handshake import Introduction, encode, read_frame
from runtime.worlds.peer import Peer

FRAMES, SENDERS = 60, 3


@pytest.mark.parametrize("reads_late", [False, True])
def test_frames_of_several_threads_arrive_whole_and_each_threads_in_order(reads_late):
    async def talk():
        near, far = socket.create_server(("127.0.0.1", 0)), socket.socket()
        with near:
            far.connect(near.getsockname())
            here, _ = near.accept()
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
        assert peer._slow == reads_late
        if reads_late:
            far_writer.transport.resume_reading()
        frames = [await read_frame(reader) for _ in range(FRAMES * SENDERS + 1)]
        peer.hang_up()
        assert await reader.read() == b""  # both descriptors of the connection are closed
        peer.send(encode({}))  # to one that is gone: nothing
        far_writer.close()
        return frames

    frames = uvloop.run(talk())
    for sender in range(SENDERS):
        assert [frame["number"] for frame in frames if frame["sender"] == sender] == list(range(FRAMES))
    assert frames[-1]["sender"] == SENDERS

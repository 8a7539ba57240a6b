"""Messages for an event loop: whole whatever their form and however they are cut on the way, and over with the world."""

import asyncio
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.worlds import AsyncMessages, State, TensorMismatch, WorldError, WorldManager
from runtime.worlds.aio_messages import SCRATCH_BYTES, _Incoming
from runtime.worlds.frames import head_of, lay_out, pieces

SIZES = [0, 1, 7, 8_000, 8_193, 40_000, 300_000]  # of float32: beside and beyond what is copied, and what a buffer holds


def arrays(size, number):
    """A message: several dtypes, one array empty, one of no dimension."""
    return [np.full(size, number, np.float32), np.array(number), np.empty((0, 3), np.int8), np.arange(size % 5) == 1]


def on_the_wire(messages):
    """What goes through a stream, by the parts of which it is made."""
    data, last = b"", None
    for number, message in enumerate(messages):
        layout = lay_out(tuple((torch.from_numpy(array).dtype, array.shape) for array in message))
        data += b"".join([head_of(layout, last, number), *pieces(layout, [array.tobytes() for array in message])])
        last = layout
    return data


@settings(max_examples=40)
@given(st.lists(st.sampled_from([0, 1, 5, 900, 9_000, 50_000]), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_messages_are_whole_wherever_the_stream_is_cut(sizes, chance):
    sent, came = [arrays(size, number) for number, size in enumerate(sizes)], []
    incoming, data = _Incoming(came.append, lambda error: None), on_the_wire(sent)
    while data:
        into = incoming.get_buffer(-1)
        count = min(len(data), len(into), chance.choice([1, 15, 16, 17, 1_000, 60_000, SCRATCH_BYTES]))
        into[:count], data = data[:count], data[count:]
        incoming.buffer_updated(count)
    assert len(came) == len(sent)
    for theirs, ours in zip(came, sent):
        assert [array.dtype for array in theirs] == [array.dtype for array in ours]
        assert all(np.array_equal(one, other) and one.shape == other.shape for one, other in zip(theirs, ours))


@pytest.fixture
def pair():
    """Two ends of a world, in managers of their own."""
    with WorldManager() as one, WorldManager() as two:
        world, other = one.create("w", 2, wait=False), two.join("w", 1, one.address)
        world.wait(State.UP)
        yield (one, world), (two, other)


def echo(world):
    """Sends back what comes, until the world is over; it is the first to speak."""

    def run():
        try:
            world.send_message([torch.zeros(0)], 0)
            while True:
                world.send_message(world.recv_message(0), 0)
        except WorldError:
            pass

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_what_is_sent_comes_back_in_order(pair):
    (_, world), (_, other) = pair

    async def talk():
        came: asyncio.Queue = asyncio.Queue()
        messages = await AsyncMessages.open(world, 1, came.put_nowait)
        await came.get()  # the first word
        sent = [arrays(size, number) for number, size in enumerate(SIZES * 2)]
        for message in sent:
            messages.send(message)
        for ours in sent:
            theirs = await asyncio.wait_for(came.get(), 30)
            assert all(np.array_equal(one, two) and one.dtype == two.dtype for one, two in zip(theirs, ours, strict=True))
        with pytest.raises(TensorMismatch):
            messages.send([np.array(["text"])])

    thread = echo(other)
    asyncio.run(talk())
    pair[0][0].leave(world)
    thread.join(30)


def test_who_leaves_has_sent_all_and_who_is_left_hears_of_the_end(pair):
    (manager, world), (_, other) = pair
    got = []

    def receive():
        other.send_message([torch.zeros(0)], 0)
        try:
            while True:
                got.append(int(other.recv_message(0)[0][0]))
        except WorldError as error:
            got.append(error.broken.reason.value)

    async def talk():
        messages = await AsyncMessages.open(world, 1, lambda message: None)
        for number in range(200):
            messages.send([np.full(5_000, number)])
        await asyncio.to_thread(manager.leave, world)
        messages.send([np.zeros(1)])  # nobody hears it, and nobody minds

    thread = threading.Thread(target=receive)
    thread.start()
    asyncio.run(talk())
    thread.join(30)
    assert got == [*range(200), "left"]
    assert world.state is State.CLOSED


def test_a_stream_that_ends_by_itself_ends_the_world(pair):
    (_, world), (_, other) = pair

    async def talk():
        await AsyncMessages.open(world, 1, lambda message: None)
        other.streams._all[0].shutdown(2)
        await asyncio.to_thread(world.wait, State.CLOSED, timeout_s=30)

    other.send_message([torch.zeros(0)], 0)
    asyncio.run(talk())
    assert (world.broken.reason.value, world.broken.peer) == ("op_error", 1)

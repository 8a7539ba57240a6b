"""Tensors under way on streams: who waits moves them, also others, and what nobody waits for goes on by itself."""

import select
import socket
import threading
import time

import pytest

from runtime.worlds import traffic
from runtime.worlds.traffic import Traffic, Transit

MUCH = 4_000_000  # bytes, more than the streams here hold


class Sending:
    """The sending end of a stream."""

    event = select.POLLOUT

    def __init__(self, stream):
        self.open = stream

    def ready(self):
        return self.open

    def stream(self, timeout_s):
        return self.open

    def move(self, stream, data, flags):
        return stream.send(data, flags)


class Receiving(Sending):
    """The receiving end."""

    event = select.POLLIN

    def move(self, stream, data, flags):
        return stream.recv_into(data, len(data), flags | socket.MSG_WAITALL)


@pytest.fixture
def streams():
    """Two connected pairs: ours and theirs of each."""
    pairs = [socket.socketpair() for _ in range(2)]
    yield pairs
    for stream in [stream for pair in pairs for stream in pair]:
        stream.close()


def transit(of, end, data):
    return Transit(end, data, memoryview(data), of)


def test_two_that_wait_for_what_they_send_move_what_they_receive(streams, monkeypatch):
    monkeypatch.setattr(traffic, "TICK_S", 15.0)  # no other thread does it
    (out, far_in), (into, far_out) = streams

    def exchange(sending, receiving, byte, got):
        of, data = Traffic(), bytearray(MUCH)
        received = transit(of, Receiving(receiving), data)
        received.go_on()
        transit(of, Sending(sending), bytearray([byte]) * MUCH).wait(10)
        received.wait(10)
        got.append(set(data))

    one, two = [], []
    other = threading.Thread(target=exchange, args=(far_out, far_in, 2, two))
    other.start()
    exchange(out, into, 1, one)
    other.join(10)
    assert (one, two) == ([{2}], [{1}])


def test_what_nobody_waits_for_goes_on_and_the_thread_that_moves_it_ends(streams, monkeypatch):
    monkeypatch.setattr(traffic, "QUIET_TICKS", 2)
    (out, far), _ = streams
    of, data = Traffic(), bytearray(b"x") * MUCH
    sent = transit(of, Sending(out), data)
    sent.go_on()
    with far.makefile("rb") as arriving:  # a recv may return early, even with MSG_WAITALL, where a signal comes
        assert len(arriving.read(MUCH)) == MUCH
    sent.wait(10)
    until_s = time.monotonic() + 10
    while of._mover is not None and time.monotonic() < until_s:
        time.sleep(0.01)
    assert of._mover is None and not of.unattended


@pytest.mark.parametrize("started_before", [True, False])
def test_a_stream_that_ends_is_told_to_who_waits(streams, started_before):
    (_, far), _ = streams
    waiting = transit(Traffic(), Receiving(streams[0][0]), bytearray(10))
    far.send(b"some")
    if started_before:
        waiting.go_on()
    far.close()
    with pytest.raises(RuntimeError, match="the stream has ended"):
        waiting.wait(10)


def test_a_wait_ends_in_time_also_while_another_stream_is_not_open_yet(streams):
    of = Traffic()
    transit(of, Receiving(None), bytearray(1)).go_on()
    began_s = time.monotonic()
    with pytest.raises(RuntimeError, match="timed out"):
        transit(of, Receiving(streams[0][0]), bytearray(1)).wait(0.1)
    assert time.monotonic() - began_s >= 0.1
    of.unattended.clear()

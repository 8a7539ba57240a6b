"""The steady clock: deaf to jumps of the wall clock, until they last."""

import threading
import time

import pytest

from runtime.clock import LASTING_S, SteadyClock


class Times:
    def __init__(self):
        self.wall_s, self.passed_s = 1_795_000_000.0, 50.0

    def pass_s(self, s):
        self.wall_s += s
        self.passed_s += s


@pytest.fixture
def times():
    return Times()


@pytest.fixture
def clock(times):
    return SteadyClock(lambda: times.wall_s, lambda: times.passed_s)


def test_it_begins_as_the_wall_clock(times, clock):
    assert clock.now_s() == times.wall_s
    times.pass_s(3600)
    assert clock.now_s() == times.wall_s


@pytest.mark.parametrize("jump_s", [3600, -3600])
def test_a_jump_that_does_not_last_is_not_followed(times, clock, jump_s):
    before_s = clock.now_s()
    times.wall_s += jump_s
    assert clock.now_s() == before_s
    times.pass_s(LASTING_S - 1)
    assert clock.now_s() == before_s + LASTING_S - 1
    times.wall_s -= jump_s
    times.pass_s(1)
    assert clock.now_s() == before_s + LASTING_S
    times.wall_s += jump_s  # a second one is counted anew
    clock.now_s()
    times.pass_s(LASTING_S - 1)
    assert clock.now_s() == before_s + 2 * LASTING_S - 1


@pytest.mark.parametrize("jump_s", [3600, -3600])
def test_a_jump_that_lasts_is_followed(times, clock, jump_s):
    times.wall_s += jump_s
    clock.now_s()
    times.pass_s(LASTING_S)
    assert clock.now_s() == times.wall_s


def test_sleeping_ends_at_the_time_or_when_told():
    clock, stop = SteadyClock(), threading.Event()
    assert abs(clock.now_s() - time.time()) < 1
    until_s = clock.now_s() + 0.05
    clock.sleep_until(until_s, stop)
    assert 0 <= clock.now_s() - until_s < 1
    stop.set()
    began = time.monotonic()
    clock.sleep_until(clock.now_s() + 100, stop)
    assert time.monotonic() - began < 1

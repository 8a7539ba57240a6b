"""The autoscaler without memory: `MemoryError` at one line after the other of a decision, one in each run.

Whatever line it is: the loop goes on, no change comes twice or without its line in the journal, the cooldown between changes
is kept, and a process after this one goes on from the journal.
"""

import sys
from itertools import pairwise

import pytest
from autoscaling import autoscaler, journaled, run
from simulated_service import FakeClock
from test_autoscaler_process import SCENARIO, Alternating, Steady

from envs.envelope import Limits
from runtime.actuators.dry_run import DryRun
from runtime.autoscaler.process import Autoscaler

COOLDOWN_S, STARVED_S, LAST_S, RESTARTED_S = 12.0, 0.0, 20.0, 40.0
OURS = ("/runtime/autoscaler/", "/runtime/actuators/", "/envs/")
LIMITS = Limits(rise_cooldown_s=COOLDOWN_S, fall_cooldown_s=COOLDOWN_S)


class Watched(DryRun):
    """Remembers what it did, and that the journal knew of it."""

    def __init__(self, folder, clock):
        super().__init__(SCENARIO.initial_deployment)
        self._folder, self.clock, self.changes = folder, clock, []

    def _carry_out(self, deployment, decision_id, grounds):
        assert decision_id in [intent["decision_id"] for intent in journaled(self._folder)]
        self.changes.append((self.clock.now_s(), decision_id))
        return super()._carry_out(deployment, decision_id, grounds)


class OutOfMemory:
    """Raises at a line of the decision at `STARVED_S`, by its number; counts them."""

    def __init__(self, line):
        self._line, self.lines, self._within = line, 0, False

    def __call__(self, frame, event, _):
        code = frame.f_code
        if code is Autoscaler.tick.__code__ and frame.f_locals["number"] * SCENARIO.interval_s == STARVED_S:
            self._within = True
        return self._each if self._within and any(room in code.co_filename for room in OURS) else None

    def _each(self, frame, event, _):
        if self._within and event == "line":
            self.lines += 1
            if self.lines == self._line:
                raise MemoryError("injected")
        if event == "return" and frame.f_code is Autoscaler.tick.__code__:
            self._within = False
        return self._each


def played(folder, line):
    """Starved at a line, and restarted later; how many lines there were until then."""
    clock = FakeClock(last_s=LAST_S)
    actuator, starving, before = Watched(folder, clock), OutOfMemory(line), sys.gettrace()
    sys.settrace(starving)
    try:
        run(autoscaler(SCENARIO, Alternating(), Steady(), actuator, folder, clock, limits=LIMITS))
    finally:
        sys.settrace(before)
    decided_s = [intent["t_s"] for intent in journaled(folder)]
    assert decided_s[-4:] == [5.0, 10.0, 15.0, 20.0], "it has not gone on"
    actuator.clock = FakeClock(LAST_S + SCENARIO.interval_s, RESTARTED_S)
    run(autoscaler(SCENARIO, Alternating(), Steady(), actuator, folder, actuator.clock, limits=LIMITS))
    decided_s = [intent["t_s"] for intent in journaled(folder)]
    assert decided_s[-4:] == [25.0, 30.0, 35.0, 40.0] and len(decided_s) == len(set(decided_s))
    times, ids = zip(*actuator.changes)
    assert len(ids) == len(set(ids)), "a decision was executed twice"
    assert min((b - a for a, b in pairwise(times)), default=COOLDOWN_S) >= COOLDOWN_S, f"changes at {times}"
    return starving.lines


def starved(folder, step):
    played(folder / "first", 0)  # what is kept from then on takes fewer lines
    lines = played(folder / "never", 0)
    for line in range(1, lines + 1, step):
        try:
            assert played(folder / f"{line}", line) == line
        except AssertionError as error:
            raise AssertionError(f"line {line} of {lines}: {error}") from error
    return lines


def test_some_lines(tmp_path):
    assert starved(tmp_path, 97) > 300


@pytest.mark.slow
def test_every_line(tmp_path):
    print(f"{starved(tmp_path, 1)} lines")

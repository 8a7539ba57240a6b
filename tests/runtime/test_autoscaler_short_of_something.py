"""Memory, descriptors or room on the disk are short at any step of the autoscaler's work, once.

It goes on, or ends and is started again; nothing is done twice.
"""

import logging
import os
from collections import Counter
from functools import partial
from itertools import count

import pytest
from autoscaling import autoscaler, journaled, run
from shortage import DESCRIPTORS, EACH, ROOM, OfFiles, OfMemory
from simulated_service import FakeClock
from test_autoscaler_process import SCENARIO, Alternating, Steady

import runtime.autoscaler
from runtime.actuators.dry_run import DryRun


class Counting(DryRun):
    """Remembers which decisions it was given."""

    def __init__(self, deployment):
        super().__init__(deployment)
        self.given = []

    def apply(self, deployment, version, decision_id, grounds):
        self.given.append(decision_id)
        return super().apply(deployment, version, decision_id, grounds)


def descriptors():
    return {int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")}


def played(folder, actuator, start_s, last_s):
    run(autoscaler(SCENARIO, Alternating(), Steady(), actuator, folder, FakeClock(start_s, last_s)))


def goes_on(folder, shortage):
    """Whether it ended: with something short from 10 to 20 s, and started again at 25."""
    actuator = Counting(SCENARIO.initial_deployment)
    played(folder, actuator, 0.0, 5.0)
    open_before, ended = descriptors(), False
    try:
        with shortage:
            played(folder, actuator, 10.0, 20.0)
    except (MemoryError, OSError):
        ended = True
        for file in descriptors() - open_before:  # as the kernel does at a process's end
            os.close(file)
    played(folder, actuator, 25.0, 40.0)
    intents = [record["decision_id"] for record in journaled(folder)]
    assert [name.rpartition("/")[2] for name in intents[-4:]] == ["5", "6", "7", "8"], shortage.where
    assert max(Counter(intents).values()) == 1 and max(Counter(actuator.given).values()) == 1, shortage.where
    if isinstance(shortage, OfMemory):  # a journal that cannot be written stops no scaling, and the log says so
        assert set(actuator.given) <= set(intents), shortage.where
    assert actuator.given[-3:] == intents[-3:], shortage.where
    return ended


@pytest.mark.filterwarnings("ignore")  # of generators that ended so
@pytest.mark.parametrize("short, each", [
    (partial(OfMemory, runtime.autoscaler), EACH), (partial(OfFiles, DESCRIPTORS), 1), (partial(OfFiles, ROOM), 1)],
    ids=["memory", "descriptors", "room on the disk"])
def test_something_is_short_at_any_call_of_the_autoscaler(short, each, tmp_path, caplog):
    caplog.set_level(logging.CRITICAL)
    ended = []
    for n in count(1, each):
        shortage = short(n)
        ended.append(goes_on(tmp_path / str(n), shortage))
        if not shortage.where:
            break
    print(f"short at each {each}th of {n} calls of the autoscaler: it ended {sum(ended)} times")
    assert n > 20

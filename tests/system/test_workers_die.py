"""A worker that is killed, or freezes, while it computes: all is answered, only that is computed again, and it is replaced."""

import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from live_system import CPU, GPU, HERE
from running import until

ACCELERATORS = HERE / "scenarios" / "accelerators.yaml"
MODELS = {"quick": "echo_models:staged"}


class Computed:
    """What the workers have written down; see `echo_models`."""

    def __init__(self, file):
        self._file = file

    def lines(self, word):
        """Pid and numbers of each batch."""
        rows = [line.split() for line in self._file.read_text().splitlines()]
        return [(int(pid), list(map(int, numbers))) for said, pid, *numbers in rows if said == word]

    def under_way(self):
        """Pids of workers that compute now."""
        return list(Counter(pid for pid, _ in self.lines("begin")) - Counter(pid for pid, _ in self.lines("end")))

    def begun_by(self, pid):
        return {n for who, numbers in self.lines("begin") if who == pid for n in numbers}

    def ended_by(self, pid):
        return {n for who, numbers in self.lines("end") if who == pid for n in numbers}

    def again(self):
        """Numbers that more than one worker has begun."""
        return {n for n, times in Counter(n for _, numbers in self.lines("begin") for n in numbers).items() if times > 1}


@pytest.fixture(scope="module", params=[CPU, GPU])
def cluster(shared_system, request):
    log = shared_system.folder / f"{request.param}.log"
    log.touch()
    cluster = shared_system.cluster(scenario=ACCELERATORS, models=MODELS, device=request.param, ECHO_LOG=str(log),
                                    ECHO_LOAD_S="1")
    cluster.computed = Computed(log)
    return cluster


def frozen_while_computing(computed):
    """A worker that is frozen now, in the middle of a batch; for no longer than is unsuspicious."""
    for pid in computed.under_way():
        os.kill(pid, signal.SIGSTOP)
        if pid in computed.under_way():
            return pid
        os.kill(pid, signal.SIGCONT)
    return None


@pytest.mark.parametrize("levels", [(3, 0), (0, 3)], ids=["whole", "pipelines"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_only_what_was_being_computed_there_is_computed_again(shared_system, cluster, levels, number):
    cluster.want(*levels)
    cluster.settles()
    computed, before = cluster.computed, cluster.get("/v1/replicas")["replicas"]
    last_event = cluster.events()[-1]["number"]
    computed._file.write_text("")
    load = shared_system.load(cluster, 15)
    victim = until(lambda: frozen_while_computing(computed), "somebody computes")
    os.kill(victim, number)
    until(lambda: (now := cluster.states())["pending"] == 1 and now["ready"] == 2,
          lambda: f"it is replaced:\n{cluster.running.text}")
    cluster.settles()
    answers = load.end().all_right()
    assert computed.again() == computed.begun_by(victim) - computed.ended_by(victim) != set()
    assert not Path(f"/proc/{victim}").exists()  # a frozen one is fenced
    assert max(row["done_s"] - row["sent_s"] for row in answers.rows) < 10

    after = {row["number"] for row in cluster.get("/v1/replicas")["replicas"]}
    [failed] = cluster.events("failed", last_event)
    assert {row["number"] for row in before} - after == {failed["replica"]} and len(after) == 3

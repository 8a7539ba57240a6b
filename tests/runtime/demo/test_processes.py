"""Processes of the demonstration: ready, failed, ended; and nothing of them left."""

import os
import signal
import subprocess
import sys
import time

import pytest

from runtime.demo.processes import ROOT, WITH_US, Processes, ProcessFailed

STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
LEAVES = ("import subprocess, sys, time\n"
          "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
          "print('ready', p.pid, flush=True); time.sleep(600)")

KILLED = """
import os, signal, sys, time
from pathlib import Path
from runtime.demo.processes import Processes
pid = Processes(Path(sys.argv[1])).start("one", ["sleep", "600"], "sleep").process.pid
while Path(f"/proc/{pid}/comm").read_text() != "sleep\\n":
    time.sleep(0.01)
os.kill(pid, signal.SIGSTOP)
print(pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def processes(tmp_path):
    made = Processes(tmp_path)
    yield made
    made.close()


def start(processes, name, code):
    return processes.start(name, [sys.executable, "-c", code], f"python {name}")


def runs(pid):
    """Whether a process is there, and no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ends(pid):
    """Whether a process is gone before long."""
    until_s = time.monotonic() + 30
    while runs(pid) and time.monotonic() < until_s:
        time.sleep(0.02)
    return not runs(pid)


def test_one_is_ready_when_it_says_so(processes):
    running = start(processes, "one", "import time; time.sleep(0.2); print('at http://x:1', flush=True); time.sleep(600)")
    assert running.waits_for(r"at (\S+)").group(1) == "http://x:1"
    processes.check_all_but(running)
    assert processes.commands() == {"one": "python one"}
    assert running.end() != 0 and not runs(running.process.pid)


def test_one_that_fails_is_told_with_its_last_line(processes):
    running = start(processes, "one", "print('first'); raise SystemExit('tidal: no such thing')")
    with pytest.raises(ProcessFailed, match=r"one ended at once: tidal: no such thing \(.*one.log\)"):
        running.waits_for("never")
    other = start(processes, "other", "import time; time.sleep(600)")
    with pytest.raises(ProcessFailed, match="one ended with code 1"):
        processes.check_all_but(other)
    with pytest.raises(ProcessFailed, match=r"other was not ready within 0.2 s: it wrote nothing"):
        other.waits_for("never", 0.2)


def test_one_that_does_not_want_to_end_is_ended(processes):
    running = start(processes, "one", STUBBORN)
    running.waits_for("ready")
    running.end(timeout_s=0.3)
    assert not runs(running.process.pid)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no /proc: what a process leaves behind is not looked for")
def test_what_one_leaves_behind_is_ended(tmp_path):
    processes = Processes(tmp_path)
    left = int(start(processes, "one", LEAVES).waits_for(r"ready (\d+)").group(1))
    assert runs(left)
    processes.close()
    assert ends(left) and runs(os.getpid())


@pytest.mark.skipif(not WITH_US, reason="no setpriv (util-linux): what is started outlives one that is killed")
def test_should_we_be_killed_all_end_with_us_also_one_that_is_stopped(tmp_path):
    told = subprocess.run([sys.executable, "-c", KILLED, tmp_path], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert told.returncode == -signal.SIGKILL, told.stderr
    assert ends(int(told.stdout))

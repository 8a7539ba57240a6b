"""Worker processes on this machine, forked from a server that has imported everything: up in milliseconds, not seconds.

They outlive this process if it ends suddenly; how they are found again then is `LocalProcess.trace`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import select
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.serving.job import Job
from runtime.serving.worker import LOOPBACK, work

START_TIME = 19  # of the fields of /proc/PID/stat after the name: clock ticks since the machine's start


class LocalLauncher:
    """Starts workers. The server that they are forked from starts with the first one, and ends with this process."""

    host = LOOPBACK

    def __init__(self) -> None:
        self._context, self._one_by_one = multiprocessing.get_context("forkserver"), threading.Lock()
        self._context.set_forkserver_preload(["runtime.serving.worker", "runtime.models.resnet", "runtime.models.bert"])

    def start(self, job: Job) -> LocalProcess:
        """Start one; see `runtime.serving.crew.Launcher`."""
        process = self._context.Process(target=_work_apart, args=(job,), name=job.name, daemon=True)
        with self._one_by_one:
            process.start()
        assert process.pid is not None
        return LocalProcess(process.pid)

    def find(self, trace: Mapping[str, Any]) -> LocalProcess | None:
        """The process that left this trace, where it still runs; see `runtime.serving.crew.Launcher`."""
        try:
            process = LocalProcess(int(trace["pid"]))
        except (OSError, KeyError):  # none of that number, or another launcher's
            return None
        if process.trace == trace and not process.gone(0.0):
            return process
        process.close()  # it has ended, and its number was given to another process
        return None

    def close(self) -> None:
        """See `runtime.serving.crew.Launcher`."""


class LocalProcess:
    """A process of this machine, held by a descriptor that stays its own when its number is given to another one.

    Attributes:
        pid: its number.
        trace: what tells it from all other processes, also those of before and after the machine's restart.

    Raises:
        OSError: there is none of that number.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)
        self.trace = {"pid": pid, "started_ticks": _started_ticks(pid), "boot": _boot()}

    def kill(self) -> None:
        """End it at once, whatever it does, even if it is stopped."""
        if self._descriptor >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    def gone(self, timeout_s: float) -> bool:
        """Whether it has ended within the time."""
        if self._descriptor >= 0:
            ended = select.poll()
            ended.register(self._descriptor, select.POLLIN)
            if ended.poll(timeout_s * 1000):
                self.close()
        return self._descriptor < 0

    def close(self) -> None:
        """Have no more to do with it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _work_apart(job: Job) -> None:
    """In a session of its own: what is typed or hung up where the cluster process runs is not meant for its workers."""
    os.setsid()
    work(job)


def _started_ticks(pid: int) -> int:
    """0 where it has ended, and been forgotten, already."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[START_TIME])
    except FileNotFoundError:
        return 0


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()

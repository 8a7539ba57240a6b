"""Worker processes on this machine, forked from a server that has imported everything: up in milliseconds, not seconds."""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import ForkServerProcess

from runtime.serving.worker import Job, work


class LocalLauncher:
    """Starts workers. The server that they are forked from starts with the first one, and ends with this process."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["runtime.serving.worker", "runtime.models.resnet", "runtime.models.bert"])

    def start(self, job: Job) -> LocalProcess:
        """Start one; see `runtime.serving.worker_replica.Start`."""
        process = self._context.Process(target=work, args=(job,), name=job.name, daemon=True)
        process.start()
        return LocalProcess(process)


class LocalProcess:
    """A worker process of this machine."""

    def __init__(self, process: ForkServerProcess) -> None:
        self._process = process
        self.pid = process.pid

    def kill(self) -> None:
        """End it at once, whatever it does, even if it is stopped."""
        self._process.kill()

    def gone(self, timeout_s: float) -> bool:
        """Whether it has ended within the time."""
        self._process.join(timeout_s)
        return not self._process.is_alive()

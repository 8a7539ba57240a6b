"""Real processes that act in worlds, told what to do through pipes.

An actor is forked from a server that has imported everything (a few milliseconds each). Pipes and no queues or events: those
hang when a process that waits on them is killed.
"""

import multiprocessing
import os
import signal
import time
import traceback

import torch

from runtime.worlds import WorldManager

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["torch", "runtime.worlds", "actors"])
TOKEN = "a token for tests"


class Actor:
    """A process with a manager of its own, that runs functions `f(manager, *arguments)` one after the other."""

    def __init__(self, place=0, token=TOKEN):
        self.pipe, theirs = _processes.Pipe()
        self.process = _processes.Process(target=_act, args=(theirs, place, token), daemon=True)
        self.process.start()
        theirs.close()
        self.address = self._receive()

    def start(self, function, *arguments):
        """Begin; `result` waits."""
        self.pipe.send((function, arguments))

    def result(self, timeout_s=60.0):
        """What the function begun last has returned; what it raised is raised here."""
        failed, outcome = self._receive(timeout_s)
        if failed:
            raise AssertionError(outcome)
        return outcome

    def run(self, function, *arguments):
        self.start(function, *arguments)
        return self.result()

    def _receive(self, timeout_s=60.0):
        assert self.pipe.poll(timeout_s), "the actor does not answer"
        return self.pipe.recv()

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        return time.monotonic()

    def freeze(self):
        os.kill(self.process.pid, signal.SIGSTOP)
        return time.monotonic()

    def thaw(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def end(self):
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        self.pipe.close()


def _act(pipe, place, token):
    torch.set_num_threads(1)
    if torch.cuda.is_available():
        torch.cuda.set_device(place % torch.cuda.device_count())
        os.environ["NCCL_HOSTID"] = str(os.getpid())  # ranks on one GPU must look like ranks on several hosts
        os.environ["NCCL_SOCKET_IFNAME"] = "lo"
    with WorldManager(token=token) as manager:
        pipe.send(manager.address)
        while True:
            try:
                function, arguments = pipe.recv()
            except EOFError:
                return
            try:
                pipe.send((False, function(manager, *arguments)))
            except Exception:
                pipe.send((True, traceback.format_exc()))

"""Members in tests: they answer within a minute, and can be killed and frozen."""

import signal

from benchmarks.measure_worlds.member import Member

TOKEN = "a token for tests"


class Actor(Member):
    """A process with a manager of its own, that runs functions `f(manager, *arguments)` one after the other."""

    def __init__(self, place=0, token=TOKEN):
        super().__init__(place, token)

    def result(self, timeout_s=60.0):
        return super().result(timeout_s)

    def kill(self):
        return self.signal(signal.SIGKILL)

    def freeze(self):
        return self.signal(signal.SIGSTOP)

    def thaw(self):
        self.signal(signal.SIGCONT)

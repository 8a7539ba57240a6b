"""Members of worlds for the tests: real processes, or threads with managers of their own for the in-process backend."""

import threading

import torch
from actors import Actor

from runtime.worlds import Exchange, State, WorldManager


class ThreadMember:
    """A manager of this process that runs functions on a thread, with the face of an `Actor`."""

    def __init__(self, exchange):
        self.manager = WorldManager(exchange=exchange)
        self.address = self.manager.address

    def start(self, function, *arguments):
        def run():
            try:
                self._outcome = (None, function(self.manager, *arguments))
            except BaseException as error:
                self._outcome = (error, None)

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def result(self, timeout_s=60.0):
        self._thread.join(timeout_s)
        assert not self._thread.is_alive(), "the member does not answer"
        error, outcome = self._outcome
        if error is not None:
            raise AssertionError(repr(error)) from error
        return outcome

    def run(self, function, *arguments):
        self.start(function, *arguments)
        return self.result()

    def end(self):
        self.manager.close()


class Team:
    """Members that make worlds with one another."""

    def __init__(self, backend):
        self.backend = backend
        self._exchange = Exchange()
        self.members = []

    def grow(self, count):
        """So many members in all."""
        while len(self.members) < count:
            self.members.append(ThreadMember(self._exchange) if self.backend == "inproc" else Actor(len(self.members)))
        return self.members[:count]

    def world(self, name, members, **options):
        """All these members come up in one world, by rank."""
        if self.backend == "nccl":
            options = {"device": "cuda", **options}
        members[0].start(create, name, len(members), self.backend, options)
        for rank, member in enumerate(members[1:], 1):
            member.start(join, name, rank, members[0].address, options)
        return [member.result() for member in members]

    def play(self, members, function, *arguments):
        """All members run `function(manager, *arguments)` at once; their results by rank."""
        for member in members:
            member.start(function, *arguments)
        return [member.result() for member in members]

    def end(self):
        for member in self.members:
            member.end()


HELD = {}  # by manager and name: the last world that it had, over or not


def create(manager, name, size, backend, options):
    HELD[manager, name] = manager.create(name, size, backend=backend, **_here(options))


def join(manager, name, rank, address, options):
    HELD[manager, name] = manager.join(name, rank, address, **_here(options))


def _here(options):
    """With the GPU of this process, where one is asked for."""
    return {**options, "device": f"cuda:{torch.cuda.current_device()}"} if options.get("device") == "cuda" else options


def world_of(manager, name="w"):
    """The world of that name that the manager has, or had."""
    return HELD[manager, name]


def fate(manager, name="w", timeout_s=10.0):
    """How a world ends: state, reason and peer; None where it does not within the time."""
    world = world_of(manager, name)
    try:
        world.wait(State.CLOSED, timeout_s=timeout_s)
    except TimeoutError:
        return None
    return (world.state.value, world.broken and world.broken.reason.value, world.broken and world.broken.peer)

"""A live system for each test that asks for one, of real processes, of which nothing is left at its end."""

from functools import partial

import pytest
from live_system import HERE, Autoscaler, Cluster, Load, Prometheus
from running import Processes


class System:
    """Starts parts; see `live_system`."""

    def __init__(self, folder):
        self.folder, self.processes = folder, Processes(HERE)
        self.cluster = partial(Cluster, self.processes, folder)
        self.load = partial(Load, self.processes)
        self.prometheus = partial(Prometheus, self.processes, folder)

    def autoscaler(self, cluster, policy, *arguments, **more):
        return Autoscaler(self.processes, cluster, self.folder / "journal", policy, *arguments, **more)


@pytest.fixture
def system(tmp_path):
    """For one test."""
    system = System(tmp_path)
    yield system
    system.processes.close()


@pytest.fixture(scope="module")
def shared_system(tmp_path_factory):
    """For the tests of one file."""
    system = System(tmp_path_factory.mktemp("system"))
    yield system
    system.processes.close()

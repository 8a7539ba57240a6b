"""Teams of members on each backend."""

import pytest
from members import Team

NCCL = pytest.param("nccl", marks=pytest.mark.gpu)


@pytest.fixture(params=["inproc", "gloo", NCCL])
def team(request):
    """Members on any backend."""
    team = Team(request.param)
    yield team
    team.end()


@pytest.fixture(params=["gloo", NCCL])
def processes(request):
    """Members that are processes of their own, and can be killed and frozen."""
    team = Team(request.param)
    yield team
    team.end()

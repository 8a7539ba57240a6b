"""Scenarios that several tests use."""

import pytest

from envs import scenario_file


@pytest.fixture(scope="session")
def resnet():
    """InfAdapter's problem: sized pods of five ResNets on 20 cores, with the published capacities."""
    return scenario_file.load("resnet-variants")

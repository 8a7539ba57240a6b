"""What a scrape becomes when it is shown to a policy."""

import dataclasses
import math

import numpy as np

from envs.observation import kind_constants, observe, pending_ages
from envs.scenario_file import load
from envs.scrape import Scrape
from envs.state import FREE, PENDING, READY


def test_pending_replicas_are_told_oldest_first_whatever_slots_they_have():
    status = np.array([PENDING, READY, PENDING, PENDING, FREE])
    kind = np.array([1, 1, 0, 1, 0])
    born = np.array([7.0, 0.0, 2.0, 4.0, 0.0])
    assert pending_ages(status, kind, born, 10.0) == {0: (8.0,), 1: (6.0, 3.0)}


def test_devices_are_missing_where_their_replicas_are():
    scenario = load("resnet-variants")
    a, z, k = len(scenario.applications), len(scenario.services), len(scenario.kinds)
    shapes = {"offered_rps": a, "fate_ratio": (a, 5), "settled": a, "accuracy": a, "quantiles_s": (a, 3)}
    shapes |= {"service_rps": z, "service_waiting": z}
    nothing = Scrape(**{name: np.full(shapes.get(name, k), np.nan) for name in Scrape._fields})
    seen = observe(
        scenario, kind_constants(scenario, scenario.kinds), nothing, t_s=30.0, sampled_s=30.0, window_s=30.0,
        deployment=scenario.initial_deployment, pending_s={}, load_seen_s=np.zeros(k),
    )
    (device,) = seen.devices.values()
    assert all(math.isnan(x) for x in dataclasses.astuple(device))

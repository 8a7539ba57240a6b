"""What a scrape becomes when it is shown to a policy."""

import dataclasses
import math

import numpy as np

from envs import state as st
from envs.observation import kind_constants, observe, pending_ages
from envs.scenario_file import load
from envs.scrape import Sample, Scrape, between
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


def test_a_kind_that_only_drains_has_no_busy_ratio():
    """It still computes, but no server of it was ready: there is nothing to divide by, and nothing is infinite."""
    zeros, one = np.zeros((1, 7)), np.ones(1)
    histogram = np.zeros((1, st.HISTOGRAM_BINS), np.int64)
    held, ready, busy = 0, 0, 5_000_000_000
    before = Sample(np.float64(0), zeros, histogram, one, one, np.zeros((1, 3)), 0 * one, 0 * one, one, 0 * one)
    after = before._replace(t_s=np.float64(5), kind_ns=np.array([[held, ready, busy]]))
    assert np.isnan(between(after, before, one).busy_ratio).all()
    half = before._replace(t_s=np.float64(5), kind_ns=np.array([[held, 10_000_000_000, busy]]))
    assert between(half, before, one).busy_ratio == [0.5]

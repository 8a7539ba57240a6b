"""The scale-down hold: up at once, down only when as many forecasts in a row are lower."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from observed import forecasts, observe

from baselines.forecasters import EWM, LastValue, MaxOfLast
from baselines.hold import HeldInfAdapter, HoldPlanner, ScaleDownHold
from baselines.infadapter import InfAdapter

LOADS = st.lists(st.floats(0, 500), min_size=1, max_size=30)


def test_worked_by_hand():
    held = ScaleDownHold(LastValue(margin=1.1), release=3)
    assert math.isnan(held.forecast())
    assert forecasts(held, [100, 50, 50, 50, 80, 20]) == pytest.approx([110, 110, 110, 55, 88, 88])


@given(LOADS, st.integers(1, 8))
def test_is_the_moving_maximum_of_the_inner_forecasts(loads, release):
    inner = forecasts(EWM(4, 1.2), loads)
    expected = [max(inner[max(0, i + 1 - release) : i + 1]) for i in range(len(inner))]
    assert forecasts(ScaleDownHold(EWM(4, 1.2), release), loads) == expected


@given(LOADS)
def test_a_hold_on_the_last_value_is_the_maximum_of_the_last(loads):
    assert forecasts(ScaleDownHold(LastValue(1.1), 4), loads) == pytest.approx(forecasts(MaxOfLast(4, 1.1), loads))


@given(LOADS, st.integers(1, 6), st.integers(1, 6))
def test_its_memory_rebuilds_it(loads, k, release):
    held = ScaleDownHold(MaxOfLast(k), release)
    fresh = ScaleDownHold(MaxOfLast(k), release)
    assert forecasts(fresh, loads[-held.memory_intervals :])[-1] == forecasts(held, loads)[-1]


def test_missing_loads_are_held_and_reset_forgets():
    held = ScaleDownHold(LastValue(), 2)
    assert forecasts(held, [90, math.nan, math.nan]) == [90, 90, 90]
    held.reset()
    assert math.isnan(held.forecast())
    with pytest.raises(ValueError, match="release 0"):
        ScaleDownHold(LastValue(), 0)


def cores(policy, scenario, loads):
    policy.reset(scenario)
    deployment, held = scenario.initial_deployment, []
    for i, rps in enumerate(loads):
        deployment = policy.decide(observe(scenario, deployment, rps, t_s=30.0 * (i + 1))).deployment
        held.append(deployment.units("cpu"))
    return np.array(held)


def test_the_planner_keeps_in_a_dip_what_one_without_hold_gives_up(resnet):
    loads = [200, 200, 60, 60, 200, 60, 60, 60, 60, 60, 60]
    without = cores(HeldInfAdapter("last", margin=1.1, release=1), resnet, loads)
    held = cores(HoldPlanner(forecast="last", margin=1.1, release=4), resnet, loads)
    assert (held[:8] == held[0]).all() and without[2] < without[0]
    assert held[-1] == without[-1]


def test_without_a_hold_it_is_infadapter_without_one(resnet):
    loads = [90, 95, 180, 320, 500, 40, 60, 60]
    plain = cores(InfAdapter("max", 3, 1.2, hold=0, finish_rollout=False, capacity_ratio=0.9), resnet, loads)
    assert (cores(HeldInfAdapter("max", 3, 1.2, release=1, capacity_ratio=0.9), resnet, loads) == plain).all()

"""The order/keep band."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from observed import forecasts, observe

from baselines.band import Band, OrderKeepBand

LOADS = st.lists(st.floats(0, 500), min_size=1, max_size=40)
MARGIN, MEMORY = st.floats(0.5, 3), st.integers(1, 8)


def test_worked_by_hand():
    # order level 1.5 x the last load, keep level 2 x the greatest of the last two
    loads = [100, 80, 60, 40, 10, 10, 50]
    #        150 | order 120, keep 200 | 90, 160 | 60, 120 | 15, 80 | 15, 20 | 75, 100
    assert forecasts(Band(1.5, 1, 2.0, 2), loads) == [150, 150, 150, 120, 80, 20, 75]


@given(LOADS, MARGIN, MEMORY, MARGIN, MEMORY)
def test_the_plan_is_within_the_band_and_moves_only_to_its_edge(loads, order_margin, order_memory, keep_margin, keep_memory):
    band, before = Band(order_margin, order_memory, keep_margin, keep_memory), 0.0
    for i, rps in enumerate(loads):
        band.observe(rps)
        order = order_margin * max(loads[max(0, i + 1 - order_memory) : i + 1])
        keep = max(order, keep_margin * max(loads[max(0, i + 1 - keep_memory) : i + 1]))
        now = band.forecast()
        assert order <= now <= keep
        assert now == before if order <= before <= keep else now in (order, keep)
        before = now


@given(LOADS, MARGIN, MEMORY)
def test_a_band_without_width_is_a_margin_on_the_greatest_load(loads, margin, memory):
    expected = [margin * max(loads[max(0, i + 1 - memory) : i + 1]) for i in range(len(loads))]
    assert forecasts(Band(margin, memory, 0.01, 1), loads) == expected


@given(LOADS, st.floats(0.1, 10))
def test_changing_units_changes_nothing(loads, factor):
    scaled = forecasts(Band(1.3, 2, 2.0, 4), [factor * rps for rps in loads])
    assert scaled == pytest.approx([factor * rps for rps in forecasts(Band(1.3, 2, 2.0, 4), loads)])


def test_missing_loads_are_held_and_reset_forgets():
    band = Band(1.5, 1, 2.0, 2)
    assert math.isnan(band.forecast())
    assert forecasts(band, [100, math.nan, 10]) == [150, 150, 150]
    band.reset()
    assert math.isnan(band.forecast())


WRONG = [("order_margin", 0), ("keep_margin", -1), ("order_memory", 0), ("keep_memory", 1.5)]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_wrong_constants_are_named(name, value):
    with pytest.raises(ValueError, match=name):
        Band(**{"order_margin": 1.4, "order_memory": 2, "keep_margin": 1.8, "keep_memory": 4, name: value})


def test_the_policy_holds_within_the_band_and_gives_up_above_it(resnet):
    policy = OrderKeepBand(order_margin=1.2, order_memory=1, keep_margin=2.0, keep_memory=1)
    policy.reset(resnet)
    held, deployment = [], resnet.initial_deployment
    for i, rps in enumerate([150, 100, 120, 20]):
        deployment = policy.decide(observe(resnet, deployment, rps, t_s=30.0 * (i + 1))).deployment
        held.append(deployment.units("cpu"))
    assert held[0] == held[1] == held[2] > held[3]  # planned 180, 180, 180, 40 req/s


def test_the_policy_has_five_constants_and_may_wait_for_its_replicas(resnet):
    assert sorted(OrderKeepBand.space(resnet)) == ["fast_margin", "finish_rollout", "keep_margin", "keep_memory",
                                                   "order_margin", "order_memory"]


def test_a_plan_that_loads_is_finished_where_it_is_told_to(resnet):
    slow = resnet.with_(variants={n: v.model_copy(update={"load_s": 120.0}) for n, v in resnet.variants.items()})
    for finish in (True, False):
        policy = OrderKeepBand(order_memory=1, keep_memory=1, finish_rollout=finish)
        policy.reset(slow)
        first = policy.decide(observe(slow, slow.initial_deployment, 50)).deployment
        loading = {kind: (30.0,) for kind in first.replicas}
        seen = observe(slow, first, 200, ready=dict(slow.initial_deployment.replicas), pending=loading)
        assert (policy.decide(seen).deployment.replicas == first.replicas) == finish

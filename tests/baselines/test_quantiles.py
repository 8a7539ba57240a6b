"""Quantile forecasters: the interface, analogs, and the planners that plan for a quantile."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from observed import observe
from scipy.stats import norm

from baselines import analogs
from baselines.analogs import Analogs, library
from baselines.hold import HeldInfAdapter
from baselines.quantile_planner import HeldQuantilePlanner, QuantileInfAdapter, QuantilePlanner
from baselines.quantiles import PlannedQuantile, QuantileForecaster, loading_intervals
from envs.scenario_file import load

HISTORY = st.lists(st.floats(0.5, 500), min_size=1, max_size=20)


class Doubling(QuantileForecaster):
    """The load doubles each interval at the highest level and stays at the lowest: an object as one injects."""

    levels = np.array([0.1, 0.5, 0.9])
    memory_intervals = 1

    def reset(self, scenario, service, horizon):
        self.horizon = horizon

    def quantiles(self, history):
        growth = 2.0 ** np.arange(1, self.horizon + 1)[:, None]
        return history[-1] * (1 + (growth - 1) * np.array([0.0, 0.5, 1.0]))


@pytest.fixture
def made(monkeypatch, resnet):
    """Analogs on a library of one's own, as logarithms."""

    def make(series, horizon, **settings):
        monkeypatch.setattr(analogs, "library", lambda workload, trace, interval_s: np.asarray(series, float))
        found = Analogs(**settings)
        found.reset(resnet, "classify", horizon)
        return found

    return make


def test_a_planned_quantile_is_the_greatest_within_the_horizon():
    doubling = Doubling()
    doubling.reset(None, "", 3)
    planned = PlannedQuantile(doubling, 0.7, margin=1.5)
    assert math.isnan(planned.forecast())
    planned.observe(10.0)
    assert planned.forecast() == pytest.approx(1.5 * 10 * (1 + 7 * 0.75))  # half way between .5 and .9, three doublings
    planned.observe(math.nan)
    assert planned.forecast() == pytest.approx(1.5 * 62.5)
    for level in (0.0, 1.0, -1.0):
        with pytest.raises(ValueError, match="level"):
            PlannedQuantile(doubling, level)


def test_paths_of_quantiles_are_equally_likely_levels():
    doubling = Doubling()
    doubling.reset(None, "", 2)
    paths = doubling.paths(np.array([8.0]), 2)  # levels .25 and .75, between those known
    assert paths == pytest.approx(np.array([[8 * 1.1875, 8 * 1.5625], [8 * 1.8125, 8 * 3.4375]]))


def test_analogs_of_a_periodic_load_go_on_with_it(made):
    found = made(np.tile(np.log([10, 15, 40, 80, 60, 20]), 30), 4, match=3, count=5)
    seen, to_come = np.array([999.0, 120, 320, 640]), np.array([480, 160, 80, 120])  # eight times as high
    assert found.paths(seen, 5) == pytest.approx(np.tile(to_come, (5, 1)))
    assert found.quantiles(seen[1:]) == pytest.approx(np.tile(to_come[:, None], (1, 13)))


def test_a_random_walk_has_the_quantiles_of_its_law(made):
    walk = np.cumsum(np.random.default_rng(3).normal(0, 0.1, 40_000))
    found = made(walk, 9, match=1, count=40_000).quantiles(np.array([100.0]))
    for h in (1, 4, 9):
        law = 100 * np.exp(norm.ppf(Analogs.levels) * 0.1 * np.sqrt(h))
        assert found[h - 1] == pytest.approx(law, rel=0.05)


@settings(max_examples=40)
@given(HISTORY, st.floats(0.5, 20))
def test_quantiles_rise_and_changing_units_changes_nothing(resnet_analogs, history, factor):
    found = resnet_analogs.quantiles(np.array(history))
    assert found.shape == (5, 13) and (np.diff(found, axis=1) >= 0).all() and (found > 0).all()
    assert resnet_analogs.quantiles(factor * np.array(history)) == pytest.approx(factor * found, rel=1e-6)


@pytest.fixture(scope="module")
def resnet_analogs():
    found = Analogs(match=4, count=50)
    found.reset(load("resnet-variants"), "classify", 5)
    return found


def test_the_library_is_the_training_part_as_requests_arrive(resnet):
    series = library(resnet.workload["classify"], None, 30.0)
    assert len(series) == 2880 and np.exp(series).mean() == pytest.approx(100, rel=0.02)
    counts = np.exp(series) * 30
    assert counts == pytest.approx(np.round(counts))  # whole requests


def test_a_stage_of_a_chain_has_no_library():
    video = load("video")
    with pytest.raises(ValueError, match="chain"):
        Analogs().reset(video, next(iter(video.services)), 3)
    with pytest.raises(ValueError, match="match 0"):
        Analogs(match=0)


def test_it_looks_as_far_as_the_slowest_replica_loads(resnet):
    assert loading_intervals(resnet) == 1
    slow = {name: v.model_copy(update={"load_s": 120.0 if name == "resnet50" else 10.0})
            for name, v in resnet.variants.items()}
    assert loading_intervals(resnet.with_(variants=slow)) == 4
    assert loading_intervals(resnet.with_(variants=slow, decision_delay_s=1.0)) == 5


def test_the_planner_plans_for_the_quantile_of_an_injected_forecaster(resnet):
    policy = QuantilePlanner(quantiles=Doubling(), level=0.5, margin=1.1, capacity_ratio=0.9)
    plain = HeldInfAdapter("last", margin=1.1 * 2.5, release=1, capacity_ratio=0.9)
    policy.reset(resnet)
    plain.reset(resnet)
    for t, rps in enumerate([20, 60, 40]):  # two intervals ahead: 1 + 3 x 0.5
        seen = observe(resnet, resnet.initial_deployment, rps, t_s=30.0 * (t + 1))
        assert policy.decide(seen).deployment.replicas == plain.decide(seen).deployment.replicas


def test_a_hold_keeps_what_a_quantile_would_give_up(resnet):
    held, plain = (HeldQuantilePlanner(quantiles=Doubling(), release=3), QuantilePlanner(quantiles=Doubling()))
    cores = {}
    for policy in (held, plain):
        policy.reset(resnet)
        rows = [policy.decide(observe(resnet, resnet.initial_deployment, rps, t_s=30.0 * (i + 1))).deployment.units("cpu")
                for i, rps in enumerate([60, 10, 10, 10])]
        cores[policy] = rows
    assert cores[held][0] == cores[held][2] > cores[plain][2] and cores[held][3] == cores[plain][3]


def test_its_memory_rebuilds_it(resnet):
    loads = np.random.default_rng(0).uniform(20, 200, 30)

    def last(rows):
        policy = QuantileInfAdapter(Analogs(match=4, count=20))
        policy.reset(resnet)
        for i, rps in enumerate(rows):
            decision = policy.decide(observe(resnet, resnet.initial_deployment, rps, t_s=30.0 * (i + 1)))
        return decision.deployment, policy.memory_intervals

    whole, memory = last(loads)
    assert memory < 30 and last(loads[-memory:])[0] == whole

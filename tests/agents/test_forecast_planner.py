"""Planners with the pretrained forecaster, by name: they play, see through missing numbers, and are labelled as supervised."""

import numpy as np

from agents import registry
from agents.forecast_planner import ForecastMPC
from agents.quantile_forecaster import LEVELS, LearnedQuantiles
from envs.episode import run_episode
from envs.scenario_file import load
from reports.protocol_play import kind
from traces.load import POISSON, make_load

RATES = np.concatenate([np.full(60, 60.0), np.full(60, 180.0), np.full(60, 40.0)])


def test_the_planner_plays_and_follows_the_load():
    scenario = load("resnet-variants")
    scenario = scenario.with_(scrape=scenario.scrape.model_copy(update={"missing_ratio": 0.15}))
    policy = registry.make("infadapter-forecast", scenario)
    assert kind(policy) == "supervised"
    loads = {"classify": make_load(POISSON, RATES, 10.0)}
    first, again = (run_episode(scenario, policy, loads, seed=1, intervals=60) for _ in range(2))
    assert first.decisions["deployment"].tolist() == again.decisions["deployment"].tolist()
    capacity = first.intervals["capacity_rps"].to_numpy()
    assert capacity[32:40].min() > 180 and capacity[55:].max() < capacity[32:40].min()
    assert first.totals["violation_ratio"] < 0.2


def test_look_ahead_takes_the_forecaster():
    policy = registry.make("mpc-forecast", load("resnet-variants"))
    assert kind(policy) == "supervised" and isinstance(policy.planner.quantiles, LearnedQuantiles)
    assert ForecastMPC(horizon=4).planner.horizon == 4


def test_the_pretrained_forecaster_knows_a_steady_load():
    """Of a Poisson load of 100 req/s for hours the next interval's 90 % range is a few percent around it."""
    forecaster = LearnedQuantiles()
    forecaster.reset(load("resnet-variants"), "classify", 4)
    rng = np.random.default_rng(0)
    low, high = LEVELS.tolist().index(0.05), LEVELS.tolist().index(0.95)
    inside = []
    for _ in range(60):
        series = rng.poisson(3000, 121) / 30
        found = forecaster.quantiles(series[:-1])
        assert 0.85 * 100 < found[0, low] < 100 < found[0, high] < 1.2 * 100
        inside.append(found[0, low] <= series[-1] <= found[0, high])
    assert np.mean(inside) > 0.8

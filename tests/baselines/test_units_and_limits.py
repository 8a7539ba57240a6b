"""What holds for policies of every kind: units do not matter, and plans fit budget, nodes and memory."""

import pytest
from observed import counted, missing, observe
from test_policies import LOADS, POLICIES, play

from baselines.band import OrderKeepBand
from baselines.hold import HoldPlanner
from baselines.infadapter import InfAdapter
from baselines.model_switching import ModelSwitching
from baselines.model_switching_plus import ModelSwitchingPlus
from baselines.quantile_planner import HeldQuantilePlanner, QuantilePlanner
from baselines.two_time_scales import FastModelSwitchingPlus, TwoTimeScales
from envs.envelope import project
from envs.scenario_file import load

WITHOUT_SECONDS = [InfAdapter, TwoTimeScales, ModelSwitching, ModelSwitchingPlus, FastModelSwitchingPlus, HoldPlanner,
                   OrderKeepBand]  # no constant of theirs is a time
SETS = [InfAdapter, TwoTimeScales, ModelSwitchingPlus, HoldPlanner, QuantilePlanner, HeldQuantilePlanner, OrderKeepBand]


@pytest.mark.parametrize("make", POLICIES)
def test_prices_in_another_currency_change_nothing(make):
    ours, theirs = (play(make(), counted(mean_rps=60, currency=currency), LOADS) for currency in (1.0, 8.0))
    assert [d.deployment for d in ours] == [d.deployment for d in theirs]


@pytest.mark.parametrize("make", WITHOUT_SECONDS)
def test_another_unit_of_time_changes_nothing(make):
    """Seconds of a quarter: every time is four times as many, every rate a quarter."""
    plans = []
    for second in (1.0, 4.0):
        scenario, policy = counted(mean_rps=60, second=second), make()
        policy.reset(scenario)
        rows = [policy.decide(missing(scenario)).deployment]
        for i, rps in enumerate(LOADS):
            rows.append(policy.decide(observe(scenario, rows[-1], rps / second, t_s=30.0 * second * (i + 1))).deployment)
        plans.append(rows)
    assert plans[0] == plans[1] and len({d.replicas for d in plans[0]}) >= 3


@pytest.mark.parametrize("make", SETS)
def test_plans_fit_the_nodes_and_their_memory(make):
    """Two nodes of 24 cores with 3.5 GB: two small variants, or a large one, on each."""
    wide = load("resnet-variants-48")
    scenario = wide.with_(devices={"cpu": wide.devices["cpu"].model_copy(update={"memory_bytes": 3.5e9})})
    policy = make()
    policy.reset(scenario)
    deployment = scenario.initial_deployment
    for i, rps in enumerate([30.0, 240.0, 480.0, 640.0, 900.0, 100.0]):
        deployment = policy.decide(observe(scenario, deployment, rps, t_s=30.0 * (i + 1))).deployment
        assert project(deployment, scenario) == (deployment, ())
        assert deployment.units("cpu") <= 48

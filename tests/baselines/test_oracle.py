"""The oracle: hindsight beats foresight, within the bound."""

import numpy as np
import pytest
from observed import missing

from baselines.band import OrderKeepBand
from baselines.bound import bound
from baselines.future import Future
from baselines.hold import HoldPlanner
from baselines.hpa import HPA
from baselines.infadapter import InfAdapter
from baselines.ladder import ladder_of
from baselines.oracle import Oracle
from baselines.static import Static
from baselines.two_time_scales import TwoTimeScales
from envs.episode import run_episode
from envs.scenario_file import load
from traces.samplers import GAMMA, make_load

INTERVALS = 10


@pytest.mark.parametrize("seed", [0, 1])
def test_it_is_between_every_policy_and_the_bound(resnet, seed):
    rates = 90 * np.random.default_rng(seed).uniform(0.1, 3.0, INTERVALS)
    loads = {"classify": make_load(GAMMA, rates, 30.0, cv=1.5)}

    def earns(policy):
        return run_episode(resnet, policy, loads, seed=seed, intervals=INTERVALS).totals["reward"]

    future = Future(loads, 0.0, seed, INTERVALS)
    oracle = earns(Oracle().foresee(future))
    for policy in (Static(), HPA(), InfAdapter(), TwoTimeScales(), HoldPlanner(), OrderKeepBand()):
        assert earns(policy) < oracle
    assert oracle <= bound(resnet, future).reward + 1e-9


def test_without_a_future_it_says_so(resnet):
    oracle = Oracle()
    oracle.reset(resnet)
    with pytest.raises(ValueError, match="future"):
        oracle.decide(missing(resnet))


def test_the_ladder_rises_within_the_budget(resnet):
    for scenario in (resnet, load("resnet-variants-48")):
        ladder = ladder_of(scenario)
        assert (np.diff(ladder.loads_rps) > 0).all() and len(ladder.levels) > 20
        for levels in ladder.levels:
            assert scenario.deployment(levels).units("cpu") <= scenario.devices["cpu"].budget


def test_several_services_have_no_ladder():
    with pytest.raises(ValueError, match="one service"):
        ladder_of(load("tenants"))

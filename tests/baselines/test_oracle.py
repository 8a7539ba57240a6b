"""The oracle: hindsight beats foresight, within the bound."""

import numpy as np
import pytest
from observed import missing

from baselines.band import OrderKeepBand
from baselines.bound import bound
from baselines.fa2 import FA2High, FA2Low
from baselines.future import Future
from baselines.hold import HoldPlanner
from baselines.hpa import HPA
from baselines.infadapter import InfAdapter
from baselines.ipa import IPA
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


def test_each_rung_of_a_pipeline_carries_its_load_at_every_stage_within_the_budget():
    scenario = load("video")
    ladder = ladder_of(scenario, loads=24)
    assert len(ladder.levels) > 8
    for levels, load_rps in zip(ladder.levels, ladder.loads_rps):
        replicas = scenario.deployment(levels).replicas
        for stage in scenario.services.values():
            hosts = [(kind, n) for kind, n in replicas.items() if set(kind.variants) & set(stage.variants)]
            assert len(hosts) == 1
            assert sum(n * scenario.capacity_rps(kind, kind.variants[0]) for kind, n in hosts) >= load_rps * (1 - 1e-9)
        for name, device in scenario.devices.items():
            assert scenario.deployment(levels).units(name) <= device.budget


def test_on_a_pipeline_it_beats_its_planners():
    scenario = load("video")
    loads = {"video": make_load(GAMMA, 15 * np.random.default_rng(0).uniform(0.3, 2.0, 12), scenario.interval_s, cv=1.0)}
    future = Future(loads, 0.0, 0, 12)
    oracle = run_episode(scenario, Oracle().foresee(future), loads, seed=0, intervals=12).totals["reward"]
    for policy in (IPA(), FA2Low(), FA2High()):
        assert run_episode(scenario, policy, loads, seed=0, intervals=12).totals["reward"] < oracle


@pytest.mark.parametrize(("name", "why"), [("tenants", "one service or pipeline"), ("cascade", "thresholds")])
def test_a_scenario_without_a_ladder_says_why(name, why):
    with pytest.raises(ValueError, match=why):
        ladder_of(load(name))

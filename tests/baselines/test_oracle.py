"""The oracle: hindsight beats foresight, within the bound."""

import numpy as np
import pytest
from observed import counted, missing

from agents import registry
from baselines.band import OrderKeepBand
from baselines.bound import bound
from baselines.fa2 import FA2High, FA2Low
from baselines.future import Future
from baselines.hold import HoldPlanner
from baselines.hpa import HPA
from baselines.infadapter import InfAdapter
from baselines.ipa import IPA
from baselines.ladder import ladder_of
from baselines.oracle import Oracle, _once_loaded, admitted_rps
from baselines.rungs import rungs_of
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


def test_what_it_found_for_one_load_time_serves_another(resnet, monkeypatch):
    loads = {"classify": make_load(GAMMA, 90 * np.random.default_rng(1).uniform(0.1, 3.0, 4), 30.0, cv=1.5)}
    quick, slow = (resnet.with_(variants={n: v.model_copy(update={"load_s": load_s}) for n, v in resnet.variants.items()})
                   for load_s in (10.0, 60.0))
    future = Future(loads, 0.0, 0, 4)
    fresh = run_episode(slow, Oracle(Future(loads, 0.0, 0, 4)), loads, seed=0, intervals=4).totals["reward"]
    Oracle(future).reset(quick)
    monkeypatch.setattr("baselines.oracle.reward_table", lambda *_: pytest.fail("played again"))
    assert run_episode(slow, Oracle(future), loads, seed=0, intervals=4).totals["reward"] == fresh


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


@pytest.mark.slow  # two kernels to compile for many clusters
@pytest.mark.parametrize(("name", "mean_rps", "peers"), [
    ("cascade", {"cascade": 90.0}, ["cascadeserve", "cascadeserve-fast", "hpa", "target-tracking", "static"]),
    ("tenants", {"gold": 150.0, "silver": 120.0, "flood": 60.0}, ["proteus", "proteus-fast", "hpa", "static"]),
])
def test_in_other_families_it_beats_their_planners(name, mean_rps, peers):
    scenario, rng = load(name), np.random.default_rng(3)
    loads = {a: make_load(GAMMA, rps * rng.uniform(0.3, 1.8, 16), scenario.interval_s, cv=1.2) for a, rps in mean_rps.items()}
    future = Future(loads, 0.0, 1, 16)
    oracle = run_episode(scenario, Oracle().foresee(future), loads, seed=1, intervals=16).totals["reward"]
    for peer in peers:
        policy = registry.make(peer, scenario)
        assert run_episode(scenario, policy, loads, seed=1, intervals=16).totals["reward"] <= oracle + 1e-9


@pytest.mark.slow  # it places models for each interval
def test_it_places_models_for_the_requests_that_come():
    scenario = load("alpaserve-shift")
    services = list(scenario.services)
    late = {name: (8.0 if i % 4 == 0 else 0.2) for i, name in enumerate(services)}  # other models than in training
    loads = {name: make_load(GAMMA, np.full(4, rps), scenario.interval_s, cv=2.0) for name, rps in late.items()}
    future = Future(loads, 0.0, 1, 4)
    oracle = run_episode(scenario, Oracle().foresee(future), loads, seed=1, intervals=4).totals["reward"]
    for peer in ("alpaserve", "selective-replication"):
        assert run_episode(scenario, registry.make(peer, scenario), loads, seed=1, intervals=4).totals["reward"] < oracle


def test_the_rungs_of_several_services_are_all_deployments_within_the_budget():
    scenario = load("tenants")
    rungs = rungs_of(scenario, np.ones((1, 3)))
    assert {tuple(row) for row in rungs.levels} == {(a, b) for a in range(5) for b in range(5) if 0 < a + b <= 4}
    light, heavy = (scenario.capacity_rps(kind, kind.variants[0]) for kind in scenario.kinds)
    loads = np.array([[5.0, 5.0, 5.0], [heavy, heavy / 2, 0.0], [light, light, 1.5 * light]])
    one, two, most = rungs.levels[rungs.carrying(loads)]
    assert tuple(one) == (0, 1) and tuple(two) == (0, 2) and tuple(most) == (4, 0)


def test_where_deployments_are_many_the_rungs_are_plans_for_the_loads_that_come():
    scenario = counted(services=("see", "hear"))
    coming = np.array([[60.0, 20.0], [200.0, 10.0]])
    rungs = rungs_of(scenario, coming)
    assert len(rungs.levels) <= 8 and len({tuple(row) for row in rungs.levels}) == len(rungs.levels)
    for rps in coming:
        carried = scenario.deployment(rungs.levels[rungs.carrying(rps[None])[0]])
        for service, needed in zip(scenario.services.values(), rps):
            kinds = [(k, n) for k, n in carried.replicas.items() if k.variants[0] in service.variants]
            assert sum(n * scenario.capacity_rps(k, k.variants[0]) for k, n in kinds) >= needed


def test_the_rungs_of_a_cascade_are_its_gears_with_their_thresholds():
    scenario = load("cascade")
    rungs = rungs_of(scenario, np.ones((1, 2)))
    assert len(rungs.thresholds) == len(rungs.levels) == len(rungs.loads_rps) > 10
    assert (np.diff(rungs.loads_rps) > 0).all() and {0.0, 0.897} <= {t["cascade", 0] for t in rungs.thresholds}


def test_a_tenant_brings_no_more_than_its_quota():
    scenario = load("tenants")
    loads = {name: make_load(GAMMA, np.full(3, rps), 10.0, cv=1.0) for name, rps in (("gold", 300.0), ("flood", 400.0))}
    gold, silver, flood = admitted_rps(scenario, Future(loads, 0.0, 0, 3)).T
    assert (gold > 200).all() and (silver == 0).all() and flood == pytest.approx(100)


def test_thresholds_wait_until_what_they_need_has_loaded():
    """From medium alone to medium and large-second: 9 s of 10; back: nothing loads."""
    scenario = load("cascade")
    alone, both = scenario.levels(scenario.initial_deployment), (0, 0, 5, 0, 0, 0, 0, 0, 6, 0)
    schedule = np.array([-1, -1, 3, 3, 3, 0, 0])
    levels = np.array([alone, alone, both, both, both, alone, alone])
    assert _once_loaded(scenario, levels, schedule).tolist() == [-1, -1, -1, 3, 3, 0, 0]
    slow = scenario.with_(variants={n: v.model_copy(update={"load_s": 15.0}) for n, v in scenario.variants.items()})
    assert _once_loaded(slow, levels, schedule).tolist() == [-1, -1, -1, -1, 3, 0, 0]

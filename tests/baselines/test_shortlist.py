"""Short lists of settings, from reward tables."""

from types import SimpleNamespace

import numpy as np
import pytest

from baselines.band import OrderKeepBand
from baselines.calibrate import calibrate, draw
from baselines.hold import HoldPlanner
from baselines.hpa import HPA
from baselines.infadapter import InfAdapter
from baselines.ladder import Ladder
from baselines.mpc import MPC
from baselines.quantile_planner import HeldQuantilePlanner
from baselines.shortlist import _mpc_schedule, _plan_schedule, fits, shortlist, tables_of
from baselines.static_fast import ConstantMix, FastStatic
from baselines.two_time_scales import FastINFaaS, FastModelSwitchingPlus, TwoTimeScales
from envs.episode import run_episode
from traces.samplers import GAMMA, make_load

WINDOWS, INTERVALS = [(0.0, 1), (1500.0, 2)], 30


@pytest.fixture(scope="module")
def slow(resnet):
    return resnet.with_(variants={n: v.model_copy(update={"load_s": 120.0}) for n, v in resnet.variants.items()})


@pytest.fixture(scope="module")
def loads():
    rates = 90 * np.exp(np.cumsum(np.random.default_rng(4).normal(0, 0.15, 120)).clip(-1, 1))
    return {"classify": make_load(GAMMA, rates, 30.0, cv=1.2)}


@pytest.fixture(scope="module")
def tables(slow, loads):
    return tables_of(slow, loads, WINDOWS, INTERVALS)


def earned(policy, scenario, loads):
    return np.mean([run_episode(scenario, policy, loads, seed=seed, start_s=start_s, intervals=INTERVALS).totals["reward"]
                    for start_s, seed in WINDOWS])


def test_plays_are_counted(tables):
    assert tables.plays == 2 * (1 + len(tables.ladder.levels))


@pytest.mark.parametrize("policy", [OrderKeepBand, HeldQuantilePlanner])
def test_what_earns_most_in_the_tables_beats_the_defaults_in_the_simulator(slow, loads, tables, policy):
    best = shortlist(policy, tables, 30, 3)
    assert len(best) == 3 and all(set(settings) <= set(policy.slow.space(slow)) for settings in best)
    assert earned(policy(**best[0]), slow, loads) > earned(policy(), slow, loads) + 0.01
    assert shortlist(policy, tables, 30, 3) == best


def test_the_best_constants_of_the_tables_are_the_best_of_the_simulator(slow, loads, tables):
    before = tables.plays
    best = shortlist(FastStatic, tables, 20, 3)
    assert len(best) == 3 and tables.plays == before + 2 * 20  # 19 drawn and the initial deployment, on both windows
    drawn = [settings for settings in draw(ConstantMix.space(slow), 20, 0) if settings]
    rewards = {tuple(s["levels"]): earned(FastStatic(**s), slow, loads) for s in drawn}
    ranked = sorted(rewards.values(), reverse=True)
    assert rewards[tuple(best[0]["levels"])] >= ranked[0] - 0.01 and best[0] in drawn


def rows(planner, offered, loading=2.0):
    """Schedule on a ladder of one rung for each 10 req/s, between any two of which replicas load for two intervals."""
    ladder = Ladder(np.zeros((5, 1)), np.array([10.0, 20, 30, 40, 50]))
    scenario = SimpleNamespace(interval_s=30.0)
    table = SimpleNamespace(loading=loading * (1 - np.eye(6)))
    return _plan_schedule(planner, SimpleNamespace(ladder=ladder, scenario=scenario, table=table), np.array(offered)).tolist()


def test_infadapters_rules_on_rungs_by_hand():
    """Rung r (from 1 on) carries 10 r req/s; the first interval is the initial deployment's."""
    loads = [15.0, 35, 5, 5, 5, 5, 99, 99]
    plain = InfAdapter("last", margin=1.0, hold=0, finish_rollout=False, capacity_ratio=1.0)
    assert rows(plain, loads) == [0, 2, 4, 1, 1, 1, 1, 5]
    held = InfAdapter("last", margin=1.0, hold=2, finish_rollout=False, capacity_ratio=1.0)
    assert rows(held, loads) == [0, 2, 4, 4, 4, 1, 1, 5]
    finishing = InfAdapter("last", margin=1.0, hold=0, finish_rollout=True, capacity_ratio=0.5)
    assert rows(finishing, loads) == [0, 3, 3, 1, 1, 1, 1, 5]  # the load of interval 1 is not acted on: rung 3 was loading


def test_model_predictive_control_is_told_what_is_ready_and_what_still_loads():
    """Replicas load for two intervals; the initial deployment counts as rung 1."""
    told, wanted = [], iter([1, 3, 4, 4, 4, 4, 0])

    def choose(now, ready, left):
        told.append((now, ready, left))
        return next(wanted), (0, 0), 1

    planner = SimpleNamespace(forget=lambda: None, rung_of=lambda replicas: 1, observe=lambda rps: None, choose=choose)
    scenario = SimpleNamespace(initial_deployment=SimpleNamespace(replicas={}))
    tables = SimpleNamespace(scenario=scenario, table=SimpleNamespace(loading=2.0 * (1 - np.eye(6))))
    assert _mpc_schedule(planner, tables, np.zeros(8)).tolist() == [0, 0, 4, 5, 5, 5, 5, 1]
    assert told == [(1, 1, 0), (1, 1, 0), (3, 1, 1), (4, 1, 1), (4, 4, 0), (4, 4, 0), (4, 4, 0)]


def test_only_policies_that_follow_the_load_alone_fit(tables):
    assert all(map(fits, (TwoTimeScales, FastStatic, HoldPlanner, OrderKeepBand, HeldQuantilePlanner, MPC)))
    assert not any(map(fits, (HPA, InfAdapter, FastINFaaS, FastModelSwitchingPlus)))
    with pytest.raises(ValueError, match="HPA"):
        shortlist(HPA, tables, 10, 2)


def test_calibration_tries_a_short_list_in_place_of_a_draw():
    tried = []

    def play(calls):
        tried.extend(calls)
        return [settings.get("gain", 0) for settings, _ in calls]

    listed = [{"gain": gain} for gain in (7, 3, 9, 1)]
    found = calibrate({"gain": range(100)}, 60, range(100), range(100, 200), play, shortlist=listed)
    assert found.settings == {"gain": 9} and len(tried) == found.calls == 59  # the odd one is left
    choosing = [[window for settings, window in tried if settings == row and window < 100] for row in ({}, *listed)]
    assert choosing == [list(range(9))] * 5  # all on the same windows

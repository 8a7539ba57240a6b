"""Reward tables: rows are what the kernel earns, schedules are scored as written, and the best one is the best."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.static import Static
from envs.episode import run_episode
from envs.reward_table import RewardTable, coming_rps, reward_table
from envs.scenario_file import load
from traces.samplers import GAMMA, make_load

INTERVALS = 6
LEVELS = np.array([[7, 0, 0, 0, 0], [0, 0, 12, 0, 0], [0, 0, 0, 0, 18]])


@pytest.fixture(scope="module")
def scenario():
    return load("resnet-variants")


@pytest.fixture(scope="module")
def loads():
    return {"classify": make_load(GAMMA, 80 * np.random.default_rng(5).uniform(0.2, 2.5, 400), 15.0, cv=1.5)}


@pytest.fixture(scope="module")
def table(scenario, loads):
    return reward_table(scenario, loads, LEVELS, [(600.0, 3), (1200.0, 4)], INTERVALS)


def test_rows_are_what_an_episode_of_that_deployment_earns(scenario, loads, table):
    for (w, (start_s, seed)), (r, levels) in product(enumerate([(600.0, 3), (1200.0, 4)]), enumerate(LEVELS)):
        episode = run_episode(scenario, Static(levels=list(levels)), loads, seed=seed, start_s=start_s, intervals=INTERVALS)
        rows = episode.intervals
        r += 1  # the first row is the initial deployment's
        assert table.value[w, :, r] == pytest.approx(rows["accuracy"] - rows["violation_ratio"], abs=1e-12)
        assert table.offered_rps[w] == pytest.approx(rows["offered_rps"])
        assert table.cost[r] == pytest.approx(0.05 * rows["cost"].iloc[-1])
        assert table.score(w, np.array([0] + [r] * (INTERVALS - 1))) == pytest.approx(episode.totals["reward"], abs=1e-3)


def test_a_change_costs_its_load_time_and_what_is_held_beside_it(scenario, table):
    initial, r18, r50, r152 = range(4)
    part = scenario.variants["resnet152"].load_s / 30
    assert table.loading[r18, r152] == pytest.approx(part)
    assert table.switch[r18, r152] == pytest.approx(0.05 * part * 8 / 20 + 0.001)  # 8 cores of ResNet18 held on; longest load
    assert table.switch[r50, r50] == table.loading[r50, r50] == table.loading[initial, initial] == 0
    assert table.loading[initial, r152] == pytest.approx(part)


def test_what_comes_is_what_arrives(scenario, loads, table):
    assert coming_rps(scenario, loads, 600.0, 3, INTERVALS)[:, 0] == pytest.approx(table.offered_rps[0])


def test_foresight_never_lacks_the_load_of_a_burst(scenario):
    rates = np.array([20.0] * 4 + [170.0] * 4)
    burst = {"classify": make_load(GAMMA, rates, 30.0, cv=1.0)}
    both = np.array([[19 - 8, 0, 0, 0, 7]])  # ResNet18 on 12 cores, ResNet152 on 8
    seen, foreseen = (reward_table(scenario, burst, both, [(0.0, 1)], 8, foresight=f).value[0, :, 1] for f in (False, True))
    assert seen[4] < foreseen[4] - 0.05  # routes for 20 req/s in the first interval of 170
    assert seen[6] == pytest.approx(foreseen[6], abs=0.01)


def test_replicas_that_load_longer_than_an_interval_are_refused(scenario, loads):
    with pytest.raises(ValueError, match="longer than an interval"):
        reward_table(scenario.with_(interval_s=5), loads, LEVELS, [(0.0, 0)], 2)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 4))
def test_the_best_schedule_is_that_of_an_exhaustive_search(seed, length, rungs):
    rng = np.random.default_rng(seed)
    table = RewardTable(np.zeros((rungs, 1)), rng.normal(size=(1, length, rungs)), np.zeros((1, length)), rng.random(rungs),
                        *(rng.random((rungs, rungs)) * (1 - np.eye(rungs)) for _ in range(2)))
    exhaustive = max(table.score(0, np.array([0, *s])) for s in product(range(rungs), repeat=length - 1))
    assert table.score(0, table.best(0)) == pytest.approx(exhaustive, abs=1e-12)

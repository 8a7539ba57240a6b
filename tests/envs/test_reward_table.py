"""Reward tables: rows are what the kernel earns, schedules are scored as written, and the best one is the best."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.static import Static
from baselines.two_time_scales import TwoTimeScales
from envs.contract import Decision, Policy
from envs.episode import run_episode
from envs.loading import Changes
from envs.reward_table import RewardTable, coming_rps, reward_table
from envs.routes import ROUTE_MARGIN
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
    loaded = scenario.with_(variants=loading(scenario, 0.0))
    for (w, (start_s, seed)), (r, levels) in product(enumerate([(600.0, 3), (1200.0, 4)]), enumerate(LEVELS)):
        rows, episode = (run_episode(s, Static(levels=list(levels)), loads, seed=seed, start_s=start_s, intervals=INTERVALS)
                         for s in (loaded, scenario))
        r += 1  # the first row is the initial deployment's
        assert table.value[w, :, r] == pytest.approx(rows.intervals["accuracy"] - rows.intervals["violation_ratio"], abs=1e-12)
        assert table.offered_rps[w] == pytest.approx(rows.intervals["offered_rps"])
        assert table.cost[r] == pytest.approx(0.05 * rows.intervals["cost"].iloc[-1])
        assert table.score(w, np.array([0] + [r] * (INTERVALS - 1))) == pytest.approx(episode.totals["reward"], abs=0.03)


def test_a_change_costs_its_load_time_and_what_is_held_beside_it(scenario, table):
    initial, r18, r50, r152 = range(4)
    part = scenario.variants["resnet152"].load_s / 30
    assert table.loading[r18, r152] == pytest.approx(part)
    assert table.switch[r18, r152] == pytest.approx(0.05 * part * 8 / 20 + 0.001)  # 8 cores of ResNet18 held on; longest load
    assert table.switch[r50, r50] == table.loading[r50, r50] == table.loading[initial, initial] == 0
    assert table.loading[initial, r152] == pytest.approx(part)


def test_at_another_load_time_it_is_the_table_of_that_load_time(scenario, loads, table):
    slow = scenario.with_(variants=loading(scenario, 75.0))
    mine, played = table.at(slow), reward_table(slow, loads, LEVELS, [(600.0, 3), (1200.0, 4)], INTERVALS)
    for name in ("value", "cost", "loading", "switch"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(played, name))
    schedules = np.array([[0, 2, 2, 3, 3, 1]])
    assert mine.scores(1, schedules) == played.scores(1, schedules) != table.scores(1, schedules)


def test_what_comes_is_what_arrives(scenario, loads, table):
    assert coming_rps(scenario, loads, 600.0, 3, INTERVALS)[:, 0] == pytest.approx(table.offered_rps[0])


def test_foresight_never_lacks_the_load_of_a_burst(scenario):
    rates = np.array([20.0] * 4 + [170.0] * 4)
    burst = {"classify": make_load(GAMMA, rates, 30.0, cv=1.0)}
    coming = coming_rps(scenario, burst, 0.0, 1, 8)[None]
    both = np.array([[19 - 8, 0, 0, 0, 7]])  # ResNet18 on 12 cores, ResNet152 on 8
    seen, foreseen = (reward_table(scenario, burst, both, [(0.0, 1)], 8, known_rps=k).value[0, :, 1] for k in (None, coming))
    assert seen[4] < foreseen[4] - 0.05  # routes for 20 req/s in the first interval of 170
    assert seen[6] == pytest.approx(foreseen[6], abs=0.01)


def loading(scenario, load_s):
    return {name: v.model_copy(update={"load_s": load_s}) for name, v in scenario.variants.items()}


class Played(Policy):
    """Plays a schedule of levels; routes are the fast loop's."""

    def __init__(self, rows):
        self.rows = rows

    def reset(self, scenario):
        self._scenario, self._left = scenario, list(self.rows)

    def decide(self, observation):
        return Decision(self._scenario.deployment(self._left.pop(0)), "as written")


@pytest.mark.parametrize("load_s", [20.0, 45.0, 120.0, 300.0])
def test_schedules_score_what_they_earn_in_the_kernel_whatever_the_load_time(scenario, load_s):
    """Within 0.02 of mean reward over 40 intervals: one interval whose queue the table takes for full may differ by 0.6."""
    slow = scenario.with_(variants=loading(scenario, load_s))
    rng = np.random.default_rng(int(load_s))
    bursts = {"classify": make_load(GAMMA, 90 * rng.uniform(0.3, 2.0, 60), 30.0, cv=1.2)}
    rows = np.array([[12, 0, 0, 0, 0], [0, 0, 18, 0, 0], [19, 0, 0, 0, 0], [0, 16, 0, 0, 0], [0, 0, 0, 0, 18]])
    table = reward_table(slow, bursts, rows, [(0.0, 7)], 40)
    for _ in range(3):
        schedule = np.repeat(rng.integers(0, 6, 40), rng.integers(1, 14, 40))[:40]
        schedule[0] = 0
        policy = TwoTimeScales(Played(table.levels[schedule]), fast_margin=ROUTE_MARGIN)
        earned = run_episode(slow, policy, bursts, seed=7, intervals=40).totals["reward"]
        assert table.score(0, schedule) == pytest.approx(earned, abs=0.02)


def test_counted_replicas_are_ready_after_their_load_time():
    """Worked by hand: at most min(wanted over the load time) are ready; what is given up goes at once."""
    levels = np.array([[2], [3], [4], [1]])
    changes = Changes(levels, np.array([False]), np.array([2.0]), np.arange(5.0)[None] / 100, np.array([0.5]))
    value = np.tile(levels[:, 0], (7, 1)).astype(float)  # what is ready
    schedule = [0, 1, 2, 2, 2, 3, 0]
    # ready:     2, 2, 2, 3, 4, 1, 1;  paid 2, 3, 4, 4, 4, 1, 2;  started in intervals 1, 2 and 6
    assert changes.scores(value, np.array([schedule]))[0] == pytest.approx((15 - 0.20 - 1.5) / 7)
    later = Changes(levels, np.array([False]), np.array([1.25]), np.arange(5.0)[None] / 100, np.array([0.5]))
    # four are ready a quarter into interval 3; three, a part of what is wanted by then, count from the next interval
    assert later.scores(value, np.array([schedule]))[0] == pytest.approx((15 + 0.75 - 0.20 - 1.5) / 7)


def test_a_size_that_is_given_up_before_it_has_loaded_never_serves():
    levels = np.array([[2], [3], [4]])
    changes = Changes(levels, np.array([True]), np.array([2.0]), np.arange(5.0)[None] / 100, np.array([0.5]))
    value = np.tile(levels[:, 0], (6, 1)).astype(float)
    # ready 2 until size 3, wanted from interval 3 on, has loaded; size 4 was wanted for one interval only
    paid = [2, 2 + 4, 2, 2 + 3, 2 + 3, 3]
    expected = (2 * 5 + 3 - sum(paid) / 100 - 2 * 0.5) / 6
    assert changes.scores(value, np.array([[0, 2, 0, 1, 1, 1]]))[0] == pytest.approx(expected)


def finishes(schedule, loading):
    """Whether every change has loaded before the next one and before the end."""
    changed = [t for t in range(1, len(schedule)) if schedule[t] != schedule[t - 1]]
    return all(after - t >= loading[schedule[t - 1], schedule[t]] for t, after in zip(changed, [*changed[1:], len(schedule)]))


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 3), st.sampled_from([0.9, 2.5]), st.booleans())
def test_the_best_schedule_is_that_of_an_exhaustive_search(seed, length, rungs, longest, sized):
    rng = np.random.default_rng(seed)
    changes = Changes(rng.permutation(rungs)[:, None], np.array([sized]), rng.uniform(0, longest, 1),
                      np.sort(rng.random((1, rungs))), rng.random(1))
    value = rng.normal(size=(1, length, rungs))
    value[0, 0] = value[0, 0, 0]
    table = RewardTable(changes.levels, value, value[..., 0], changes.cost(changes.levels), *changes.between(), changes)
    schedules = [np.array([0, *s]) for s in product(range(rungs), repeat=length - 1)]
    exhaustive = max(table.score(0, s) for s in schedules if finishes(s, table.loading))
    best = table.best(0)
    assert finishes(best, table.loading) and table.score(0, best) == pytest.approx(exhaustive, abs=1e-12)

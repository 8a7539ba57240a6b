"""Model-predictive control in band form, and the returns that it reads."""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from observed import NAN, observe

from baselines import mpc, mpc_returns
from baselines.ladder import Ladder
from baselines.mpc import BLOCK, MPC, BandMPC
from baselines.mpc_returns import Returns, returns_of
from baselines.quantiles import QuantileForecaster
from baselines.static import Static
from baselines.two_time_scales import TwoTimeScales
from envs.episode import run_episode
from traces.samplers import GAMMA, POISSON, make_load

LEVELS = np.array([[0, 0, 3, 0, 0], [0, 0, 8, 0, 0], [0, 10, 0, 0, 0], [17, 0, 0, 0, 0]])  # 4, 9, 11, 18 cores
CARRIED, COST = np.array([50.0, 100, 150, 200]), np.array([0.1, 0.2, 0.3, 0.4])


class Courses(QuantileForecaster):
    """Courses that are given."""

    def __init__(self, courses):
        self.courses = np.asarray(courses, float)

    def reset(self, scenario, service, horizon):
        self.horizon = horizon

    def quantiles(self, history):
        raise AssertionError("not asked for")

    def paths(self, history, count):
        return np.tile(self.courses, (count, 1))[:count, : self.horizon]


def slow(scenario, load_s):
    return scenario.with_(variants={n: v.model_copy(update={"load_s": load_s}) for n, v in scenario.variants.items()})


@pytest.fixture(autouse=True)
def fewer_loads(monkeypatch):
    """A coarse grid, for speed."""
    monkeypatch.setattr(mpc_returns, "GRID", 14)
    monkeypatch.setattr(mpc_returns, "STRETCHES", 2)


def planner(patch, resnet, courses, load_s=100.0, switch=0.0, **settings):
    """A planner on four rungs that earn 1 while the load is within `CARRIED`, and lose 1 beyond."""
    grid = np.geomspace(1, 1000, 30_000)
    value = np.where(grid[:, None] <= CARRIED, 1.0, -1.0)
    found = Returns(Ladder(LEVELS, CARRIED), grid, value, COST, switch * (1 - np.eye(4)))
    patch.setattr(mpc, "returns_of", lambda scenario: found)
    policy = BandMPC(Courses(courses), **settings)
    policy.reset(slow(resnet, load_s))
    return policy


@pytest.fixture
def made(monkeypatch, resnet):
    return partial(planner, monkeypatch, resnet)


def decided(policy, now, ready=None, age_s=None):
    """The rung decided where a rung is in force, ready (or another one is, and it has been loading for some time)."""
    scenario = policy._scenario
    rungs = [scenario.deployment(levels) for levels in LEVELS]
    pending = {k: (age_s,) for k in rungs[now].replicas}
    kinds = {} if ready is None else {"ready": dict(rungs[ready].replicas), "pending": pending}
    decision = policy.decide(observe(scenario, rungs[now], 40, **kinds))
    return rungs.index(decision.deployment), decision


@pytest.mark.parametrize(
    ("course", "now", "wanted"),
    [
        ([40] * 3 + [140] * 4, 0, 2),  # ordered now, ready when it is needed
        ([40] * 3 + [90] * 4, 3, 1),  # all but what is needed is given up
        ([140] * 2 + [40] * 5, 2, 2),  # too late to order for, but kept as long as it serves
        ([140] * 2 + [40] * 5, 0, 0),  # and not ordered
        ([140] * 2 + [40] * 5, 3, 2),
    ],
)
def test_what_is_ordered_serves_after_its_load_time_and_what_is_kept_from_now_on(made, course, now, wanted):
    assert decided(made([course], horizon=4), now)[0] == wanted


def test_it_orders_for_the_mean_of_the_courses_not_for_the_mean_course(made):
    half = [[40] * 7, [140] * 7]
    assert decided(made(half, horizon=4, count=2), 0)[0] == 2  # 90 on average, half of the time 140
    rare = [[40] * 7] * 30 + [[140] * 7]
    assert decided(made(rare, horizon=4, count=31), 0)[0] == 0  # (1 - 2 / 31) - 0.1 > 1 - 0.3


def test_a_discount_on_the_price_keeps_more(made):
    course = [[140] + [40] * 20]  # to be short of it in one interval of 21 costs 2 / 21, to keep it 0.2
    full, discounted = (decided(made(course, horizon=18, keep_price=p), 2)[0] for p in (1.0, 0.3))
    assert (full, discounted) == (0, 2)


def test_a_change_that_costs_more_than_it_earns_is_not_made(made):
    course = [[40] * 7]
    assert decided(made(course, horizon=4, switch=0.3), 2)[0] == 0  # saves 4 x 0.2
    assert decided(made(course, horizon=4, switch=0.9), 2)[0] == 2


def test_loading_is_finished_first_where_that_earns_more(made):
    """150 req/s come for good; rung 2 is ready in one interval, rung 3, a little better, in four."""
    courses = [[120] * 4 + [190] * 4]
    first, _ = decided(made(courses, load_s=120.0, horizon=4), 2, ready=0, age_s=90.0)
    assert first == 2  # three intervals of rung 2 before rung 3 is ordered, one of rung 3 lost
    assert decided(made([[40] * 4 + [190] * 4], load_s=120.0, horizon=4), 2, ready=0, age_s=90.0)[0] == 3  # rung 2 not needed


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(0, 3), st.sampled_from([10.0, 45.0, 100.0]))
def test_the_plan_is_clipped_to_the_best_rungs_of_an_exhaustive_search(resnet, seed, now, load_s):
    rng = np.random.default_rng(seed)
    courses, horizon, price = rng.uniform(10, 250, (5, 9)), int(rng.integers(1, 6)), float(rng.random())
    with pytest.MonkeyPatch.context() as patch:
        policy = planner(patch, resnet, courses, load_s, count=5, horizon=horizon, keep_price=price)
        found = decided(policy, now)[0]
    delay = int(load_s // 30)

    def gain(rung, first, factor):
        window = courses[:, first : delay + horizon]
        return float(np.where(window <= CARRIED[rung], 1.0, -1.0).mean() - factor * COST[rung])

    order = max(range(4), key=lambda r: (round(gain(r, delay, 1.0), 9), -r))
    keep = max(range(4), key=lambda r: (round(gain(r, 0, price), 9), -r))
    assert found == min(max(now, order), max(order, keep))


def test_it_stops_looking_when_its_time_is_up(made):
    ticks = iter(np.arange(0.0, 100.0, 0.02))
    policy = made([[40] * 7], horizon=4, count=10 * BLOCK, clock=lambda: float(next(ticks)))
    policy.limit_s = 0.05
    assert decided(policy, 0)[1].details["courses"] == 3 * BLOCK


def test_without_a_limit_it_looks_at_all_courses_and_never_at_the_clock(made):
    def clock():
        raise AssertionError("asked for the time")

    assert decided(made([[40] * 7], horizon=4, count=40, clock=clock), 0)[1].details["courses"] == 40


def test_the_limit_of_two_time_scales_is_its_planners(resnet):
    policy = MPC()
    policy.limit_s = 0.2
    policy.reset(resnet)
    assert policy.planner.limit_s == 0.2 and MPC().limit_s == math.inf


def test_under_more_load_than_is_carried_it_has_the_most_capacity_and_says_so(made):
    """200 req/s are carried; beyond, the returns are those of nothing, whatever the rung."""
    policy = made([[900] * 7], horizon=4)
    rungs = [policy._scenario.deployment(levels) for levels in LEVELS]
    decision = policy.decide(observe(policy._scenario, rungs[1], 210))
    assert decision.deployment == rungs[3] and "more than the budget carries" in decision.reason
    assert decision.details["overloads"] == 1
    assert policy.decide(observe(policy._scenario, rungs[3], 190)).deployment == rungs[0]  # the courses decide again


def test_missing_load_is_not_zero_and_the_first_decision_waits(made, resnet):
    policy = made([[40] * 7], horizon=4)
    start = slow(resnet, 100.0).initial_deployment
    assert policy.decide(observe(policy._scenario, start, NAN)).deployment == start
    assert decided(policy, 3)[0] == 0
    assert policy.decide(observe(policy._scenario, resnet.deployment(LEVELS[0]), NAN)).deployment.replicas


def test_wrong_settings_are_named():
    for name in ("count", "horizon"):
        with pytest.raises(ValueError, match=name):
            BandMPC(**{name: 0})


def test_returns_are_what_the_kernel_earns_at_that_load(resnet):
    """Training load of some mean earns what a steady load earns, less what its bursts cost."""
    returns = returns_of(resnet)
    assert returns_of(resnet) is returns
    for rung in (10, 20, 30, 40):
        rps = returns.loads_rps[np.searchsorted(returns.loads_rps, 0.5 * returns.ladder.loads_rps[rung]) - 1]
        load = {"classify": make_load(POISSON, np.array([rps]), 600.0)}
        policy = TwoTimeScales(Static(levels=list(returns.ladder.levels[rung])))
        rows = run_episode(resnet, policy, load, seed=1, intervals=12).intervals[4:]
        steady = (rows["accuracy"] - rows["violation_ratio"]).mean()
        assert steady - 0.08 < returns.at(np.array(rps))[rung] < steady + 0.01
    assert (np.diff(returns.at(np.geomspace(5, 600, 50)), axis=0) <= 1e-12).all()  # more load never earns more


def test_decisions_are_feasible_deterministic_and_forgotten_on_reset(resnet):
    policy, plans = MPC(), []
    for _ in range(2):
        policy.reset(resnet)
        deployment, rows = resnet.initial_deployment, []
        for t, rps in enumerate([NAN, 90, 180, 320, 500, 0, 40, NAN, 60, 5, 5]):
            deployment = policy.decide(observe(resnet, deployment, rps, t_s=30.0 * t)).deployment
            rows.append(deployment)
        plans.append(rows)
    assert plans[0] == plans[1] and plans[0][0] == resnet.initial_deployment and len(set(plans[0])) > 4
    assert all(0 < d.units("cpu") <= 20 for d in plans[0])


def test_where_loading_takes_long_it_earns_more_than_planning_for_now(resnet):
    scenario = slow(resnet, 120.0)
    rates = 90 * np.exp(np.cumsum(np.random.default_rng(4).normal(0, 0.15, 80)).clip(-1, 1))
    loads = {"classify": make_load(GAMMA, rates, 30.0, cv=1.2)}
    ahead, now = (run_episode(scenario, p, loads, seed=1, intervals=80).totals["reward"] for p in (MPC(), TwoTimeScales()))
    assert ahead > now + 0.02

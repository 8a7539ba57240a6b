"""The bound: no policy beats it, and its program is solved."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from baselines.band import OrderKeepBand
from baselines.bound import NoBoundError, _interval, bound, longest_stay_s
from baselines.bound_quotas import _interval as _quotas
from baselines.future import Future
from baselines.hold import HoldPlanner
from baselines.hpa import HPA
from baselines.infadapter import InfAdapter
from baselines.mpc import MPC
from baselines.quantile_planner import HeldQuantilePlanner
from baselines.two_time_scales import TwoTimeScales
from envs.contract import Decision, Policy
from envs.envelope import project
from envs.episode import run_episode
from envs.routes import deployment_of
from envs.scenario import InitialReplica, Service
from envs.scenario_file import load
from traces.samplers import GAMMA, make_load

ROUNDING = 1e-9
INTERVALS = 8
PLANNERS = [InfAdapter, TwoTimeScales, HoldPlanner, OrderKeepBand, HPA, HeldQuantilePlanner, MPC]


class Anything(Policy):
    """Deploys anything within the budget, nothing too, with any routes."""

    def __init__(self, seed, restless, routed=True):
        self.seed, self.restless, self.routed = seed, restless, routed

    def reset(self, scenario):
        self._scenario, self._rng, self._now = scenario, np.random.default_rng(self.seed), scenario.initial_deployment

    def decide(self, observation):
        if self._rng.random() < self.restless:
            highest = np.array([c.levels for c in self._scenario.candidates])
            levels = self._rng.integers(highest) * (self._rng.random(len(highest)) < self._rng.random())
            wanted, _ = project(self._scenario.deployment(levels), self._scenario)
            levels = np.array(self._scenario.levels(wanted))
            shares = self._rng.random(len(levels)) * (levels > 0) * (self._rng.random() < 0.7)
            routes = shares[None] / max(shares.sum(), 1e-300)
            self._now = deployment_of(self._scenario, levels, routes if self.routed else routes[:0])
        return Decision(self._now, "anything")


def loads_of(seed, mean_rps):
    rates = mean_rps * np.random.default_rng(seed).uniform(0, 2.5, 20)
    return {"classify": make_load(GAMMA, rates, 15.0, cv=1.5)}


EPISODES = {"seed": st.integers(0, 10_000), "mean_rps": st.floats(0.05, 500)}


def beaten_by(policy, scenario, seed, mean_rps):
    loads = loads_of(seed, mean_rps)
    found = bound(scenario, Future(loads, 0.0, seed, INTERVALS))
    return run_episode(scenario, policy, loads, seed=seed, intervals=INTERVALS).totals["reward"] - found.reward


@settings(max_examples=60)
@given(**EPISODES, restless=st.sampled_from([0.2, 1.0]))
def test_no_policy_of_any_kind_beats_it(resnet, seed, mean_rps, restless):
    assert beaten_by(Anything(seed, restless), resnet, seed, mean_rps) <= ROUNDING


@settings(max_examples=12)
@given(**EPISODES)
@pytest.mark.parametrize("make", PLANNERS)
def test_no_planner_beats_it(resnet, make, seed, mean_rps):
    assert beaten_by(make(), resnet, seed, mean_rps) <= ROUNDING


@settings(max_examples=25)
@given(**EPISODES, restless=st.sampled_from([0.2, 1.0]), load_s=st.sampled_from([20.0, 29.5, 45.0, 120.0]),
       spread=st.booleans())
def test_no_policy_of_any_kind_beats_it_whatever_the_load_time(resnet, seed, mean_rps, restless, load_s, spread):
    loads_s = {v: load_s / (1 + spread * i) for i, v in enumerate(resnet.variants)}
    slow = resnet.with_(variants={v: row.model_copy(update={"load_s": loads_s[v]}) for v, row in resnet.variants.items()})
    assert beaten_by(Anything(seed, restless), slow, seed, mean_rps) <= ROUNDING


@pytest.fixture(scope="module")
def two_services(resnet):
    """Two services that share ResNet50, with SLOs and loads of their own."""
    variants = {"see": ("resnet152", "resnet50"), "classify": ("resnet50", "resnet34", "resnet18")}
    services = {name: Service(variants=v, slo_s=0.75 if name == "see" else 0.5) for name, v in variants.items()}
    return resnet.with_(services=services, workload={name: resnet.workload["classify"] for name in variants})


@pytest.mark.slow  # another kernel to compile
@settings(max_examples=40)
@given(**EPISODES, restless=st.sampled_from([0.2, 1.0]))
def test_no_policy_beats_it_on_several_services(two_services, seed, mean_rps, restless):
    loads = {"see": loads_of(seed, mean_rps / 4)["classify"], **loads_of(seed + 1, mean_rps)}
    policy = Anything(seed, restless, routed=False)
    found = bound(two_services, Future(loads, 0.0, seed, INTERVALS)).reward
    assert run_episode(two_services, policy, loads, seed=seed, intervals=INTERVALS).totals["reward"] <= found + ROUNDING


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_its_program_is_solved_to_the_optimum(resnet, seed):
    rng = np.random.default_rng(seed)
    scenario = resnet.with_(weights={"accuracy": 1, "cost": float(rng.choice([0.0, 0.05, 2.0])), "slo": rng.random() * 3})
    n, m = int(rng.integers(1, 6)), int(rng.integers(1, 5000))
    accuracy, work_s, room_s = rng.random(n), rng.uniform(0.01, 0.4, n), rng.uniform(1, 700)
    a, x, c = _interval(scenario, accuracy, work_s, m, room_s)
    weights = scenario.weights
    gain = (weights.accuracy * accuracy + weights.slo) / m - weights.cost * work_s / 600
    found = linprog(-gain, A_ub=[np.ones(n), work_s], b_ub=[m, room_s])
    assert weights.accuracy * a - weights.slo * x - weights.cost * c == pytest.approx(-found.fun - weights.slo, abs=1e-9)


def test_without_scarcity_it_is_the_best_variant_paid_by_use(resnet):
    """One interval of m sure requests: all at the variant with the most accuracy - price of its work."""
    loads = {"classify": make_load(GAMMA, np.full(4, 50.0), 30.0, cv=1.0)}
    found = bound(resnet, Future(loads, 0.0, 1, 1))
    use = {v: resnet.profile.latency_s(v, resnet.kinds[0].shape, 1)[0] for v in resnet.variants}
    m = round(found.cost * 600 / use["resnet152"])
    assert 50 * 25 < m < 50 * 31
    best = max(resnet.variants[v].accuracy - 0.05 * m * use[v] / 600 for v in use)
    assert found.reward == pytest.approx(best) and found.violation == 0


def test_it_is_reached_where_nothing_is_scarce_and_cores_are_free(resnet):
    """So it is no looser than it must be: ResNet152 on all cores, at no price, answers all in time."""
    scenario = resnet.with_(weights={"accuracy": 1, "cost": 0, "slo": 1, "change": 0},
                            initial=(InitialReplica(candidate=4, level=19),))
    loads = loads_of(2, 20.0)
    earned = run_episode(scenario, Anything(0, 0.0), loads, seed=2, intervals=INTERVALS).totals["reward"]
    found = bound(scenario, Future(loads, 0.0, 2, INTERVALS)).reward
    assert found == pytest.approx(0.78312) and earned == pytest.approx(found, abs=1e-9)


def test_more_budget_and_a_lower_price_never_lower_it(resnet):
    future = Future(loads_of(3, 450.0), 0.0, 3, INTERVALS)
    wide = resnet.with_(devices={"cpu": resnet.devices["cpu"].model_copy(update={"budget": 40})},
                        weights=resnet.weights.model_copy(update={"cost": 0.0}))
    free = resnet.with_(weights=resnet.weights.model_copy(update={"cost": 0.0}))
    assert bound(resnet, future).reward < bound(free, future).reward < bound(wide, future).reward
    assert bound(resnet, future).violation > 0  # the load is beyond the budget


def test_requests_stay_no_longer_than_it_says(resnet):
    """A queue filled at once empties within the stay: the longest latency of a load far beyond what is deployed."""
    loads = {"classify": make_load(GAMMA, np.full(4, 900.0), 30.0, cv=1.0)}
    keep = Anything(0, 0.0)
    episode = run_episode(resnet, keep, loads, seed=0, intervals=3)
    assert 1.0 < episode.totals["p99_s"] <= longest_stay_s(resnet)


@pytest.fixture(scope="module")
def tenants():
    return load("tenants")


def floods(seed, mean_rps):
    """Loads of the three tenants, the last one above its quota of 100 req/s at most times."""
    means = {"gold": mean_rps, "silver": mean_rps / 2, "flood": 2 * mean_rps}
    return {name: make_load(GAMMA, rps * np.random.default_rng(seed + i).uniform(0, 2.5, 16), 5.0, cv=1.5)
            for i, (name, rps) in enumerate(means.items())}


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), mean_rps=st.floats(0.1, 200), restless=st.sampled_from([0.0, 0.2, 1.0]))
def test_no_policy_beats_it_under_quotas(tenants, seed, mean_rps, restless):
    loads = floods(seed, mean_rps)
    found = bound(tenants, Future(loads, 0.0, seed, INTERVALS)).reward
    played = run_episode(tenants, Anything(seed, restless, routed=False), loads, seed=seed, intervals=INTERVALS)
    assert played.totals["reward"] <= found + ROUNDING


def test_under_quotas_it_knows_what_is_rejected_and_is_near_what_can_be_earned(tenants):
    """Two replicas of heavy carry all that is let in; what the bound has over them is mostly that they are held while idle."""
    means = {"gold": 60, "silver": 60, "flood": 400}
    loads = {name: make_load(GAMMA, np.full(8, rps), 10.0, cv=1.0) for name, rps in means.items()}
    totals = run_episode(tenants, Anything(0, 0.0), loads, seed=1, intervals=INTERVALS).totals
    found = bound(tenants, Future(loads, 0.0, 1, INTERVALS))
    assert found.violation == pytest.approx(totals["violation_ratio"], abs=5e-3)
    assert 0 < found.reward - totals["reward"] < 0.02 and found.accuracy == pytest.approx(totals["accuracy"], abs=5e-3)


@settings(max_examples=40)
@given(rejected=st.integers(0, 400), most=st.integers(0, 800), cost=st.sampled_from([0.0, 0.05, 5.0, 100.0]))
def test_under_quotas_its_program_is_solved_to_the_optimum(tenants, rejected, most, cost):
    scenario = tenants.with_(weights=tenants.weights.model_copy(update={"cost": cost}))
    good = np.linspace(0, most, 2001)[1 - bool(rejected):]  # without rejections the fewest answers are best: nearly none
    best = -scenario.weights.slo if rejected else 0.0
    for name in ("light", "heavy"):
        work = min(scenario.profile.latency_s(name, k.shape, n)[0] / n for k in scenario.kinds if name in k.variants
                   for n in range(1, 9)) / (4 * scenario.interval_s)
        if most:
            share = good / (good + rejected)
            best = max(best, float((scenario.variants[name].accuracy * share - (1 - share) - cost * work * good).max()))
    assert best - ROUNDING <= _quotas(scenario, rejected, most)[0] <= best + 0.05


@pytest.mark.parametrize("name", ["cascade", "video"])
def test_a_scenario_without_a_bound_says_why(name):
    with pytest.raises(NoBoundError, match="no bound is known"):
        bound(load(name), Future({}, 0.0, 0, 1))

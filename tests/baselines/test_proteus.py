"""Proteus: its program against all plans, the ratio of the demand, batches, decisions."""

import itertools
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from observed import NAN, counted, missing, observe
from scipy.optimize import linprog

from baselines.accuracy_scaling import TIE, LoneService
from baselines.proteus import FastProteus, Proteus, tables
from baselines.proteus_milp import Problem, most_carried, solve
from envs import scenario_file

LIMIT_S = 10.0


def drawn(seed):
    """A random problem of two candidates of one kind and one of two sizes, on two device types, for one or two services."""
    rng = np.random.default_rng(seed)
    services = 1 + seed % 2
    throughput_rps = rng.uniform(5, 40, (services, 4)).round(1)
    if services == 2:
        throughput_rps[1, 0] = 0.0
    cost = rng.uniform(0.02, 0.2, 4)
    units = np.array([[1, 0], [2, 0], [0, 1], [0, 3]])
    return Problem(throughput_rps, rng.uniform(0.5, 1, (services, 4)).round(3), units, cost, np.array([0, 1, 2, 2]),
                   np.array([3, 2, 1]), np.array([5, 3]))


def quotas_of(problem, demand_rps, ratio, replicas):
    """The best quotas on given replicas, a linear program; None where they do not carry the load."""
    services, kinds = problem.throughput_rps.shape
    served = (problem.throughput_rps > 0).ravel()
    share = np.where(served, 1 / np.maximum(problem.throughput_rps, 1e-9).ravel(), 0.0)
    used = np.array([share * np.tile(np.arange(kinds) == o, services) for o in range(kinds)])
    each = np.kron(np.eye(services), np.ones(kinds))
    found = linprog(-problem.accuracy.ravel() / demand_rps.sum(), used, replicas, each, ratio * demand_rps,
                    [(0, None if s else 0) for s in served])
    return -found.fun if found.status == 0 else None


def all_plans(problem):
    ranges = [range(problem.most[c] + 1) for c in problem.candidate]
    for replicas in itertools.product(*ranges):
        n = np.array(replicas)
        if (np.bincount(problem.candidate, n) <= problem.most).all() and (n @ problem.units <= problem.budget).all():
            yield n


@pytest.mark.parametrize("seed", range(6))
def test_no_plan_is_more_accurate(seed):
    problem = drawn(seed)
    demand_rps = np.random.default_rng(100 + seed).uniform(10, 45, len(problem.throughput_rps))
    ratio = 1.05
    values = [(quotas_of(problem, demand_rps, ratio, n), n) for n in all_plans(problem)]
    best = max((value - TIE * float(n @ problem.cost) for value, n in values if value is not None), default=None)
    plan = solve(problem, demand_rps, ratio, LIMIT_S)
    assert (plan is None) == (best is None)
    if plan is not None:
        mine = (plan.quotas_rps * problem.accuracy).sum() / demand_rps.sum() - TIE * float(plan.replicas @ problem.cost)
        assert mine == pytest.approx(best, abs=1e-6) and plan.proven
        assert plan.quotas_rps.sum(1) == pytest.approx(ratio * demand_rps)


@pytest.mark.parametrize("seed", [0, 1])
def test_no_plan_carries_more(seed):
    """The greatest ratio, by bisection over all plans."""
    problem, rng = drawn(seed), np.random.default_rng(seed)
    demand_rps = rng.uniform(60, 90, len(problem.throughput_rps))
    found = most_carried(problem, demand_rps, 2.0, LIMIT_S).ratio
    for ratio, carried in ((found * 0.999, True), (found * 1.001, False)):
        assert any(quotas_of(problem, demand_rps, ratio, n) is not None for n in all_plans(problem)) == carried


@pytest.mark.parametrize("seed", range(4))
def test_more_budget_and_less_load_never_lower_the_objective(seed):
    problem, demand_rps = drawn(seed), np.full(1 + seed % 2, 20.0)

    def value(more, factor):
        plan = solve(replace(problem, budget=problem.budget + more), factor * demand_rps, 1.0, LIMIT_S)
        if plan is None:
            return -np.inf
        mean = (plan.quotas_rps * problem.accuracy).sum() / (factor * demand_rps).sum()
        return mean - TIE * float(plan.replicas @ problem.cost)

    values = [value(more, 1.0) for more in (0, 1, 3)] + [value(3, factor) for factor in (0.7, 0.3)]
    assert all(later >= earlier - 1e-6 for earlier, later in pairwise(values)) and values[-1] > -np.inf


def planned(policy, scenario, rps):
    policy.reset(scenario)
    policy.decide(missing(scenario))
    return policy.decide(observe(scenario, scenario.initial_deployment, rps))


@pytest.mark.parametrize(("rps", "ratio"), [(100, 1.05), (480, 0.9), (1000, 0.4), (4000, 0.108)])
def test_less_of_the_demand_is_carried_in_steps_down_to_a_floor(rps, ratio):
    """`counted` carries 10 x 40 + 4 x 8 = 432 req/s: 0.9, 0.432 and 0.108 of the loads."""
    scenario = counted()
    policy = Proteus(forecast="last", capacity_ratio=1.0)
    decision = planned(policy, scenario, rps)
    assert policy.plan(np.array([float(rps)]))[1] == pytest.approx(ratio)
    assert (f"planned for {100 * ratio:.0f} %" in decision.reason) == (ratio < 1)
    assert decision.details["overloads"] == (ratio < 1)


def test_accuracy_falls_with_the_load_and_rises_with_the_budget():
    """Mean accuracy by the greedy rule: heavy (0.9) carries up to 4 x 8 req/s, light (0.6) the rest."""
    scenario = counted()
    for rps in (10, 32, 64, 200):
        decision = planned(Proteus(forecast="last", capacity_ratio=1.0, ratio=1.0), scenario, rps)
        shares = decision.deployment.routes["see"]
        assert sum(q for (_, v), q in shares.items() if v == "heavy") == pytest.approx(min(1, 32 / rps))
        assert sum(n for k, n in decision.deployment.replicas.items() if k.variants == ("heavy",)) == min(4, -(-rps // 8))


def test_the_largest_batch_within_half_of_the_slo():
    video = scenario_file.load("video")
    kinds, variants, problem = tables(video, 0.8)
    chosen = {kind.variants[0]: kind for kind in kinds}
    assert len(chosen) == len(kinds) == 10 and {k.batch for k in kinds} == {8}  # all batches of 8 take less than 3.4 s
    hurried = video.with_(services={n: s.model_copy(update={"slo_s": 1.0}) for n, s in video.services.items()})
    fast = {kind.variants[0]: kind.batch for kind in tables(hurried, 0.8)[0]}
    assert fast["yolov5n"] == 4 and fast["resnet18"] == 8 and fast["resnet50"] == 4  # 0.25 s, 0.4 s; 0.736 s is too long
    assert [row.count("") for row in variants] == [5, 5] and problem.throughput_rps[0, variants[1].index("resnet18")] == 0


def test_a_service_that_no_batch_answers_in_time_is_told():
    slow = counted().with_(services={"see": counted().services["see"].model_copy(update={"slo_s": 0.04})})
    with pytest.raises(ValueError, match="'see': no candidate works a batch off"):
        Proteus().reset(slow)


def test_services_are_planned_together():
    scenario = counted(services=("see", "hear"))
    decision = planned(Proteus(forecast="last", capacity_ratio=1.0, ratio=1.0), scenario, {"see": 300.0, "hear": 40.0})
    held = {k.variants[0]: n for k, n in decision.deployment.replicas.items()}
    assert held == {"heavy": 4, "light": 7, "hum": 3}  # 32 + 280 and 48 req/s on 10 of 12 cores
    assert set(decision.deployment.routes) == {"see", "hear"}


def test_a_missing_load_is_not_zero_and_routes_follow_what_is_ready():
    scenario = counted()
    policy = FastProteus()
    first = planned(policy, scenario, 150.0)
    assert policy.decide(observe(scenario, first.deployment, NAN)).deployment.replicas == first.deployment.replicas
    assert "routes over what is ready" in policy.decide(observe(scenario, first.deployment, 20.0)).reason


@pytest.mark.parametrize("rps", [20, 90, 150, 200, 260, 330])
def test_a_lone_service_has_the_same_plan_by_either_solver(resnet, rps):
    kinds, _, problem = tables(resnet, 1.0)
    plan = solve(problem, np.array([float(rps)]), 1.0, LIMIT_S)
    theirs = (plan.quotas_rps * problem.accuracy).sum() / rps - TIE * float(plan.replicas @ problem.cost)
    assert LoneService(resnet, "classify", 1.0, set(kinds).__contains__).plan(rps).objective == pytest.approx(theirs, abs=1e-6)

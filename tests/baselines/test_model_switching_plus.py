"""Model-Switching+: one variant at a time, against exhaustive search over single variants."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from observed import observe, only, pod
from published import PREVIOUS, choices
from test_infadapter_ilp import problems

from baselines.forecasters import LastValue
from baselines.infadapter_ilp import objective, solve
from baselines.model_switching_plus import ModelSwitchingPlus, best_single


def exhaustive(problem, load, previous):
    """Each variant alone, on the fewest units that carry the load."""
    best = -math.inf
    for m, rows in enumerate(problem.units):
        carries = [(units, n) for n, units in enumerate(rows)
                   if 0 < units <= problem.budget[problem.device[m]] and problem.capacity_rps[m, n] >= load]
        if carries:
            levels = [min(carries)[1] if i == m else 0 for i in range(len(problem.accuracy))]
            best = max(best, objective(problem, load, previous, levels))
    return best


@settings(max_examples=200)
@given(problems())
def test_the_best_single_variant_is_that_of_exhaustive_search(case):
    problem, load, previous = case
    plan, best = best_single(problem, load, previous), exhaustive(*case)
    assert plan.feasible == math.isfinite(best)
    assert sum(level > 0 for level in plan.levels) <= 1
    held = [sum(problem.units[m, n] for m, n in enumerate(plan.levels) if n and problem.device[m] == d)
            for d in range(problem.budget.size)]
    assert all(h <= b for h, b in zip(held, problem.budget))
    if plan.feasible:
        assert plan.objective == pytest.approx(best, abs=1e-10)
        assert plan.objective <= solve(problem, load, previous).objective + 1e-10


def test_a_load_beyond_every_variant_gets_the_one_that_carries_most():
    plan = best_single(choices(), 390, PREVIOUS)
    assert (plan.levels, plan.feasible) == ((20, 0, 0, 0, 0), False)
    assert plan.quotas_rps == (386, 0, 0, 0, 0)


def test_equal_objectives_go_to_the_more_accurate_variant():
    problem = choices(w_cost=0, w_change=0)
    twins = np.array([0.5, 0.5, 0.5, 0.5, 0.5])
    plan = best_single(type(problem)(**{**vars(problem), "accuracy": twins}), 10, PREVIOUS)
    assert plan.levels == (2, 0, 0, 0, 0)


@pytest.mark.parametrize(("load", "config"), [(100, ("resnet50", 13)), (175, ("resnet34", 17)), (250, ("resnet18", 14))])
def test_published_choices_through_the_policy(resnet, load, config):
    policy = ModelSwitchingPlus(forecast=LastValue(1.0), capacity="regressed")
    policy.reset(resnet)
    decision = policy.decide(observe(resnet, only(pod("resnet152", 20)), float(load)))
    assert decision.deployment.replicas == {pod(*config): 1}

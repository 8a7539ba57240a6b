"""IPA's program: exhaustive search, HiGHS, and what must hold of any exact solver."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.ipa_knapsack import Options, feasible, objective, solve
from baselines.ipa_milp import solve_milp


@st.composite
def programs(draw, product=None):
    """Up to 4 stages, with 16 more options than stages at most, on up to 2 device types; SLO and budgets may bind."""
    stages, devices = draw(st.integers(1, 4)), draw(st.integers(1, 2))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    stage = np.sort(np.concatenate([np.arange(stages), rng.integers(0, stages, draw(st.integers(0, 4 * stages)))]))
    n = len(stage)
    units = rng.integers(0, 9, (n, devices))
    slo_s = draw(st.floats(0.2, 1.2)) * stages
    budget = rng.integers(1, 9 * stages + 1, devices)
    multiplied = draw(st.booleans()) if product is None else product
    # Coarse numbers make ties.
    penalty = 0.02 * units.sum(1) + rng.integers(0, 4, n) / 50
    weight = draw(st.sampled_from([0.0, 1.0, 10.0]))
    return Options(stage, rng.integers(0, 11, n) / 10, penalty, rng.integers(1, 21, n) / 20, units, stages, slo_s, budget,
                   weight, multiplied)


def plans(options):
    """All feasible plans."""
    stages = [np.flatnonzero(options.stage == s) for s in range(options.stages)]
    return [chosen for chosen in itertools.product(*stages) if feasible(options, chosen)]


def value(plan):
    return -np.inf if plan is None else plan.objective


@settings(max_examples=120)
@given(programs())
def test_exhaustive_search_agrees(options):
    found, all_plans = solve(options), plans(options)
    assert (found is None) == (not all_plans)
    if found is not None:
        assert found.proven and feasible(options, found.options)
        assert found.objective == pytest.approx(max(objective(options, chosen) for chosen in all_plans), abs=1e-11)
        assert found.objective == objective(options, found.options)
        assert list(options.stage[list(found.options)]) == list(range(options.stages))


@settings(max_examples=40)
@given(programs(product=False))
def test_milp_agrees(options):
    assert value(solve(options)) == pytest.approx(value(solve_milp(options, 60.0)), abs=1e-7)


def large(seed, product):
    """5 stages x 10 variants x 4 batches with an SLO that binds."""
    rng = np.random.default_rng(seed)
    stage, variant, batch = (a.ravel() for a in np.meshgrid(np.arange(5), np.arange(10), 2.0 ** np.arange(4), indexing="ij"))
    latency_s = 0.05 * (1 + variant) ** rng.uniform(0.8, 1.3, stage.size) * (0.3 + 0.7 * batch)
    n = np.ceil(20 / (batch / latency_s))
    score = 0.5 + 0.05 * variant * rng.uniform(0.5, 1, stage.size)
    slo_s = float(rng.uniform(1, 5))
    return Options(stage, score, 0.003 * n, latency_s + (batch - 1) / 20, n[:, None], 5, slo_s, np.array([60.0]), 1.0, product)


@pytest.mark.parametrize("seed", range(5))
def test_milp_agrees_on_five_stages_of_ten_variants(seed):
    options = large(seed, product=False)
    assert value(solve(options)) == pytest.approx(value(solve_milp(options, 20.0)), abs=1e-7)


@settings(max_examples=100)
@given(programs(), st.integers(1, 30))
def test_more_budget_or_time_never_lowers_the_objective(options, more):
    before = value(solve(options))
    assert value(solve(replace(options, budget=options.budget + more))) >= before - 1e-12
    assert value(solve(replace(options, slo_s=options.slo_s * (1 + more / 10)))) >= before - 1e-12


@settings(max_examples=100)
@given(programs(), st.sampled_from([1e-3, 60.0, 1024.0]))
def test_changing_units_changes_nothing(options, factor):
    """Milliseconds or minutes for seconds, and thousandths of cores for cores."""
    scaled = replace(options, latency_s=factor * options.latency_s, slo_s=factor * options.slo_s, units=1000 * options.units,
                     budget=1000 * options.budget)
    assert value(solve(scaled)) == pytest.approx(value(solve(options)), abs=1e-11)


def test_a_product_and_a_sum_choose_differently():
    """0.9 + 0.1 = 0.5 + 0.5, but 0.9 x 0.1 < 0.5 x 0.5; the SLO lets one stage be slow, or both half so."""
    options = Options(np.array([0, 0, 0, 1, 1, 1]), np.array([0.1, 0.5, 0.95] * 2), np.zeros(6), np.array([0.0, 1.0, 2.0] * 2),
                      np.ones((6, 1)), 2, 2.0, np.array([9]), 1.0, False)
    assert solve(options).objective == pytest.approx(1.05)
    assert solve(replace(options, product=True)).options == (1, 4)


def test_an_empty_stage_has_no_plan():
    options = Options(np.array([0, 2]), np.ones(2), np.zeros(2), np.zeros(2), np.ones((2, 1)), 3, 1.0, np.array([9]))
    assert solve(options) is None


def test_too_few_labels_are_told():
    options = large(0, product=True)
    cut = solve(options, most_labels=1)
    assert not cut.proven and feasible(options, cut.options)
    assert cut.objective <= solve(options).objective


def test_a_product_is_not_for_the_milp():
    with pytest.raises(ValueError, match="not linear"):
        solve_milp(large(0, product=True))

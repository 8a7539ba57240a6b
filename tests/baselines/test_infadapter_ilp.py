"""InfAdapter's program: the published decisions, HiGHS, and exhaustive search."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published import ACCURACY, CORES, LOAD_S, PREVIOUS, VARIANTS, capacity_rps, choices

from baselines.infadapter_ilp import Choices, most_capacity, objective, quotas, solve
from baselines.infadapter_milp import solve_compact, solve_milp
from benchmarks.planners import large

PATIENCE_S = 60.0  # for HiGHS, which the clock may end
SHORT = {name.removeprefix("resnet"): m for m, name in enumerate(VARIANTS)}


def levels_of(text):
    levels = [0] * len(VARIANTS)
    for part in text.split("+"):
        variant, cores = part.split(":")
        levels[SHORT[variant]] = int(cores)
    return tuple(levels)


def test_capacities_of_eight_cores():
    assert [capacity_rps(m, 8) for m in range(5)] == [151, 82, 63, 32, 22]


@pytest.mark.parametrize(
    ("load", "config", "best"),
    [
        (5, "152:3", 0.774620), (20, "152:8", 0.762120), (30, "152:11", 0.754620), (43, "50:6", 0.745500),
        (75, "50:10", 0.735500), (100, "50:13", 0.728000), (150, "50:19", 0.713000), (175, "18:2+50:18", 0.699940),
        (200, "18:4+50:16", 0.687879), (250, "18:8+34:2+50:10", 0.670015), (300, "18:13+50:7", 0.658462),
        (350, "18:17+34:3", 0.649831), (380, "18:20", 0.646824),
    ],
)
def test_published_decisions(load, config, best):
    """Exact decisions for 20 cores, weights 0.05 and 0.001, SLO 750 ms, before: resnet152 on 20 cores."""
    plan = solve(choices(), load, PREVIOUS)
    assert plan.levels == levels_of(config)
    assert plan.objective == pytest.approx(best, abs=1e-6)
    assert plan.feasible and plan.proven
    assert sum(plan.quotas_rps) == pytest.approx(load)


def model_switching_plus(problem, load):
    """MS+: each variant alone, on the fewest cores (2 or more) that carry the load, scored by the same objective."""
    scores = []
    for m in range(len(VARIANTS)):
        cores = next((n for n in range(2, CORES + 1) if capacity_rps(m, n) >= load), None)
        if cores:
            scores.append(objective(problem, load, PREVIOUS, [cores if i == m else 0 for i in range(len(VARIANTS))]))
    return max(scores)


LOADS = (43, 54, 75, 100, 130, 150, 175, 200, 250, 300, 350)


@pytest.mark.parametrize(
    ("w_cost", "variants", "gains"),
    [
        (0.001, (1, 1, 3, 2, 2, 2, 2, 2, 3, 2, 2), (8, 10, 13, 66, 24, 5, 174, 55, 229, 114, 30)),
        (0.0125, (1, 1, 3, 2, 2, 1, 2, 2, 3, 2, 2), (0, 4, 8, 26, 7, 0, 157, 55, 194, 91, 24)),
        (0.05, (1, 1, 1, 1, 1, 1, 2, 2, 3, 2, 2), (0, 0, 0, 0, 0, 0, 101, 55, 82, 16, 5)),
        (0.2, (1, 1, 2, 2, 1, 1, 1, 1, 1, 1, 1), (0, 0, 25, 6, 0, 0, 0, 0, 0, 0, 0)),
    ],
)
def test_gain_of_sets_over_one_variant(w_cost, variants, gains):
    """Published to four decimals: how much the best set beats the best single variant (MS+), and how many variants it has."""
    problem = choices(w_cost)
    for load, count, gain in zip(LOADS, variants, gains):
        plan = solve(problem, load, PREVIOUS)
        assert sum(level > 0 for level in plan.levels) == count, load
        assert plan.objective - model_switching_plus(problem, load) == pytest.approx(gain / 1e4, abs=6e-5), load


def test_a_load_beyond_all_capacity_gets_the_smallest_variant_on_all_cores():
    plan = solve(choices(), 390, PREVIOUS)
    assert (plan.levels, plan.feasible, plan.proven) == ((20, 0, 0, 0, 0), False, True)
    assert math.isnan(plan.objective)
    assert plan.quotas_rps == (386, 0, 0, 0, 0)
    milp = solve_milp(choices(), 390, PREVIOUS, PATIENCE_S)
    assert (milp.levels, milp.feasible, milp.proven) == (plan.levels, False, True)


def test_most_capacity_goes_on_with_what_is_left():
    problem = Choices(np.array([0.9, 0.5]), np.ones(2), np.array([[0, 1, 2], [0, 2, 4]]),
                      np.array([[0.0, 5, 10], [0, 40, 80]]), np.zeros((2, 3)), np.zeros(2, dtype=np.int64), np.array([5]))
    assert most_capacity(problem).tolist() == [1, 2]


def test_switching_off_is_free_and_a_resize_is_a_load():
    problem = choices()
    one = LOAD_S[2] / max(LOAD_S) * 0.001
    alone = objective(problem, 50, (0, 0, 12, 0, 0), (0, 0, 12, 0, 0))
    assert alone == pytest.approx(ACCURACY[2] - 0.05 * 12 / 20)
    assert objective(problem, 50, (5, 0, 12, 0, 0), (0, 0, 12, 0, 0)) == alone
    assert objective(problem, 50, (0, 0, 11, 0, 0), (0, 0, 12, 0, 0)) == pytest.approx(alone - one)


@given(st.floats(0.1, 500), st.lists(st.tuples(st.floats(0, 1), st.floats(0, 200)), min_size=1, max_size=6))
def test_quotas_serve_the_most_accurate_first(load, rows):
    accuracy, capacity = zip(*rows)
    shares = quotas(load, accuracy, capacity)
    assert sum(shares) == pytest.approx(min(load, sum(capacity)))
    for i, j in itertools.permutations(range(len(rows)), 2):
        if accuracy[i] > accuracy[j] and shares[j] > 0:
            assert shares[i] == capacity[i]


@st.composite
def problems(draw):
    """Small problems of every sort: any capacities (also falling ones), levels that are missing, one or two device types."""
    variants, levels, devices = draw(st.integers(1, 4)), draw(st.integers(2, 5)), draw(st.integers(1, 2))

    def table(numbers):
        return np.array([[0, *draw(st.lists(numbers, min_size=levels - 1, max_size=levels - 1))] for _ in range(variants)])

    units = table(st.integers(1, 5) | st.just(-1))
    budget = np.array([draw(st.integers(1, 9)) for _ in range(devices)])

    def column(numbers):
        return np.array(draw(st.lists(numbers, min_size=variants, max_size=variants)))

    problem = Choices(column(st.sampled_from([0.3, 0.5, 0.55, 0.9])), column(st.sampled_from([0.1, 0.5, 1.0])), units,
                      table(st.integers(0, 40)).astype(float), np.maximum(units, 0) / budget.sum(),
                      column(st.integers(0, devices - 1)), budget, 1.0, draw(st.sampled_from([0, 0.01, 0.3])),
                      draw(st.sampled_from([0, 0.01, 0.2])))
    previous = draw(st.lists(st.integers(-1, levels - 1), min_size=variants, max_size=variants))
    return problem, draw(st.sampled_from([0.5, 7.0, 20.0, 60.0])), previous


def exhaustive(problem, load, previous):
    best = -math.inf
    for levels in itertools.product(range(problem.units.shape[1]), repeat=len(problem.accuracy)):
        picked = [(problem.device[m], problem.units[m, n]) for m, n in enumerate(levels)]
        if any(u < 0 for _, u in picked) or any(sum(u for e, u in picked if e == d) > b for d, b in enumerate(problem.budget)):
            continue
        value = objective(problem, load, previous, levels)
        best = best if math.isnan(value) else max(best, value)
    return best


@settings(max_examples=300)
@given(problems())
def test_the_search_is_exhaustive_search(case):
    problem, load, previous = case
    plan, best = solve(problem, load, previous), exhaustive(*case)
    assert plan.feasible == math.isfinite(best)
    if plan.feasible:
        assert plan.objective == pytest.approx(best, abs=1e-10)
    held = [sum(problem.units[m, n] for m, n in enumerate(plan.levels) if problem.device[m] == d)
            for d in range(problem.budget.size)]
    assert all(h <= b for h, b in zip(held, problem.budget))


@settings(max_examples=40)
@given(problems())
def test_highs_agrees(case):
    problem, load, previous = case
    plan, other = solve(problem, load, previous), solve_milp(problem, load, previous, PATIENCE_S)
    assert other.proven and plan.feasible == other.feasible
    if plan.feasible:
        assert plan.objective == pytest.approx(other.objective, abs=1e-6)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.floats(0.05, 0.95))
def test_the_compact_model_agrees_on_lines(seed, ratio):
    """Capacities on lines, not rounded: the compact form then says the same as the table."""
    rng = np.random.default_rng(seed)
    slope, intercept = rng.uniform(2, 25, 4), -rng.uniform(0, 3, 4)
    units = np.tile(np.arange(25), (4, 1))
    units[:, 1] = -1
    capacity = np.maximum(slope[:, None] * units + intercept[:, None], 0) * (units > 0)
    problem = Choices(rng.uniform(0.5, 0.9, 4), rng.uniform(0.3, 1, 4), units, capacity, np.maximum(units, 0) / 24,
                      np.zeros(4, dtype=np.int64), np.array([24]), 1.0, 0.05, 0.01)
    load, previous = ratio * capacity.max(), np.where(rng.random(4) < 0.5, rng.integers(2, 24, 4), 0)
    plan, other = solve(problem, load, previous), solve_compact(problem, slope, intercept, load, previous, gap=0)
    assert plan.proven and other.proven
    assert plan.objective == pytest.approx(other.objective, abs=1e-6)


@settings(max_examples=100)
@given(problems(), st.sampled_from([1e-3, 60.0, 1e6]))
def test_the_unit_of_load_changes_nothing(case, unit):
    problem, load, previous = case
    scaled = replace(problem, capacity_rps=problem.capacity_rps * unit)
    plan, other = solve(problem, load, previous), solve(scaled, load * unit, previous)
    assert (plan.feasible, plan.levels) == (other.feasible, other.levels)
    assert plan.objective == pytest.approx(other.objective, abs=1e-9, nan_ok=True)


@settings(max_examples=100)
@given(problems(), st.integers(1, 4))
def test_more_budget_never_lowers_the_objective(case, more):
    problem, load, previous = case
    plan, richer = solve(problem, load, previous), solve(replace(problem, budget=problem.budget + more), load, previous)
    assert richer.feasible or not plan.feasible
    if plan.feasible:
        assert richer.objective >= plan.objective - 1e-12


@pytest.mark.parametrize("load", [17, 61, 93, 140, 166, 222, 333, 371])
def test_highs_agrees_on_the_published_problem(load):
    for previous in (PREVIOUS, (0, 0, 12, 0, 0), (3, 0, 11, 0, 0)):
        plan, other = solve(choices(), load, previous), solve_milp(choices(), load, previous, PATIENCE_S)
        assert plan.objective == pytest.approx(other.objective, abs=1e-6)


def test_a_search_cut_short_keeps_the_best_plan_found_unproven():
    plan = solve(choices(), 250, PREVIOUS, most_nodes=1)
    assert plan.feasible and not plan.proven
    assert 0.66 < plan.objective <= 0.670015 + 1e-6  # the best pair of variants at least


def test_ties_are_broken_the_same_way_each_time():
    twin = Choices(np.array([0.5, 0.5]), np.ones(2), np.array([[0, 1], [0, 1]]), np.array([[0.0, 9], [0, 9]]),
                   np.zeros((2, 2)), np.zeros(2, dtype=np.int64), np.array([2]), 1.0, 0.05, 0.001)
    assert {solve(twin, 5.0, (0, 0)).levels for _ in range(3)} == {(1, 0)}


def test_no_load_is_refused():
    with pytest.raises(ValueError, match="above 0"):
        solve(choices(), 0.0, PREVIOUS)


@pytest.mark.parametrize("ratio", [0.05, 0.4, 0.8])
def test_twenty_variants_on_512_cores_are_proven_and_highs_finds_nothing_better(ratio):
    problem, slope, intercept = large(0)
    load = ratio * problem.capacity_rps[:, -1].max()
    plan = solve(problem, load, (0,) * 20)
    assert plan.proven and sum(plan.quotas_rps) == pytest.approx(load)
    other = solve_compact(problem, slope, intercept, load, (0,) * 20)
    assert math.isnan(other.objective) or plan.objective >= other.objective - 1e-12

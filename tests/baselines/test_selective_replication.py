"""Selective Replication against its published figures, and its integer program against enumeration."""

from itertools import combinations, product

import numpy as np
import pytest
from placed import (
    SINGLE,
    TABLE_2,
    TABLE_2_REPLICATION,
    TABLE_2_SLO_SCALES,
    small,
    table_2,
)

from baselines.alpaserve_published import MIXED, Traffic, attainment, problem
from baselines.placement import check
from baselines.placement_replay import Replay
from baselines.selective_replication import replicate, replicate_by_search, replicate_uniformly, single_devices
from baselines.selective_replication_ilp import SUM_WEIGHT, replicate_by_ilp, tolerances


@pytest.fixture(scope="module")
def training():
    return TABLE_2.training()


@pytest.mark.parametrize(("slo_scale", "published"), list(zip(TABLE_2_SLO_SCALES, TABLE_2_REPLICATION)))
def test_planned_by_us_it_reaches_the_published_attainment(slo_scale, published, training):
    """Planned on other requests than it is scored on, as published; nothing recorded is read."""
    case, requests = table_2(slo_scale), TABLE_2.test()
    placement = replicate(Replay(case, training))
    check(case, placement)
    latency_s = Replay(case, requests).play(placement).latency_s
    assert attainment(requests, latency_s) == pytest.approx(published, abs=0.003)


@pytest.mark.parametrize(("devices", "cv", "recorded"), [(24, 4.0, 0.583), (32, 1.5, 0.941), (32, 2.0, 0.907)])
def test_mixed_models_planned_on_the_very_requests_attain_what_is_recorded(devices, cv, recorded):
    """60 models of six sizes, 64 req/s, SLO 5, to three decimals; CV 1.5 needs equals in the published order."""
    traffic = Traffic(60, 64.0, cv)
    replay = Replay(problem(MIXED * 10, devices, 5), traffic.test())
    placement = replicate(replay)
    check(replay.problem, placement)
    assert attainment(replay.requests, replay.play(placement).latency_s) == pytest.approx(recorded, abs=0.0006)


def test_uniform_is_a_ring():
    problem = table_2(5)
    placement = replicate_uniformly(problem)
    check(problem, placement)
    assert sorted(group.models for group in placement) == [(i, i + 1) for i in range(16)]
    few, _ = small(np.random.default_rng(0), models=2, devices=3, copies=9.0)
    assert [group.models for group in replicate_uniformly(few)] == [(0, 1)] * 3


@pytest.mark.parametrize("seed", range(5))
def test_search_is_at_least_greedy_on_what_it_plans_on(seed):
    problem, requests = small(np.random.default_rng(seed), models=4, devices=3, copies=1.7)
    replay = Replay(problem, requests)
    searched, grown = replicate_by_search(replay), replicate(replay)
    check(problem, searched)
    check(problem, grown)
    assert replay.play(searched).score >= replay.play(grown).score - 1e-12


@pytest.mark.parametrize("seed", range(4))
def test_the_integer_program_finds_the_best_of_all_copies(seed):
    problem, requests = small(np.random.default_rng(seed), models=3, devices=3, copies=1.7)
    rate_rps = np.bincount(requests.model, minlength=3) / 60.0
    placement = replicate_by_ilp(problem, rate_rps)
    check(problem, placement)

    def gain(copies):
        tolerance = tolerances(problem, rate_rps, np.array(copies), SINGLE)
        return tolerance.min() + SUM_WEIGHT * tolerance.sum()

    weights = [model.weight_bytes[SINGLE] for model in problem.models]
    sets = [held for n in range(4) for held in combinations(range(3), n)
            if sum(weights[m] for m in held) <= problem.memory_bytes]
    best = max(gain([sum(m in held for held in chosen) for m in range(3)]) for chosen in product(sets, repeat=3))
    assert gain([sum(m in group.models for group in placement) for m in range(3)]) == pytest.approx(best, rel=1e-5)


def test_what_cannot_be_replicated_is_told():
    problem, _ = small(np.random.default_rng(0))
    with pytest.raises(ValueError, match="a rate above 0"):
        replicate_by_ilp(problem, np.array([1.0, 0.0, 1.0]))
    large = type(problem)(tuple(type(m)(m.name, m.slo_s, {s: x for s, x in m.latency_s.items() if s != SINGLE}, m.weight_bytes)
                                for m in problem.models), 2, 1.0)
    with pytest.raises(ValueError, match="use pipelines"):
        single_devices(large)

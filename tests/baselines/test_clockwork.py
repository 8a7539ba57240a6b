"""Clockwork++: windows of its own future, changed for free as published, or at the price of loading."""

from itertools import permutations

import numpy as np
import pytest
from placed import SINGLE, TABLE_2, small, table_2

from baselines.alpaserve_published import attainment
from baselines.clockwork import loading, nearest, plan, play
from baselines.placement import Group, PlacedModel, PlacementProblem, check
from baselines.placement_replay import Replay, Requests
from baselines.selective_replication import replicate


def loads(*load_s, devices=2, memory=1.0):
    """Models of one second that fill half a device each and load for so long."""
    return PlacementProblem(tuple(PlacedModel(f"m{i}", 2.5, {SINGLE: (1.0,)}, {SINGLE: 0.5}, load_s=s)
                                  for i, s in enumerate(load_s)), devices, memory)


def test_one_window_is_selective_replication():
    problem, requests = table_2(5), TABLE_2.test()
    windows = plan(problem, requests, 1e6)
    outcome = Replay(problem, requests).play(replicate(Replay(problem, requests)))
    for swap in ("free", "loaded"):
        assert np.array_equal(play(problem, requests, windows, swap), outcome.latency_s, equal_nan=True)


def test_windows_cover_every_request_once_and_know_only_their_own():
    problem, requests = small(np.random.default_rng(3), models=4, devices=3, copies=1.7)
    windows = plan(problem, requests, 10.0)
    covered = np.concatenate([np.arange(len(requests))[window.requests] for window in windows])
    assert np.array_equal(covered, np.arange(len(requests)))
    for window in windows:
        own = requests[window.requests]
        assert own.arrival_s[0] >= window.start_s and own.arrival_s[-1] < window.start_s + 10.0
        assert window.placement == replicate(Replay(problem, own))
        check(problem, window.placement)


def test_a_window_without_requests_keeps_the_placement_before():
    problem = loads(1.0, 1.0)
    requests = Requests(np.array([5.0, 6.0, 31.0]), np.array([0, 0, 1]))
    assert [window.start_s for window in plan(problem, requests, 10.0)] == [5.0, 25.0]
    assert plan(problem, requests[:0], 10.0) == []


def test_changes_are_free_as_published():
    """Each window starts with idle devices: it is as if it were alone."""
    problem, requests = small(np.random.default_rng(3), models=4, devices=3, copies=1.7)
    windows = plan(problem, requests, 10.0)
    latency_s = play(problem, requests, windows, "free")
    for window in windows:
        alone = Replay(problem, requests[window.requests]).play(window.placement).latency_s
        assert np.array_equal(latency_s[window.requests], alone, equal_nan=True)


def test_work_in_progress_stays_where_changes_are_charged():
    """The same placement in every window is one pass over all requests, clocks carried on."""
    problem, requests = small(np.random.default_rng(4), models=4, devices=3, copies=1.7)
    placement = replicate(Replay(problem, requests))
    windows = [window._replace(placement=placement) for window in plan(problem, requests, 7.0)]
    assert np.array_equal(play(problem, requests, windows, "loaded"), Replay(problem, requests).play(placement).latency_s,
                          equal_nan=True)


def test_a_model_answers_once_it_is_loaded():
    """Device 0 changes model 0 for models 2 (asked for twice: first) and 3; model 1 on device 1 goes on."""
    problem = loads(4.0, 4.0, 3.0, 2.0)
    own = Requests(np.array([10.0, 11.0, 12.9, 13.0, 15.1, 16.0]), np.array([3, 2, 2, 2, 3, 1]))
    before, after = (Group(SINGLE, (0,)), Group(SINGLE, (1,))), (Group(SINGLE, (2, 3)), Group(SINGLE, (1,)))
    ready_s = loading(problem, before, after, own, 10.0, np.zeros((2, 4)))
    assert ready_s[0].tolist() == [np.inf, np.inf, 13.0, 15.0] and ready_s[1, 1] == 0.0
    latency_s = Replay(problem, own).play(after, ready_s=ready_s).latency_s
    assert np.isnan(latency_s[:3]).all() and latency_s[3:] == pytest.approx([1.0, 1.0, 1.0])


def test_what_is_loading_still_is_not_begun_anew():
    problem = loads(4.0, 4.0, 3.0, 2.0)
    own = Requests(np.array([20.0]), np.array([1]))
    ready_s = np.array([[26.0, 0.0, 0.0, 0.0]])
    times = loading(problem, (Group(SINGLE, (0,)),), (Group(SINGLE, (0, 1)),), own, 20.0, ready_s)
    assert times[0, :2].tolist() == [26.0, 30.0]


@pytest.mark.parametrize("seed", range(5))
def test_placements_move_to_where_least_is_loaded(seed):
    rng = np.random.default_rng(seed)
    problem = loads(*rng.uniform(1, 5, 6), devices=4)
    before, after = (tuple(Group(SINGLE, tuple(sorted(rng.choice(6, 2, replace=False).tolist()))) for _ in range(4))
                     for _ in range(2))

    def cost(groups):
        return sum(problem.models[m].load_s for old, new in zip(before, groups) for m in set(new.models) - set(old.models))

    moved = nearest(problem, before, after)
    assert sorted(moved) == sorted(after) and cost(moved) == pytest.approx(min(map(cost, permutations(after))))


def test_a_real_swap_costs_attainment():
    problem, requests = table_2(5), TABLE_2.test()
    windows = plan(problem, requests, 20.0)
    free, loaded = (attainment(requests, play(problem, requests, windows, swap)) for swap in ("free", "loaded"))
    once = attainment(requests, Replay(problem, requests).play(replicate(Replay(problem, requests))).latency_s)
    assert free > once and free > loaded


def test_a_window_must_have_a_length():
    with pytest.raises(ValueError, match="a window of 0 s"):
        plan(loads(1.0), Requests(np.array([0.0]), np.array([0])), 0)

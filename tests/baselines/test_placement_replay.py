"""The replay that counts: to the last bit the simulator's replay kernel, and its counts add up."""

import numpy as np
import pytest
from placed import FOUR, PAIR, SHARDS, SINGLE, TABLE_2, small, table_2

from baselines.alpaserve_selection import greedy
from baselines.placement import Group, check, memory_bytes, normal, room
from baselines.placement_replay import Replay, score
from envs.replay import replay_groups


def by_the_simulator(problem, requests, placement):
    """Latency of each request by `envs.replay`, nan where it was refused."""
    hosts = [[g for g, group in enumerate(placement) if m in group.models] for m in range(len(problem.models))]
    n_stages = np.array([group.shape.inter_op for group in placement])
    rows = [np.pad(np.array(model.latency_s[placement[g].shape]) * (1 + problem.stage_overhead_ratio * n_stages[g]),
                   (0, n_stages.max() - n_stages[g])) for model, on in zip(problem.models, hosts) for g in on]
    latency_s = np.empty(len(requests))
    replay_groups(requests.arrival_s, requests.model, np.concatenate([[0], np.cumsum([len(on) for on in hosts])]),
                  np.array([g for on in hosts for g in on]), np.array(rows), n_stages,
                  np.array([model.slo_s for model in problem.models]), problem.overhead_s,
                  np.zeros((len(placement), n_stages.max())), latency_s)
    return latency_s


@pytest.mark.parametrize("seed", range(6))
def test_equals_the_simulator_bit_for_bit_on_mixed_shapes(seed):
    rng = np.random.default_rng(seed)
    problem, requests = small(rng, models=6, devices=7, copies=3.0)
    placement = tuple(Group(shape, tuple(sorted(rng.choice(6, rng.integers(1, 4), replace=False).tolist())))
                      for shape in (SINGLE, PAIR, SHARDS, PAIR))
    outcome = Replay(problem, requests).play(placement)
    assert np.array_equal(outcome.latency_s, by_the_simulator(problem, requests, placement), equal_nan=True)
    answered = ~np.isnan(outcome.latency_s)
    assert np.array_equal(outcome.good, np.bincount(requests.model[answered], minlength=6))
    assert np.array_equal(outcome.asked, np.bincount(requests.model, minlength=6))
    hosted = np.isin(requests.model, [m for group in placement for m in group.models])
    assert outcome.dispatched.sum() == hosted.sum() and outcome.attainment == answered.mean()


def test_score_weighs_attainment_over_latency_over_replicas():
    assert score(90, 10.0, 3, 100) == pytest.approx(0.9 - 0.1 / 10_000 + 3e-6)
    assert score(91, 1000.0, 0, 100) > score(90, 0.0, 500, 100)


def test_a_model_that_is_loading_waits_for_nobody():
    """Only the host that is ready is used; before any is, requests are refused."""
    problem, requests = small(np.random.default_rng(1))
    placement = (Group(SINGLE, (0,)), Group(SINGLE, (0,)))
    ready_s = np.full((2, 3), np.inf)
    ready_s[1, 0] = 20.0
    outcome = Replay(problem, requests).play(placement, ready_s=ready_s)
    alone = Replay(problem, requests[requests.arrival_s >= 20.0]).play(placement[1:])
    assert np.isnan(outcome.latency_s[requests.arrival_s < 20.0]).all()
    assert np.array_equal(outcome.latency_s[requests.arrival_s >= 20.0], alone.latency_s, equal_nan=True)
    assert outcome.dispatched[0] == 0


def test_room_counts_weights_and_the_largest_activation():
    problem, _ = small(np.random.default_rng(2), activation=0.5)
    weights = [model.weight_bytes[SINGLE] for model in problem.models]
    for held in ((), (0,), (1,), (0, 2)):
        fits = room(problem, (Group(SINGLE, held),))[0]
        for m in range(3):
            needed = sum(weights[i] for i in {*held, m}) + 0.5 * max(weights[i] for i in {*held, m})
            assert fits[m] == (m not in held and needed <= problem.memory_bytes)
    assert memory_bytes(problem, Group(SINGLE, (0, 2))) == pytest.approx(
        weights[0] + weights[2] + 0.5 * max(weights[0], weights[2]))


def test_normal_order_is_by_models_then_by_size():
    groups = [Group(SINGLE, (1, 2)), Group(PAIR, (2, 1)), Group(SINGLE, (0, 3))]
    assert normal(groups) == (Group(SINGLE, (0, 3)), Group(PAIR, (1, 2)), Group(SINGLE, (1, 2)))


def test_check_names_what_is_wrong():
    problem, _ = small(np.random.default_rng(0))
    with pytest.raises(ValueError, match="4 devices of type v100, there are 2"):
        check(problem, (Group(PAIR), Group(PAIR)))
    with pytest.raises(ValueError, match="has no latency on 4x1 v100"):
        check(small(np.random.default_rng(0), devices=4)[0], (Group(FOUR, (0,)),))
    with pytest.raises(ValueError, match="bytes of a device"):
        check(problem, (Group(SINGLE, (0, 1, 2)),))


def test_greedy_plays_once_a_step():
    """One replay for each model added: that is what makes it fast."""
    replay = Replay(table_2(5), TABLE_2.test())
    placement = greedy(replay, (FOUR,) * 4)
    assert replay.played == sum(len(group.models) for group in placement) == 4 * 9  # 13 GiB of 1.37 GiB each

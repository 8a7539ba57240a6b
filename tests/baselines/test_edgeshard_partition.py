"""EdgeShard's partitions against every partition of small problems, and its throughput against a loop that is played."""

from itertools import combinations, pairwise, permutations

import numpy as np
import pytest

from baselines.edgeshard_partition import EdgeKind, EdgeProblem, Shard, even, fits, partition, steps_s, tokens_per_s


def made(dice, layers=5):
    counts = (1, int(dice.integers(1, 3)), int(dice.integers(1, 3)))
    weights = dice.uniform(0.5, 1.5, layers)
    kinds = tuple(EdgeKind(f"k{i}", n, tuple(dice.uniform(0.1, 1.0, layers) * (3, 1, 2)[i]),
                           float(dice.uniform(0.2, 0.8) * weights.sum())) for i, n in enumerate(counts))
    rate = dice.uniform(1, 10, (3, 3))
    return EdgeProblem(kinds, tuple(weights), tuple(dice.uniform(0.2, 2.0, layers)), rate + rate.T, dice.uniform(0, 0.2))


def every_partition(problem):
    """Devices in any order after the source, cut anywhere."""
    others = [k for k, kind in enumerate(problem.kinds) for _ in range(kind.count) if k]
    for n in range(min(len(others), problem.layers - 1) + 1):
        for order in set(permutations(others, n)):
            for inner in combinations(range(1, problem.layers), n):
                cuts = (0, *inner, problem.layers)
                shards = tuple(Shard(k, range(a, b)) for k, (a, b) in zip((0, *order), pairwise(cuts), strict=True))
                if fits(problem, shards):
                    yield shards


@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize(("goal", "measure"), [("latency", sum), ("throughput", max)])
def test_no_partition_is_better(seed, goal, measure):
    problem = made(np.random.default_rng(seed))
    every = list(every_partition(problem))
    if not every:
        with pytest.raises(ValueError, match="do not fit"):
            partition(problem, goal)
        return
    found = partition(problem, goal)
    assert fits(problem, found) and found[0].kind == 0
    assert [i for shard in found for i in shard.layers] == list(range(problem.layers))
    assert measure(steps_s(problem, found)) == pytest.approx(min(measure(steps_s(problem, other)) for other in every))


def test_equal_devices_may_be_told_apart():
    """Two kinds that are the same kind in truth give what one kind of two devices gives."""
    dice = np.random.default_rng(3)
    problem = made(dice)
    one = EdgeProblem((problem.kinds[0], EdgeKind("b", 2, problem.kinds[1].layer_s, 3.0)), problem.weight_bytes,
                      problem.output_bytes, problem.bytes_per_s[:2, :2], 0.1)
    again = [0, 1, 1]
    b = EdgeKind("b", 1, problem.kinds[1].layer_s, 3.0)
    two = EdgeProblem((problem.kinds[0], b, b), problem.weight_bytes, problem.output_bytes,
                      problem.bytes_per_s[np.ix_(again, again)], 0.1)
    for goal, measure in (("latency", sum), ("throughput", max)):
        assert measure(steps_s(one, partition(one, goal))) == pytest.approx(measure(steps_s(two, partition(two, goal))))


def test_a_slow_link_is_gone_around():
    """The source's link to the cloud is slow; one device beside both relays, and has a layer for that."""
    layers = (1.0,) * 4
    problem = EdgeProblem((EdgeKind("source", 1, layers, 9.0), EdgeKind("beside", 1, layers, 9.0),
                           EdgeKind("cloud", 1, (0.1,) * 4, 9.0)), layers, (1.0, 1.0, 1.0, 0.0),
                          np.array([[9.0, 100.0, 0.1], [100.0, 9.0, 100.0], [0.1, 100.0, 9.0]]), 0.0)
    found = partition(problem, "latency")
    assert [shard.kind for shard in found] == [0, 1, 2] and [len(shard.layers) for shard in found] == [1, 1, 2]
    assert partition(problem.only([0, 2]), "latency") == (Shard(0, range(4)),)


def test_even_parts_are_even():
    problem = made(np.random.default_rng(0))
    assert [len(shard.layers) for shard in even(problem, (0, 1))] == [2, 3]
    assert [shard.kind for shard in even(problem, (0, 1, 2))] == [0, 1, 2]


def looped(steps, in_flight, tokens=400):
    """A played loop: each step serves one token at a time, first come first served; seconds a token in the long run."""
    free, at = [0.0] * len(steps), [0.0] * in_flight
    done = []
    for _ in range(tokens):
        for sequence in range(in_flight):
            t = at[sequence]
            for i, seconds in enumerate(steps):
                t = free[i] = max(t, free[i]) + seconds
            at[sequence] = t
            done.append(t)
    half = len(done) // 2
    return (len(done) - half) / (done[-1] - done[half - 1])


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("in_flight", [1, 2, 4])
def test_tokens_per_second_are_those_of_a_played_loop(seed, in_flight):
    steps = np.random.default_rng(seed).uniform(0.1, 1.0, 5).tolist()
    assert tokens_per_s(steps, in_flight) == pytest.approx(looped(steps, in_flight), rel=0.01)


def test_tables_of_unlike_length_are_told():
    kind = EdgeKind("a", 1, (1.0, 1.0), 9.0)
    with pytest.raises(ValueError, match="3 layers have weights"):
        EdgeProblem((kind,), (1.0,) * 3, (1.0,) * 3, np.ones((1, 1)), 0.0)
    with pytest.raises(ValueError, match="2 devices of the kind a: the first is the one source"):
        EdgeProblem((EdgeKind("a", 2, (1.0,), 9.0),), (1.0,), (1.0,), np.ones((1, 1)), 0.0)

"""Shards: the integer program against every choice; every choice, run on real numbers, gives what one device gives."""

from itertools import product

import numpy as np
import pytest

from baselines.architectures import Recommender, Transformer
from baselines.hardware import RTX_3090, V100, Link
from baselines.operators import Layer, Operator
from baselines.sharding import INF, ShardedLayer, reshard_s, row_seconds, shard, strategies

FAST, SLOW = Link("fast", {2: 50e9}, 1e-6, "made"), Link("slow", {2: 1e6}, 1e-3, "made")
_, ATTENTION, FEED_FORWARD, _ = Transformer(32, 64, 1, 8, 96).architecture("small", 2).layers


def every_plan(layer, ranks):
    """All ways to divide a layer that can be run."""
    rows = [product(*(strategies(op, ranks) for op in row)) for row in (layer.operators, layer.beside)]
    for row, beside in product(*map(list, rows)):
        plan = ShardedLayer(layer, ranks, row, beside)
        if plan.seconds(V100, FAST) < INF:
            yield plan


def work(plan, device, link):
    """What the program minimises: the sum of both rows."""
    layer = plan.layer
    return sum(sum(row_seconds(ops, chosen, layer.answers, plan.ranks, device, link, 1))
               for ops, chosen in ((layer.operators, plan.row), (layer.beside, plan.beside)))


def made_layer(dice):
    """Operators of all kinds in a row, with any numbers."""
    kinds = dice.choice(["matmul", "heads", "pointwise", "whole", "lookup"], dice.integers(1, 6))

    def operator(i, kind):
        return Operator(f"{i}", str(kind), *dice.uniform(0, 1e9, 2), *dice.uniform(0, 1e8, 2), heads=4 * (kind == "heads"))

    rows = [tuple(operator(i, kind) for i, kind in enumerate(kinds)), ()]
    if dice.random() < 0.3:
        rows[1] = rows[0][:2]
    return Layer("made", *rows, answers=bool(dice.random() < 0.5))


@pytest.mark.parametrize("seed", range(25))
def test_no_choice_within_memory_is_faster(seed):
    dice = np.random.default_rng(seed)
    layer, ranks = made_layer(dice), int(dice.choice([2, 4]))
    link = Link("made", {2: float(10 ** dice.uniform(8, 11))}, float(dice.uniform(0, 1e-4)), "made")
    plans = list(every_plan(layer, ranks))
    least, most = (f(plan.weight_bytes for plan in plans) for f in (min, max))
    for memory_bytes in (INF, dice.uniform(least, most) * (1 + 1e-9), least * (1 + 1e-9)):
        plan = shard(layer, ranks, V100, link, memory_bytes=memory_bytes)
        assert plan.weight_bytes <= memory_bytes
        best = min(work(other, V100, link) for other in plans if other.weight_bytes <= memory_bytes)
        assert work(plan, V100, link) == pytest.approx(best, rel=1e-6)


def test_what_does_not_fit_is_told():
    with pytest.raises(ValueError, match="layer attention does not fit 10 bytes on each of 2 devices"):
        shard(ATTENTION, 2, V100, FAST, memory_bytes=10.0)


def test_a_transformer_is_divided_as_megatron_divides_it():
    """Columns, then heads or activations apart, then rows, and one sum (Shoeybi et al., 2019, section 3)."""
    block = Transformer(2048, 4096, 1, 32, 51200).architecture("large", 2).layers[1:3]
    for layer in block:
        plan = shard(layer, 4, V100, Link("fast", {2: 100e9}, 1e-6, "made"))
        assert [s.name for s in plan.row] == ["columns", "parts", "rows", "replicated"]
        sums = row_seconds(layer.operators, plan.row, False, 4, V100, FAST, 1).communicating
        assert sums == pytest.approx(FAST.all_reduce_s(layer.operators[2].output_bytes, 4))


def test_over_a_slow_link_nothing_is_divided_unless_memory_asks():
    plan = shard(FEED_FORWARD, 2, V100, SLOW)
    assert {s.name for s in plan.row} == {"replicated"}
    divided = shard(FEED_FORWARD, 2, V100, SLOW, memory_bytes=FEED_FORWARD.weight_bytes / 2 * 1.001)
    assert divided.weight_bytes == pytest.approx(FEED_FORWARD.weight_bytes / 2)
    assert divided.seconds(V100, SLOW) > plan.seconds(V100, SLOW)


def test_heads_that_do_not_come_out_even_stay_whole():
    attention = ATTENTION.operators[1]
    assert len(strategies(attention, 4)) == 2 and len(strategies(attention, 3)) == 1


def test_two_rows_hide_each_others_waits():
    """Embedding tables beside a network: the device computes both, the link carries both, neither waits for nothing."""
    tables = Recommender(8, 1000, 64).architecture("recommender", 4).layers[0]
    plan = shard(tables, 4, RTX_3090, FAST, memory_bytes=tables.weight_bytes / 4 * 1.001)
    a, b = (row_seconds(ops, chosen, False, 4, RTX_3090, FAST, 1)
            for ops, chosen in ((tables.operators, plan.row), (tables.beside, plan.beside)))
    assert a.communicating > 0 and b.computing > 0
    together = plan.seconds(RTX_3090, FAST)
    assert max(sum(a), sum(b)) <= together < sum(a) + sum(b)
    slow = plan.seconds(RTX_3090, SLOW)
    waits = [row_seconds(ops, chosen, False, 4, RTX_3090, SLOW, 1) for ops, chosen in
             ((tables.operators, plan.row), (tables.beside, plan.beside))]
    assert slow == pytest.approx(max(sum(w.communicating for w in waits), sum(waits[0]), sum(waits[1])))


@pytest.mark.parametrize(("gives", "takes"), list(product(("whole", "split", "partial"), repeat=2)))
def test_resharding_costs_what_its_collective_moves(gives, takes):
    size, ranks = 6e9, 3
    sent = {("whole", "whole"): 0, ("whole", "split"): 0, ("split", "split"): 0, ("split", "whole"): 2 / 3,
            ("partial", "whole"): 4 / 3, ("partial", "split"): 2 / 3}
    free = Link("free", {2: 1e9}, 0.0, "made")
    assert reshard_s(gives, takes, size, ranks, free) == pytest.approx(6 * sent.get((gives, takes), INF))


# ---- Run on real numbers


class Block:
    """A transformer block in numpy: the operators of a layer by name, on the features that a device has."""

    def __init__(self, tokens=6, hidden=8, heads=4, wide=32):
        dice = np.random.default_rng(0)
        self.heads, self.width = heads, hidden // heads
        sizes = {"query-key-value": (hidden, 3 * hidden), "project": (hidden, hidden), "widen": (hidden, wide),
                 "narrow": (wide, hidden)}
        self.weights = {name: dice.normal(size=size) for name, size in sizes.items()}
        self.input = dice.normal(size=(tokens, hidden))

    def run(self, name, x):
        if name == "attention":  # columns are head by head: its query, key, value
            q, k, v = np.moveaxis(x.reshape(len(x), -1, 3, self.width), (2, 1), (0, 1))
            scores = np.exp(q @ k.swapaxes(1, 2))
            mixed = scores / scores.sum(-1, keepdims=True) @ v
            return mixed.swapaxes(0, 1).reshape(len(x), -1)
        if name == "gelu":
            return np.maximum(x, 0) ** 1.5  # any function of single numbers
        x = self.input + x
        return (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)


def reshard(parts, gives, takes):
    if gives == takes:
        return parts
    n = len(parts)
    if gives == "split":
        return [np.concatenate(parts, -1)] * n
    whole = sum(parts) if gives == "partial" else parts[0]
    return [whole] * n if takes == "whole" else np.split(whole, n, -1)


def execute(block, plan):
    """The plan on as many devices as it has; each does its share, layouts are changed in between."""
    n, layout = plan.ranks, "whole"
    parts = [block.input] * n
    for op, strategy in zip(plan.layer.operators, plan.row, strict=True):
        parts = reshard(parts, layout, strategy.takes)
        weight = block.weights.get(op.name)
        if weight is None:
            parts = [block.run(op.name, x) for x in parts]
        else:
            axis = {"columns": 1, "rows": 0}.get(strategy.name)
            shards = [weight] * n if axis is None else np.split(weight, n, axis)
            parts = [x @ w for x, w in zip(parts, shards, strict=True)]
        layout = strategy.gives
    return reshard(parts, layout, "whole")


@pytest.mark.parametrize("layer", [ATTENTION, FEED_FORWARD], ids=lambda layer: layer.name)
@pytest.mark.parametrize("ranks", [2, 4])
def test_every_plan_gives_the_unsharded_result(layer, ranks):
    block = Block()
    (expected,) = execute(block, ShardedLayer(layer, 1, tuple(strategies(op, 1)[0] for op in layer.operators)))
    plans = list(every_plan(layer, ranks))
    assert len(plans) > 4
    for plan in plans:
        for answer in execute(block, plan):
            np.testing.assert_allclose(answer, expected, rtol=1e-9, atol=1e-9)

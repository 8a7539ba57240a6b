"""What is planned is what runs: the ranks of a BERT divide a layer as the sharding program does, and sum as often."""

from concurrent.futures import ThreadPoolExecutor
from itertools import product

import networks
import pytest
import torch
from networks import Ranks, run_parted, whole

from baselines.architectures import SIZES, Transformer
from baselines.hardware import NVLINK_A100, V100
from baselines.sharding import ShardedLayer, shard, strategies
from runtime.models.bert import BERTS, Bert
from runtime.worlds import Exchange, WorldManager

TINY = Bert("tiny", 16, 32, 3, 4, vocabulary=64)


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_sum_where_the_plan_sums_and_answer_what_one_answers(ranks, monkeypatch):
    made = []
    monkeypatch.setattr(networks, "Ranks", lambda n: made.append(Ranks(n)) or made[-1])
    tokens = torch.randint(1, 64, (2, 16), generator=torch.Generator().manual_seed(0))
    (found,) = run_parted(TINY, (tokens,), 1, ranks)
    torch.testing.assert_close(found, whole(TINY).run((tokens,))[0], rtol=1e-4, atol=1e-5)
    blocks = Transformer(2048, 2048, TINY.layers, 32, 51200).architecture("large", 2).layers[1:-1]
    plans = [shard(layer, ranks, V100, NVLINK_A100, memory_bytes=layer.weight_bytes / ranks * 1.001) for layer in blocks]
    sums = [a.gives == "partial" and b.takes == "whole" for plan in plans for a, b in zip(plan.row, plan.row[1:])]
    assert made[0].calls == sum(sums) == 2 * TINY.layers


def test_sizes_are_those_of_the_models_that_run():
    for name, bert in BERTS.items():
        known = SIZES.get(name.replace("2.7b", "2.6b"))
        if isinstance(known, Transformer):
            assert (known.sequence, known.hidden, known.layers, known.heads, known.vocabulary) == (
                bert.sequence, bert.hidden, bert.layers, bert.heads, bert.vocabulary)


# ---- Run over a world


TOKENS, HIDDEN, HEADS, WIDE = 6, 16, 4, 64
BLOCK = Transformer(TOKENS, HIDDEN, 1, HEADS, 64).architecture("small", 4).layers[1:3]


def weight_of(name):
    inputs, outputs = {"query-key-value": (HIDDEN, 3 * HIDDEN), "project": (HIDDEN, HIDDEN), "widen": (HIDDEN, WIDE),
                       "narrow": (WIDE, HIDDEN)}[name]
    return torch.randn(inputs, outputs, generator=torch.Generator().manual_seed(len(name))) / inputs**0.5


def run_operator(op, x, came_in, weight):
    if op.kind == "matmul":
        return x @ weight
    if op.kind == "heads":  # columns are head by head: its query, key, value
        query, key, value = x.unflatten(-1, (-1, 3, HIDDEN // HEADS)).permute(2, 1, 0, 3)
        return torch.nn.functional.scaled_dot_product_attention(query, key, value).permute(1, 0, 2).flatten(1)
    return torch.nn.functional.gelu(x) if op.kind == "pointwise" else torch.nn.functional.layer_norm(came_in + x, (HIDDEN,))


def on_rank(world, plan, came_in):
    """What one rank of a world does by a plan: its share of each operator, and the collectives in between."""
    x, layout = came_in, "whole"

    def relaid(x, layout, wanted):
        if layout == wanted:
            return x
        if layout == "split":
            return torch.cat(world.all_gather(x.contiguous()), -1)
        whole = world.all_reduce(x.contiguous()) if layout == "partial" else x
        return whole if wanted == "whole" else whole.chunk(plan.ranks, -1)[world.rank]

    for op, strategy in zip(plan.layer.operators, plan.row, strict=True):
        weight = weight_of(op.name) if op.kind == "matmul" else None
        if strategy.name in ("columns", "rows"):
            weight = weight.chunk(plan.ranks, -1 if strategy.name == "columns" else 0)[world.rank]
        x = run_operator(op, relaid(x, layout, strategy.takes), came_in, weight)
        layout = strategy.gives
    return relaid(x, layout, "whole")


@pytest.mark.parametrize("backend", ["inproc", "gloo"])
@pytest.mark.parametrize("layer", BLOCK, ids=lambda layer: layer.name)
def test_plans_over_a_world_give_the_unsharded_result(layer, backend):
    came_in = torch.randn(TOKENS, HIDDEN, generator=torch.Generator().manual_seed(1))
    expected = came_in
    for op in layer.operators:
        expected = run_operator(op, expected, came_in, weight_of(op.name) if op.kind == "matmul" else None)
    choices = product(*(strategies(op, 2) for op in layer.operators))
    plans = [plan for row in choices if (plan := ShardedLayer(layer, 2, row)).seconds(V100, NVLINK_A100) < float("inf")]
    assert shard(layer, 2, V100, NVLINK_A100, memory_bytes=layer.weight_bytes / 2 * 1.001) in plans and len(plans) > 8
    exchange = Exchange()
    managers = [WorldManager(exchange=exchange) for _ in range(2)]
    try:
        with ThreadPoolExecutor(2) as pool:
            made = pool.submit(managers[0].create, "ranks", 2, backend=backend)
            second = managers[1].join("ranks", 1, managers[0].address)
            worlds = [made.result(30), second]
            for plan in plans:
                for answer in [pool.submit(on_rank, world, plan, came_in) for world in worlds]:
                    torch.testing.assert_close(answer.result(30), expected, rtol=1e-4, atol=1e-5)
    finally:
        for manager in managers:
            manager.close()

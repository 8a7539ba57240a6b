"""What is planned is what runs: the ranks of a BERT divide a layer as the sharding program does, and sum as often."""

import networks
import pytest
import torch
from networks import Ranks, run_parted, whole

from baselines.architectures import SIZES, Transformer
from baselines.hardware import NVLINK_A100, V100
from baselines.sharding import shard
from runtime.models.bert import BERTS, Bert

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

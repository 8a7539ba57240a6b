"""The built-in BERTs: published sizes, other implementations, and the same answers over all stages and ranks."""

import pytest
import torch
from networks import Ranks, parameters, run_parted, state_dict, whole
from safetensors.torch import save_file
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from runtime.models.bert import BERTS, Bert
from runtime.models.model import Alone, ModelError, Placement, TensorSpec
from runtime.models.network import NetworkModel

SMALL = Bert("small", sequence=12, hidden=32, layers=4, heads=4, vocabulary=50, classes=3)


@pytest.fixture
def tokens():
    """Five requests; the first is full, each next has two more tokens of padding."""
    tokens = torch.randint(1, SMALL.vocabulary, (5, SMALL.sequence), generator=torch.Generator().manual_seed(1))
    for i in range(1, 5):
        tokens[i, SMALL.sequence - 2 * i :] = 0
    return tokens


def test_published_size_of_bert_base():
    assert parameters(BERTS["bert-base"]) == 109_483_778  # BERT-Base uncased and two classes


@pytest.mark.parametrize("name, billions", [
    ("bert-1.3b", 1.3), ("bert-2.7b", 2.7), ("bert-6.7b", 6.7), ("bert-15b", 15.4), ("bert-39b", 39), ("bert-76b", 76),
    ("bert-104b", 103.5)])
def test_published_sizes_of_alpaserve(name, billions):
    assert parameters(BERTS[name]) / 1e9 == pytest.approx(billions, rel=0.02)


def test_specs():
    first, last = (NetworkModel(SMALL, Placement(stage, 2), Alone()) for stage in (0, 1))
    assert first.inputs == (TensorSpec("input_ids", "INT64", (-1, 12)),)
    assert first.outputs == last.inputs == (
        TensorSpec("hidden_0", "FP32", (-1, 12, 32)), TensorSpec("hidden_1", "BOOL", (-1, 12)))
    assert last.outputs == (TensorSpec("logits", "FP32", (-1, 3)),)


@pytest.mark.parametrize("stages, ranks", [(1, 2), (1, 4), (2, 1), (3, 1), (6, 1), (2, 2), (3, 4), (6, 2)])
def test_over_stages_and_ranks_the_answer_is_the_same(stages, ranks, tokens):
    (wanted,) = whole(SMALL).run((tokens,))
    (found,) = run_parted(SMALL, (tokens,), stages, ranks)
    assert wanted.shape == (5, 3) and wanted.std() > 1e-3
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("ranks", [2, 4])
def test_shares_put_together_are_the_whole(ranks):
    shares = [state_dict(SMALL, rank, ranks) for rank in range(ranks)]
    for name, tensor in state_dict(SMALL).items():
        split = [d for d in range(tensor.ndim) if shares[0][name].shape[d] != tensor.shape[d]]
        together = torch.cat([share[name] for share in shares], split[0]) if split else shares[0][name]
        assert torch.equal(together, tensor), name
        row = "output.dense.weight" in name
        column = any(part in name for part in ("query", "key", "value", "intermediate"))
        assert split == ([1] if row else [0] if column else []), name


class Largest(TorchDispatchMode):
    """Notes the largest tensor that any operation makes outside the device `meta`."""

    entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor) and tensor.device.type != "meta":
                self.entries = max(self.entries, tensor.numel())
        return made


def test_a_rank_never_holds_more_than_its_share():
    placement = Placement(stage=1, inter_op=3, rank=1, intra_op=4)
    model = NetworkModel(SMALL, placement, Ranks(4).of(1))
    with Largest() as largest:
        model.load()
    layers = len(model.stages[1])
    assert layers == 2
    column, row, wide, back = 3 * (32 * 8 + 8), 32 * 8 + 32, 32 * 32 + 32, 32 * 32 + 32
    assert model.memory_bytes == 4 * layers * (column + row + wide + back + 2 * 2 * 32)
    assert largest.entries == 32 * 32  # a quarter of a feed-forward matrix


def test_two_sums_for_each_layer(tokens):
    group = Ranks(1)
    model = NetworkModel(SMALL, Placement(), group.of(0))
    model.load()
    assert group.calls == 0
    model.run((tokens,))
    assert group.calls == 2 * SMALL.layers


def test_weights_from_a_file_are_read_share_by_share(tokens, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(state_dict(SMALL, seed=5), path)
    (wanted,) = whole(SMALL, seed=5).run((tokens,))
    (found,) = run_parted(SMALL, (tokens,), 2, 2, weights=str(path))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_a_layer_is_the_transformer_layer_of_torch(tokens):
    model = whole(SMALL)
    embeddings, layer = model._module.row[0], model._module.row[1]
    other = torch.nn.TransformerEncoderLayer(32, 4, 128, 0.0, "gelu", 1e-12, batch_first=True).eval()
    ours = layer.state_dict()
    projections = [f"attention.self.{name}" for name in ("query", "key", "value")]
    other.load_state_dict({
        "self_attn.in_proj_weight": torch.cat([ours[f"{name}.weight"] for name in projections]),
        "self_attn.in_proj_bias": torch.cat([ours[f"{name}.bias"] for name in projections]),
        **{f"{theirs}.{part}": ours[f"{mine}.{part}"] for part in ("weight", "bias") for theirs, mine in (
            ("self_attn.out_proj", "attention.output.dense"), ("norm1", "attention.output.LayerNorm"),
            ("linear1", "intermediate.dense"), ("linear2", "output.dense"), ("norm2", "output.LayerNorm"))}})
    with torch.inference_mode():
        hidden, mask = embeddings(tokens)
        wanted = other(hidden, src_key_padding_mask=~mask)
        found, _ = layer(hidden, mask)
    torch.testing.assert_close(found[mask], wanted[mask], rtol=1e-5, atol=1e-5)  # padding has no meaning in either


def test_the_same_as_transformers(tokens):
    transformers = pytest.importorskip("transformers", reason="needs the extra hf")
    other = transformers.BertForSequenceClassification(transformers.BertConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=4, num_attention_heads=4, intermediate_size=128,
        max_position_embeddings=12, num_labels=3)).eval()
    other.load_state_dict(state_dict(SMALL, seed=2))
    with torch.inference_mode():
        wanted = other(tokens, attention_mask=(tokens != 0).long()).logits
    (found,) = whole(SMALL, seed=2).run((tokens,))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_heads_must_come_out_even():
    with pytest.raises(ModelError, match="small: 4 heads cannot be shared by 3 ranks; use an intra_op that divides 4"):
        NetworkModel(SMALL, Placement(intra_op=3), Alone())


@pytest.mark.parametrize("given, message", [
    ((), r"small: 0 input tensor\(s\) given, 1 wanted: input_ids INT64 \[-1, 12\]"),
    ((torch.ones(1, 11, dtype=torch.int64),), r"small: input input_ids INT64 \[-1, 12\] wanted, INT64 \[1, 11\] given"),
    ((torch.ones(1, 12),), r"wanted, FP32 \[1, 12\] given")])
def test_wrong_inputs(given, message):
    with pytest.raises(ModelError, match=message):
        whole(SMALL).run(given)

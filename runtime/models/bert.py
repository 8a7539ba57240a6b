"""BERT (Devlin et al., 2019) that answers with class scores, cut into stages and shared by ranks.

Architecture and names of tensors are those of Hugging Face's `BertForSequenceClassification`, so that its weights fit. Token 0
is padding, which no token attends to; the first token of a request never is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from runtime.models.model import Group
from runtime.models.network import Block, Network
from runtime.models.tensor_parallel import ColumnLinear, RowLinear, share_of_rank
from runtime.models.torch_model import Tensors
from runtime.models.weights import Share

EPSILON = 1e-12
INITIAL_STD = 0.02


@dataclass(frozen=True)
class Bert(Network):
    """A BERT of any size.

    Attributes:
        name: what messages call it.
        sequence: tokens of a request, padding included.
        hidden: width; the feed-forward layers are four times as wide.
        layers, heads, vocabulary, classes: how many.
    """

    name: str
    sequence: int
    hidden: int
    layers: int
    heads: int
    vocabulary: int = 30522
    classes: int = 2

    input_names = ("input_ids",)
    output_names = ("logits",)

    def blocks(self, group: Group, rank: int, ranks: int) -> list[Block]:
        """Embeddings, layers, head; the ranks share the layers, and each has the whole of the other two."""
        parts = share_of_rank(self.heads, rank, ranks, self.name)
        layer: Callable[[], nn.Module] = partial(Layer, self, parts, group)
        return [
            Block("bert.embeddings.", partial(Embeddings, self)),
            *(Block(f"bert.encoder.layer.{i}.", layer) for i in range(self.layers)),
            Block("", partial(Head, self)),
        ]

    def requests(self, batch: int) -> Tensors:
        """Sequences without padding."""
        return (torch.ones(batch, self.sequence, dtype=torch.int64),)

    def moments(self, name: str, shape: tuple[int, ...]) -> tuple[float, float]:
        """BERT's; biases are drawn as well, for zeros would hide a mistake in sharing them."""
        if "LayerNorm" in name:
            return (1.0 if name.endswith("weight") else 0.0), 0.0
        return 0.0, INITIAL_STD


class Embeddings(nn.Module):
    """Tokens (batch, sequence) to their vectors (batch, sequence, hidden), and which are no padding."""

    def __init__(self, bert: Bert) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(bert.vocabulary, bert.hidden)
        self.position_embeddings = nn.Embedding(bert.sequence, bert.hidden)
        self.token_type_embeddings = nn.Embedding(2, bert.hidden)
        self.LayerNorm = nn.LayerNorm(bert.hidden, EPSILON)

    def forward(self, tokens: torch.Tensor) -> Tensors:
        """Vectors, and a mask (batch, sequence): true where there is a token, and for the first."""
        hidden = self.word_embeddings(tokens) + self.position_embeddings.weight + self.token_type_embeddings.weight[0]
        seen = tokens != 0
        seen[:, 0] = True
        return self.LayerNorm(hidden), seen


class Attention(nn.Module):
    """Self-attention of this rank's heads, summed over the ranks."""

    def __init__(self, bert: Bert, parts: Share, group: Group) -> None:
        super().__init__()
        self.heads = parts.count
        self.self = nn.ModuleDict(
            {name: ColumnLinear(bert.hidden, bert.hidden, parts) for name in ("query", "key", "value")})
        self.output = nn.ModuleDict(
            {"dense": RowLinear(bert.hidden, bert.hidden, parts, group), "LayerNorm": nn.LayerNorm(bert.hidden, EPSILON)})

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, sequence, hidden) to the same."""
        query, key, value = (
            self.self[name](hidden).unflatten(-1, (self.heads, -1)).transpose(1, 2) for name in ("query", "key", "value"))
        seen = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :])
        return self.output["LayerNorm"](hidden + self.output["dense"](seen.transpose(1, 2).flatten(2)))


class Layer(nn.Module):
    """One layer: attention, then two feed-forward matrices; one sum over the ranks after each."""

    def __init__(self, bert: Bert, parts: Share, group: Group) -> None:
        super().__init__()
        wide = 4 * bert.hidden
        self.attention = Attention(bert, parts, group)
        self.intermediate = nn.ModuleDict({"dense": ColumnLinear(bert.hidden, wide, parts)})
        self.output = nn.ModuleDict(
            {"dense": RowLinear(wide, bert.hidden, parts, group), "LayerNorm": nn.LayerNorm(bert.hidden, EPSILON)})

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> Tensors:
        """Vectors and mask to the same."""
        hidden = self.attention(hidden, mask)
        wide = nn.functional.gelu(self.intermediate["dense"](hidden))
        return self.output["LayerNorm"](hidden + self.output["dense"](wide)), mask


class Head(nn.Module):
    """From the vector of the first token to class scores."""

    def __init__(self, bert: Bert) -> None:
        super().__init__()
        self.bert = nn.ModuleDict({"pooler": nn.Sequential(OrderedDict(dense=nn.Linear(bert.hidden, bert.hidden)))})
        self.classifier = nn.Linear(bert.hidden, bert.classes)

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, sequence, hidden) to (batch, classes)."""
        return self.classifier(torch.tanh(self.bert["pooler"](hidden[:, 0])))


BERTS = {
    bert.name: bert
    for bert in (
        Bert("bert-tiny", 512, 128, 2, 2),  # Turc et al., 2019
        Bert("bert-mini", 512, 256, 4, 4),
        Bert("bert-base", 512, 768, 12, 12),  # Devlin et al., 2019
        Bert("bert-large", 512, 1024, 24, 16),
        # AlpaServe (Li et al., OSDI 2023), whose code says "2.6b" for 2.7b and "103.5b" for 104b
        Bert("bert-1.3b", 2048, 2048, 24, 32, 51200),
        Bert("bert-2.7b", 2048, 2560, 32, 32, 51200),
        Bert("bert-6.7b", 2048, 4096, 32, 32, 51200),
        Bert("bert-15b", 2048, 5120, 48, 40, 51200),
        Bert("bert-39b", 2048, 8192, 48, 64, 51200),
        Bert("bert-76b", 2048, 10240, 60, 80, 51200),
        Bert("bert-104b", 1024, 8192, 128, 64, 51200),
    )
}

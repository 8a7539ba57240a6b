"""Models by name, or by their sizes, as rows of layers: transformers, ResNets, recommenders with embedding tables.

    architecture("bert-1.3b")
    architecture("transformer:sequence=512,hidden=768,layers=12,heads=12,vocabulary=30522")
"""

from __future__ import annotations

import difflib
from dataclasses import MISSING, dataclass, fields, replace
from itertools import pairwise
from math import prod
from typing import Any, ClassVar

from baselines.operators import Architecture, Layer, Operator

LOGIT_PASSES = 4  # over the logits in 32 bits: read and written to be widened, and to be biased


@dataclass(frozen=True)
class Transformer:
    """Encoders, or decoders that read a whole sequence at once, with a score for each word at each token (BERT, GPT).

    Attributes:
        sequence: tokens of a request.
        hidden: width; the feed-forward layers are `widening` times as wide.
        layers, heads, vocabulary: how many.
        one_hot: 1 where words are embedded by multiplying with one-hot vectors, as AlpaServe's BERT does; 0 for a table.
    """

    sequence: int
    hidden: int
    layers: int
    heads: int
    vocabulary: int
    widening: int = 4
    one_hot: int = 0

    def architecture(self, name: str, element_bytes: int) -> Architecture:
        """An embedding, two layers for each block (attention, feed-forward), a head."""
        wide, tokens = self.widening * self.hidden, float(self.sequence)
        state = tokens * self.hidden * element_bytes
        add_norm = Operator("add-norm", "whole", moved_bytes=3 * state, output_bytes=state)

        def matmul(label: str, inputs: int, outputs: int) -> Operator:
            return _matmul(label, tokens, inputs, outputs, element_bytes)

        scores = tokens**2 * self.heads
        mix = Operator("attention", "heads", 4 * tokens**2 * self.hidden, 4 * state, 0.0, state, self.heads, scores)
        attention = Layer("attention", (matmul("query-key-value", self.hidden, 3 * self.hidden), mix,
                                        matmul("project", self.hidden, self.hidden), add_norm), residual=True)
        feed_forward = Layer("feed-forward", (
            matmul("widen", self.hidden, wide), _pointwise("gelu", tokens * wide * element_bytes),
            matmul("narrow", wide, self.hidden), add_norm), residual=True)
        logits = tokens * self.vocabulary
        widened = Operator("logits", "pointwise", moved_bytes=LOGIT_PASSES * 4 * logits, output_bytes=4 * logits)
        words = replace(matmul("words", self.hidden, self.vocabulary), output_bytes=4 * logits)
        head = Layer("head", (words, widened), answers=True)
        return Architecture(name, (Layer("embedding", (self._embedding(element_bytes), add_norm)),
                                   *(attention, feed_forward) * self.layers, head), ends=1)

    def _embedding(self, element_bytes: int) -> Operator:
        if self.one_hot:
            return _matmul("words", float(self.sequence), self.vocabulary, self.hidden, element_bytes, read=False)
        return _lookup("words", self.sequence, self.vocabulary, self.hidden, element_bytes)


@dataclass(frozen=True)
class ResNet:
    """He et al., 2016: pictures of `side` x `side` to 1000 classes; 18 and 34 of plain blocks, the others of bottlenecks."""

    depth: int
    side: int = 224

    BLOCKS: ClassVar[dict[int, tuple[int, ...]]] = {
        18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}

    def architecture(self, name: str, element_bytes: int) -> Architecture:
        """A stem, one layer for each block, a head.

        Raises:
            ValueError: there is no ResNet of this depth.
        """
        if self.depth not in self.BLOCKS:
            raise ValueError(f"no ResNet of depth {self.depth}; there are {', '.join(map(str, self.BLOCKS))}")
        side, inputs = self.side // 4, 64
        stem = _convolution("stem", 3, 64, 7, self.side // 2, element_bytes)
        pool = Operator("pool", "whole", moved_bytes=1.25 * stem.output_bytes, output_bytes=stem.output_bytes / 4)
        layers = [Layer("stem", (stem, _pointwise("relu", stem.output_bytes), pool))]
        for group, count in enumerate(self.BLOCKS[self.depth]):
            for i in range(count):
                stride = 2 if group and not i else 1
                side //= stride
                layers.append(self._block(f"block {group + 1}{'' if i else ' first'}", inputs, 64 * 2**group, side, stride,
                                          element_bytes))
                inputs = 64 * 2**group * self._widening
        mean = Operator("mean", "whole", moved_bytes=inputs * side**2 * element_bytes, output_bytes=inputs * element_bytes)
        layers.append(Layer("head", (mean, _matmul("classes", 1.0, inputs, 1000, element_bytes))))
        return Architecture(name, tuple(layers), ends=1)

    @property
    def _widening(self) -> int:
        return 4 if self.depth >= 50 else 1

    def _block(self, name: str, inputs: int, width: int, side: int, stride: int, element_bytes: int) -> Layer:
        outputs = width * self._widening
        if self._widening == 1:
            sizes = [(inputs, width, 3, side), (width, outputs, 3, side)]
        else:  # the stride is in the 3 x 3
            sizes = [(inputs, width, 1, side * stride), (width, width, 3, side), (width, outputs, 1, side)]
        row: list[Operator] = []
        for i, size in enumerate(sizes):
            convolution = _convolution(f"convolution {i + 1}", *size, element_bytes)
            row += [convolution, _pointwise("relu", convolution.output_bytes)]
        add = Operator("add-relu", "whole", moved_bytes=3 * row[-1].output_bytes, output_bytes=row[-1].output_bytes)
        shortcut = () if inputs == outputs else (_convolution("shortcut", inputs, outputs, 1, side, element_bytes),)
        return Layer(name, (*row[:-1], add), shortcut, residual=True)


@dataclass(frozen=True)
class Recommender:
    """DLRM (Naumov et al., 2019): embedding tables beside a bottom network; dot products of all; a top network.

    Attributes:
        tables, rows, width: embedding tables, rows of each on average, numbers in a row; `width` is the bottom's output too.
        lookups: of each table for a request.
        dense: inputs of the bottom network.
        bottom, top: widths of two hidden layers of each.
    """

    tables: int
    rows: int
    width: int
    lookups: int = 1
    dense: int = 13
    bottom: int = 512
    top: int = 512

    def architecture(self, name: str, element_bytes: int) -> Architecture:
        """Tables with the bottom network beside them, then the rest."""
        tables = _lookup("tables", self.tables * self.lookups, self.tables * self.rows, self.width, element_bytes,
                         kept=self.tables / (self.tables * self.lookups))
        bottom = _network("bottom", (self.dense, self.bottom, self.bottom // 2, self.width), element_bytes)
        vectors = self.tables + 1
        pairs = vectors * (vectors - 1) // 2
        dots = Operator("dots", "whole", 2.0 * pairs * self.width, (vectors * self.width + pairs) * element_bytes, 0.0,
                        (pairs + self.width) * element_bytes)
        top = _network("top", (pairs + self.width, self.top, self.top // 2, 1), element_bytes)
        return Architecture(name, (Layer("tables", (tables,), bottom), Layer("top", (dots, *top))))


def _matmul(name: str, rows: float, inputs: int, outputs: int, element_bytes: int, read: bool = True) -> Operator:
    moved = rows * ((inputs if read else 0) + outputs) * element_bytes
    return Operator(name, "matmul", 2 * rows * inputs * outputs, moved, inputs * outputs * element_bytes,
                    rows * outputs * element_bytes)


def _pointwise(name: str, size: float) -> Operator:
    return Operator(name, "pointwise", moved_bytes=2 * size, output_bytes=size)


def _convolution(name: str, inputs: int, outputs: int, kernel: int, side: int, element_bytes: int) -> Operator:
    weights = inputs * outputs * kernel**2
    return Operator(name, "matmul", 2.0 * weights * side**2, (inputs + outputs) * side**2 * element_bytes,
                    weights * element_bytes, outputs * side**2 * element_bytes)


def _lookup(name: str, lookups: int, rows: int, width: int, element_bytes: int, kept: float = 1.0) -> Operator:
    """Rows read and written; `kept` of them come out, the others are summed up."""
    read = lookups * width * element_bytes
    return Operator(name, "lookup", moved_bytes=read * (1 + kept), weight_bytes=float(rows) * width * element_bytes,
                    output_bytes=read * kept)


def _network(name: str, widths: tuple[int, ...], element_bytes: int) -> tuple[Operator, ...]:
    row: list[Operator] = []
    for i, (inputs, outputs) in enumerate(pairwise(widths)):
        row += [_matmul(f"{name} {i + 1}", 1.0, inputs, outputs, element_bytes),
                _pointwise("relu", outputs * element_bytes)]
    return tuple(row)


Sizes = Transformer | ResNet | Recommender
KINDS: dict[str, type[Transformer] | type[ResNet] | type[Recommender]] = {
    "transformer": Transformer, "resnet": ResNet, "recommender": Recommender}

SIZES: dict[str, Sizes] = {
    # AlpaServe (Li et al., OSDI 2023); its code says "2.6b" for 2.7b, and its GPTs are the same with 1024 tokens
    **{f"bert-{name}": Transformer(sequence, hidden, layers, heads, 51200, one_hot=1)
       for name, sequence, hidden, layers, heads in (
           ("125m", 2048, 768, 12, 12), ("1.3b", 2048, 2048, 24, 32), ("2.6b", 2048, 2560, 32, 32),
           ("6.7b", 2048, 4096, 32, 32), ("15b", 2048, 5120, 48, 40), ("39b", 2048, 8192, 48, 64),
           ("76b", 2048, 10240, 60, 80), ("104b", 1024, 8192, 128, 64))},
    "bert-base": Transformer(512, 768, 12, 12, 30522),  # Devlin et al., 2019
    "bert-large": Transformer(512, 1024, 24, 16, 30522),
    **{f"resnet{depth}": ResNet(depth) for depth in ResNet.BLOCKS},
    "dlrm-kaggle": Recommender(26, 1_298_561, 16),  # 33.8 million rows in all
}


def architecture(description: str, element_bytes: int = 2) -> Architecture:
    """A model by name, or by kind and sizes.

    Args:
        description: a name in `SIZES`, or ``kind:size=number,...`` with a kind of `KINDS` and its attributes.
        element_bytes: of one weight or activation.

    Raises:
        ValueError: no such model or kind, or sizes that are missing, unknown or not whole numbers above 0.
    """
    kind, colon, text = description.partition(":")
    if not colon:
        if kind not in SIZES:
            near = difflib.get_close_matches(kind, SIZES, 1)
            meant = f", did you mean '{near[0]}'?" if near else "."
            raise ValueError(f"no model '{kind}'{meant} Known: {', '.join(SIZES)}; or give {_usage()}")
        return SIZES[kind].architecture(kind, element_bytes)
    if kind not in KINDS:
        raise ValueError(f"no kind of model '{kind}'; give {_usage()}")
    return _own(kind, text).architecture(description, element_bytes)


def _own(kind: str, text: str) -> Sizes:
    known = {field.name: field for field in fields(KINDS[kind])}
    given: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, _, number = part.partition("=")
        if name not in known or not number.isdecimal():
            raise ValueError(f"{kind}: '{part}' is not a size; give NAME=WHOLE NUMBER of {', '.join(known)}")
        given[name] = int(number)
    missing = [name for name, field in known.items() if field.default is MISSING and name not in given]
    if missing or not prod(n for name, n in given.items() if name != "one_hot"):
        raise ValueError(f"{kind}: give {', '.join(missing)}" if missing else f"{kind}: sizes are above 0")
    return KINDS[kind](**given)


def _usage() -> str:
    return " or ".join(f"{kind}:{'=..,'.join(f.name for f in fields(made) if f.default is MISSING)}=.."
                       for kind, made in KINDS.items())

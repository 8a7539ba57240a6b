"""EdgeShard: a model's layers partitioned over unequal devices and links, for least latency or most throughput.

Zhang et al., IEEE Internet of Things Journal 12(10), 2025 (arXiv 2405.14371). A partition is a row of shards, each of
consecutive layers on a device of its own; the first is on the source, where requests come from and answers go to, so that no
input leaves it. With W(d, i, j) the seconds of layers i .. j on device d and C(d, e, i) those of sending what layer i gives,

    latency:     F(j, e, S + e) = min over i, d of  F(i, d, S) + C(d, e, i) + W(e, i + 1, j)
    throughput:  the same with the largest in place of the sum: devices and links work on different requests at a time

over sets S of devices used. Devices of one kind are alike, so that S is how many of each kind: both programmes are exact, and
polynomial where kinds are few (the paper's runs over all subsets; its latency programme goes layer by layer and keeps one
memory state for each device, which can miss the optimum).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np

Goal = Literal["latency", "throughput"]


class Shard(NamedTuple):
    """Consecutive layers, and the kind of device that has them."""

    kind: int
    layers: range


Partition = tuple[Shard, ...]


@dataclass(frozen=True)
class EdgeKind:
    """Devices that are alike.

    Attributes:
        name: of the kind.
        count: how many there are.
        layer_s: seconds of each layer.
        memory_bytes: of one device, for weights.
    """

    name: str
    count: int
    layer_s: tuple[float, ...]
    memory_bytes: float


@dataclass(frozen=True, eq=False)
class EdgeProblem:
    """A model and where it may run.

    Attributes:
        kinds: of devices; the first is the source, of which there is one.
        weight_bytes: of each layer.
        output_bytes: what each layer gives; the last is the answer.
        bytes_per_s: (kinds, kinds), between a device of one kind and one of another (or of the same).
        latency_s: of one message.

    Raises:
        ValueError: tables of unlike length, or not exactly one source.
    """

    kinds: tuple[EdgeKind, ...]
    weight_bytes: tuple[float, ...]
    output_bytes: tuple[float, ...]
    bytes_per_s: np.ndarray
    latency_s: float

    def __post_init__(self) -> None:
        if any(len(kind.layer_s) != len(self.weight_bytes) for kind in self.kinds) or len(self.output_bytes) != self.layers:
            raise ValueError(f"{self.layers} layers have weights: give as many outputs, and times on every kind of device")
        if self.kinds[0].count != 1:
            raise ValueError(f"{self.kinds[0].count} devices of the kind {self.kinds[0].name}: the first is the one source")

    @property
    def layers(self) -> int:
        """How many."""
        return len(self.weight_bytes)

    def send_s(self, sender: int, receiver: int, layer: int) -> float:
        """What a layer gives, from a device of one kind to one of another."""
        return self.latency_s + self.output_bytes[layer] / self.bytes_per_s[sender, receiver]

    def only(self, kinds: Sequence[int]) -> EdgeProblem:
        """The same with some of the kinds, the source among them."""
        chosen = list(kinds)
        return EdgeProblem(tuple(self.kinds[k] for k in chosen), self.weight_bytes, self.output_bytes,
                           self.bytes_per_s[np.ix_(chosen, chosen)], self.latency_s)


def partition(problem: EdgeProblem, goal: Goal) -> Partition:
    """The partition of least latency, or of the fastest bottleneck; of equal ones one with few shards.

    Raises:
        ValueError: the model does not fit on all devices together.
    """
    work = [_work_s(problem, k) for k in range(len(problem.kinds))]
    first = _State(tuple(int(k == 0) for k in range(len(problem.kinds))), 0)
    reached = {first: _Reached(work[0][0], None, np.zeros(problem.layers + 1, int))}
    best: tuple[float, _State] | None = None
    level = [first]
    while level:
        for state in level:
            value = _with_answer(problem, goal, state.last, float(reached[state].value[-1]))
            if value < np.inf and (best is None or value < best[0]):
                best = (value, state)
        found: dict[_State, _Reached] = {}
        for state in level:
            for k, kind in enumerate(problem.kinds):
                if state.used[k] < kind.count:
                    after = _State(tuple(n + (i == k) for i, n in enumerate(state.used)), k)
                    _extend(problem, goal, work[k], state, reached[state].value, after, found)
        reached.update(found)
        level = list(found)
    if best is None:
        raise ValueError(f"{sum(problem.weight_bytes) / 1e9:.4g} GB of weights do not fit on these devices")
    return _traced(problem, reached, best[1])


def even(problem: EdgeProblem, kinds: Sequence[int]) -> Partition:
    """As many layers for each of these devices, in this order, to the nearest whole number."""
    cuts = [round(problem.layers * i / len(kinds)) for i in range(len(kinds) + 1)]
    return tuple(Shard(k, range(a, b)) for k, (a, b) in zip(kinds, pairwise(cuts), strict=True))


def fits(problem: EdgeProblem, shards: Partition) -> bool:
    """Whether each device holds the weights of its shard."""
    return all(sum(problem.weight_bytes[i] for i in layers) <= problem.kinds[kind].memory_bytes for kind, layers in shards)


def steps_s(problem: EdgeProblem, shards: Partition) -> tuple[float, ...]:
    """Seconds of each device and, between them and at the end, of each link that a request passes, in order."""
    steps: list[float] = []
    for shard, after in zip(shards, (*shards[1:], None)):
        steps.append(sum(problem.kinds[shard.kind].layer_s[i] for i in shard.layers))
        if after is not None:
            steps.append(problem.send_s(shard.kind, after.kind, shard.layers.stop - 1))
        elif shard.kind:
            steps.append(problem.send_s(shard.kind, 0, shard.layers.stop - 1))
    return tuple(steps)


def tokens_per_s(steps: Sequence[float], in_flight: int) -> float:
    """Tokens per second of sequences that each begin a token when the one before is answered.

    Exact for constant times: either all sequences wait for themselves, or the slowest step is never idle.
    """
    return min(in_flight / sum(steps), 1 / max(steps))


class _State(NamedTuple):
    """How many devices of each kind have a shard, and the kind of the last."""

    used: tuple[int, ...]
    last: int


class _Reached(NamedTuple):
    """By number of layers done: the best value, the state before the last shard, and the layers done in it."""

    value: np.ndarray
    before: list[_State | None] | None
    start: np.ndarray


def _work_s(problem: EdgeProblem, kind: int) -> np.ndarray:
    """(layers + 1, layers + 1): seconds of layers i .. j - 1; inf where there are none, or they do not fit."""
    seconds = np.cumsum([0.0, *problem.kinds[kind].layer_s])
    held = np.cumsum([0.0, *problem.weight_bytes])
    i, j = np.indices((problem.layers + 1,) * 2)
    possible = (i < j) & (held[j] - held[i] <= problem.kinds[kind].memory_bytes * (1 + 1e-12))
    return np.where(possible, seconds[j] - seconds[i], np.inf)


def _extend(problem: EdgeProblem, goal: Goal, work_s: np.ndarray, state: _State, value: np.ndarray, after: _State,
            found: dict[_State, _Reached]) -> None:
    """One more shard, on a device of the kind `after.last`, from every number of layers done to every larger one."""
    send_s = np.array([0.0, *(problem.send_s(state.last, after.last, i) for i in range(problem.layers))])
    if goal == "latency":
        total = (value + send_s)[:, None] + work_s
    else:
        total = np.maximum(np.maximum(value, send_s)[:, None], work_s)
    start = total.argmin(axis=0)
    best = total[start, np.arange(len(start))]
    if after not in found:
        nothing: list[_State | None] = [None] * len(start)
        found[after] = _Reached(np.full(len(start), np.inf), nothing, np.zeros(len(start), int))
    known = found[after]
    assert known.before is not None
    for j in np.flatnonzero(best < known.value):
        known.value[j], known.start[j], known.before[j] = best[j], start[j], state


def _with_answer(problem: EdgeProblem, goal: Goal, last: int, value: float) -> float:
    answer_s = problem.send_s(last, 0, problem.layers - 1) if last else 0.0
    return value + answer_s if goal == "latency" else max(value, answer_s)


def _traced(problem: EdgeProblem, reached: dict[_State, _Reached], state: _State | None) -> Partition:
    shards: list[Shard] = []
    stop = problem.layers
    while state is not None:
        found = reached[state]
        start = int(found.start[stop])
        shards.insert(0, Shard(state.last, range(start, stop)))
        state, stop = (found.before[stop] if found.before is not None else None), start
    return tuple(shards)

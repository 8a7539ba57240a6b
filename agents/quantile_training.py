"""Trains the quantile forecaster on the training parts of several traces, and says what it is worth on their validation parts.

    python -m agents.quantile_training                     # the one that Tidal ships, in minutes on one core
    python -m agents.quantile_training --scores            # only the table, of the one that is there

Pinball loss, AdamW. Every batch mixes traces (equally often, each with as many users as make 100 req/s), scales (the same
shape at mean loads of `MEANS_RPS`), lengths of an interval and lengths of the history, since a forecast is wanted from the
second observation on. Requests are counted with Poisson noise, as the simulator draws them. The last fifth of each training
part chooses when to stop; validation is only scored.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console
from torch import nn

from agents.quantile_forecaster import (
    FARTHEST,
    FEATURES,
    LEADS,
    LEVELS,
    MEMORY,
    PRETRAINED,
    LearnedQuantiles,
    features,
    floored,
    write,
)
from traces.splits import Split
from traces.workload import Opened, Workload
from traces.workload import open as open_workload

TRACES = ("twitter_2021", "nasa_1995_jul", "worldcup_1998", "alibaba_genai_2024")
USERS_RPS, MEANS_RPS, INTERVALS_S = 100.0, (20.0, 100.0, 400.0), (10.0, 30.0)
CHOOSING_RATIO = 0.2
HIDDEN, BATCH, STEPS, RATE, DECAY, SEED = 96, 768, 10_000, 2e-3, 1e-4, 0
EVERY = 500  # steps between looks at the choosing part


@dataclass(frozen=True, eq=False)
class Series:
    """Mean loads (req/s) of consecutive intervals, as they are counted."""

    rps: np.ndarray
    interval_s: float

    @cached_property
    def changes(self) -> np.ndarray:
        """(leads,) mean size of the logarithm of load to come / load now: losses are relative to it: smooth traces count."""
        loads = np.log(floored(self.rps, self.interval_s))
        return np.array([max(float(np.abs(loads[lead:] - loads[:-lead]).mean()), 1e-3) for lead in LEADS])


class Lessons(NamedTuple):
    """What the forecaster would have seen, and what came."""

    inputs: np.ndarray  # (n, FEATURES)
    targets: np.ndarray  # (n, leads) logarithm of load to come / last load
    weights: np.ndarray  # (n, leads) of the loss


def counted(trace: str, split: Split, mean_rps: float, interval_s: float, rng: np.random.Generator) -> Series:
    """A part of a trace at a mean load, as requests per interval."""
    load, span_s, base_rps = _opened(trace, split)
    edges_s = np.arange(int(span_s // interval_s) + 1) * interval_s
    total = np.concatenate([[0.0], np.cumsum(load.rate_rps * load.bin_s)])
    expected = np.diff(np.interp(edges_s, np.arange(len(total)) * load.bin_s, total))
    return Series(rng.poisson(expected * mean_rps / base_rps) / interval_s, interval_s)


@lru_cache(maxsize=1)  # for all scales and intervals
def _opened(trace: str, split: Split) -> Opened:
    return open_workload(Workload(trace, split=split, mean_rps=USERS_RPS))


def lessons(series: Series, ends: np.ndarray, known: np.ndarray) -> Lessons:
    """Histories that end before each of `ends` (n,), of `known` (n,) intervals, and the loads at the leads after."""
    back = ends[:, None] + np.arange(-MEMORY, 0)
    seen = np.where(np.arange(MEMORY) >= MEMORY - known[:, None], series.rps[np.maximum(back, 0)], np.nan)
    ahead = floored(series.rps[ends[:, None] + np.array(LEADS) - 1], series.interval_s)
    last = floored(seen[:, -1:], series.interval_s)
    targets = np.clip(np.log(ahead / last), -FARTHEST, FARTHEST)
    return Lessons(features(seen, series.interval_s), targets, np.broadcast_to(1 / series.changes, targets.shape))


def drawn(several: Sequence[Series], count: int, rng: np.random.Generator) -> Lessons:
    """Lessons from random moments, of each series equally many; half of the histories are short."""
    parts = []
    for series in several:
        n = -(-count // len(several))
        ends = rng.integers(1, len(series.rps) - LEADS[-1] + 1, n)
        known = np.where(rng.random(n) < 0.5, MEMORY, np.exp(rng.uniform(0, np.log(MEMORY), n)).astype(np.int64))
        parts.append(lessons(series, ends, np.minimum(np.minimum(known, ends), MEMORY)))
    return Lessons(*(np.concatenate(column) for column in zip(*parts)))


class Network(nn.Module):
    """`agents.quantile_forecaster.run` as torch sees it."""

    def __init__(self, hidden: int = HIDDEN) -> None:
        super().__init__()
        sizes = (FEATURES, hidden, hidden, len(LEADS) * len(LEVELS))
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.skip = nn.Linear(FEATURES, sizes[-1], bias=False)  # so that what is linear needs no hidden units
        nn.init.zeros_(self.skip.weight)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(n, FEATURES) to (n, leads, Q), rising along Q."""
        x = inputs
        for layer in self.layers[:-1]:
            x = torch.tanh(layer(x))
        x = (self.layers[-1](x) + self.skip(inputs)).view(-1, len(LEADS), len(LEVELS))
        return torch.cat([x[..., :1], nn.functional.softplus(x[..., 1:])], -1).cumsum(-1)

    def weights(self) -> dict[str, np.ndarray]:
        """By name, as `agents.quantile_forecaster.run` takes them."""
        named = {f"{name}.{i}": getattr(layer, name) for i, layer in enumerate(self.layers) for name in ("weight", "bias")}
        return {name: value.detach().numpy().copy() for name, value in (*named.items(), ("skip", self.skip.weight))}


def pinball(found: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Mean pinball loss of quantiles (n, leads, Q) for targets (n, leads), with weights (n, leads)."""
    behind = targets[..., None] - found
    loss = torch.maximum(behind * LEVELS_T, behind * (LEVELS_T - 1)).mean(-1)
    return (loss if weights is None else loss * weights).mean()


LEVELS_T = torch.tensor(LEVELS, dtype=torch.float32)


def train(training: Sequence[Series], choosing: Sequence[Series], steps: int = STEPS, seed: int = SEED,
          tell: Callable[[str], None] = lambda text: None) -> Network:
    """The network of the lowest loss on the choosing part."""
    torch.manual_seed(seed)
    rng, network = np.random.default_rng(seed), Network()
    judged = _tensors(drawn(choosing, 20_000, np.random.default_rng(seed + 1)))
    adam = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps, RATE * 0.03)
    best, kept = np.inf, copy.deepcopy(network.state_dict())
    for step in range(1, steps + 1):
        inputs, *wanted = _tensors(drawn(training, BATCH, rng))
        loss = pinball(network(inputs), *wanted)
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        adam.step()
        schedule.step()
        if step % EVERY == 0 or step == steps:
            with torch.no_grad():
                found = float(pinball(network(judged[0]), *judged[1:]))
            tell(f"step {step} of {steps}: pinball loss {found:.4f} of the mean change, on the choosing part")
            if found < best:
                best, kept = found, copy.deepcopy(network.state_dict())
    network.load_state_dict(kept)
    return network


def _tensors(made: Lessons) -> list[torch.Tensor]:
    return [torch.from_numpy(np.ascontiguousarray(column, np.float32)) for column in made]


def parts(traces: Sequence[str], seed: int) -> tuple[list[Series], list[Series]]:
    """Training parts of all traces, scales and intervals: what is learnt from, and the end that chooses."""
    rng, training, choosing = np.random.default_rng(seed), [], []
    for trace in traces:
        for mean_rps in MEANS_RPS:
            for interval_s in INTERVALS_S:
                series = counted(trace, "train", mean_rps, interval_s, rng)
                cut = int(len(series.rps) * (1 - CHOOSING_RATIO))
                training.append(Series(series.rps[:cut], interval_s))
                choosing.append(Series(series.rps[cut:], interval_s))
    return training, choosing


def main(argv: Sequence[str] | None = None) -> int:
    """Trains, writes the folder, prints the scores. Returns the exit code."""
    top = argparse.ArgumentParser(prog="python -m agents.quantile_training", description="Trains the quantile forecaster.")
    top.add_argument("--traces", default=",".join(TRACES), metavar="NAME,...", help="their training parts (%(default)s)")
    top.add_argument("--steps", type=int, default=STEPS, help="of the optimiser (%(default)s)")
    top.add_argument("--seed", type=int, default=SEED, help="(%(default)s)")
    top.add_argument("--out", type=Path, default=PRETRAINED, metavar="FOLDER", help="manifest and weights (%(default)s)")
    top.add_argument("--scores", action="store_true", help="train nothing, score what is there")
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = top.parse_args(words)
    torch.set_num_threads(1)
    from agents.quantile_scores import scores, table

    try:
        if not arguments.scores:
            _make(arguments, words)
        found = scores(LearnedQuantiles(arguments.out), arguments.traces.split(","))
    except (ValueError, OSError) as error:
        print(f"quantile_training: {error}", file=sys.stderr)
        return 2
    Console(width=110, highlight=False).print(table(found))
    return 0


def _make(arguments: argparse.Namespace, words: Sequence[str]) -> None:
    began = time.process_time()
    traces = arguments.traces.split(",")
    network = train(*parts(traces, arguments.seed), arguments.steps, arguments.seed, lambda text: print(text, flush=True))
    cpu_s = time.process_time() - began
    told: Mapping[str, object] = {
        "command": " ".join(["python -m agents.quantile_training", *words]), "traces": traces, "means_rps": MEANS_RPS,
        "intervals_s": INTERVALS_S, "steps": arguments.steps, "seed": arguments.seed, "cpu_s": round(cpu_s, 1),
    }
    write(arguments.out, network.weights(), min(INTERVALS_S), max(INTERVALS_S), told)
    print(f"forecaster: {arguments.out}, {cpu_s:.0f} s of CPU")


if __name__ == "__main__":
    sys.exit(main())

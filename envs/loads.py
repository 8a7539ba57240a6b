"""The load of an evaluation: a scenario's workload, or another trace at the scenario's mean load, and windows spread over it.

A shared trace has validation days of its own. A generator has none: its validation load is another draw, of the workload's
seed + `HELD_OUT_SEEDS`, so that nothing tuned or trained on the scenario's own draw has seen it. A file has no parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from envs.scenario import Scenario, Workload
from traces.generators import GENERATORS
from traces.load import Load
from traces.splits import Split
from traces.workload import Opened
from traces.workload import Workload as Played
from traces.workload import open as open_workload

HELD_OUT_SEEDS = 1000
DAY_S = 86_400.0


@dataclass(frozen=True)
class Loads:
    """What arrives at each application.

    Attributes:
        loads: by application; their time 0 is the start of the split.
        span_s: how long all of them last.
        trace: name, short enough for a table.
        told: the same in words: trace, split, factor, mean rate.
    """

    loads: Mapping[str, Load]
    span_s: float
    trace: str
    told: str


def open_loads(scenario: Scenario, trace: str | None, split: Split, needed_s: float) -> Loads:
    """Opens the scenario's workload, or `trace` scaled to the mean load that the scenario's own workload has.

    Args:
        scenario: its workload says how each application's trace is played.
        trace: name or path that takes the place of every application's trace; None for the scenario's own.
        split: which part of a trace that has parts.
        needed_s: how long a generated load must last at least, seconds.

    Raises:
        TraceError: a trace is unknown or faulty, or has no such split.
        ValueError: a part of a workload does not fit another.
    """
    loads: dict[str, Load] = {}
    spans, words, names = [], [], []
    for application, workload in scenario.workload.items():
        name = workload.trace if trace is None else trace
        playing = opened(workload, trace, split, needed_s)
        label = f"{application}: " if len(scenario.workload) > 1 else ""
        factor = _factor(workload, name, playing, split, needed_s)
        words.append(f"{label}{_named(name, split)}, mean {playing.mean_rps:.4g} req/s{factor}")
        names.append(Path(name).stem if Path(name).is_file() else name)
        loads[application] = playing.load
        spans.append(playing.span_s)
    return Loads(loads, min(spans), "+".join(dict.fromkeys(names)), "; ".join(words))


def opened(workload: Workload, trace: str | None, split: Split, needed_s: float) -> Opened:
    """One application's workload, or another trace at the mean load that its own has (see `open_loads`)."""
    return _open(workload, workload.trace, split, needed_s) if trace is None else _replaced(workload, trace, split, needed_s)


def spread(span_s: float, window_s: float, count: int, grid_s: float) -> list[float]:
    """Starts of `count` windows spread evenly over a span, on a grid; the first at its start and the last at its end.

    Raises:
        ValueError: a window is longer than the span.
    """
    if window_s > span_s + 1e-6:
        raise ValueError(
            f"a window of {window_s / 3600:g} h does not fit into a load of {span_s / 3600:.3g} h; give fewer --hours"
        )
    if count == 1:
        return [0.0]
    return [float(np.floor(i * (span_s - window_s) / (count - 1) / grid_s + 1e-9) * grid_s) for i in range(count)]


def _open(
    workload: Workload, trace: str, split: Split, needed_s: float, mean_rps: float | None = None, plain: bool = False
) -> Opened:
    """Opens a trace as a workload says: at its own scale, at a given mean, or (`plain`) as it is."""
    generated, file = trace in GENERATORS, Path(trace).is_file()
    wanted_rps = None if plain else mean_rps or workload.mean_rps
    scale = 1.0 if plain or wanted_rps else workload.scale or 1.0
    return open_workload(
        Played(
            trace=trace,
            split=None if generated or file else split,
            length_s=max(DAY_S, needed_s) if generated else None,
            scale=scale,
            mean_rps=wanted_rps,
            scaling=workload.scaling,
            arrivals=workload.arrivals,
            cv=workload.cv,
            states=workload.states,
            seed=workload.seed + (HELD_OUT_SEEDS if generated and split == "val" else 0),
        )
    )


def _replaced(workload: Workload, trace: str, split: Split, needed_s: float) -> Opened:
    """Another trace at the mean load of the workload's own."""
    mean_rps = workload.mean_rps or _open(workload, workload.trace, split, needed_s).mean_rps
    return _open(workload, trace, split, needed_s, mean_rps)


def _factor(workload: Workload, trace: str, playing: Opened, split: Split, needed_s: float) -> str:
    """' (0.431 x the trace)', or nothing where a trace is played as it is."""
    natural = _open(workload, trace, split, needed_s, plain=True).mean_rps
    factor = playing.mean_rps / natural if natural > 0 else float("nan")
    return "" if abs(factor - 1) < 1e-6 else f" ({factor:.3g} x the trace)"


def _named(trace: str, split: str) -> str:
    if trace in GENERATORS:
        return f"{trace} ({'held-out draw' if split == 'val' else 'training draw'})"
    return (
        f"{Path(trace).name} (all of it)"
        if Path(trace).is_file()
        else f"{trace} ({'validation' if split == 'val' else 'training'} part)"
    )

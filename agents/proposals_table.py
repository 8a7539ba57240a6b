"""What each proposal would have earned in each interval of many windows of load, played in the kernel.

Load does not hang on what is decided: one play of each proposal tells every counterfactual. What it leaves out is what one
proposal's queues would have left to the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from agents.proposals import Proposals
from envs.clusters import Clusters
from envs.reward import pricing, terms
from envs.routes import hosting_of, share_out
from envs.scenario import Scenario
from traces.load import RECORDED, Load, span_s


class Window(NamedTuple):
    """A stretch of load: what arrives, from when on, times what, and the seed of its requests."""

    loads: Mapping[str, Load]
    start_s: float
    scale: float
    seed: int


class Table(NamedTuple):
    """W windows of T intervals.

    Attributes:
        rps: (W, T, A) counted load of each application.
        accuracy, violation: (W, T, M) of each proposal; in the first interval all are the initial one.
    """

    rps: np.ndarray
    accuracy: np.ndarray
    violation: np.ndarray

    def of(self, windows: np.ndarray) -> Table:
        """Some of the windows."""
        return Table(*(part[windows] for part in self))


def routed(scenario: Scenario) -> bool:
    """Whether shares of the load are part of a decision: where every candidate hosts one variant."""
    return all(len(candidate.variants) == 1 for candidate in scenario.candidates)


def play(scenario: Scenario, proposals: Proposals, windows: Sequence[Window], intervals: int) -> Table:
    """Plays every proposal on every window, routes following the load where there are any."""
    problem, count = proposals.problem(scenario), len(proposals)
    hosting = hosting_of(problem) if routed(scenario) else None
    prices, first = pricing(problem, problem.kinds), np.tile(proposals.counts[0], (count, 1))
    rps = np.empty((len(windows), intervals, len(scenario.applications)))
    accuracy, violation = np.empty((2, len(windows), intervals, count))
    for w, window in enumerate(windows):
        clusters = Clusters(problem, window.loads, count)
        clusters.begin([window.seed] * count, [window.start_s] * count, [window.scale] * count)
        for t in range(intervals):
            shares = np.zeros_like(clusters.shares)
            if t and hosting is not None:
                shares = share_out(hosting, proposals.counts, clusters.view.service_rps)
            clusters.advance(proposals.counts if t else first, shares)
            found = terms(prices, clusters.truth, 0.0, scenario.interval_s)
            rps[w, t] = clusters.truth.offered_rps[0]
            accuracy[w, t], violation[w, t] = found.accuracy, found.violation
    return Table(rps, accuracy, violation)


def draw_windows(scenario: Scenario, sources: Sequence[Mapping[str, Load]], count: int, intervals: int,
                 scales: tuple[float, float], rng: np.random.Generator, turn: bool = True) -> list[Window]:
    """Windows anywhere in the sources, as many of each, at scales that are log-uniform.

    With `turn`, applications that play different traces meet each other at other times too: each trace is turned by a random
    time.

    Raises:
        ValueError: a source is shorter than a window.
    """
    length_s, windows = intervals * scenario.interval_s, []
    for i in range(count):
        source = sources[i % len(sources)]
        loads = turned(scenario, source, rng) if turn else source
        span = min(map(span_s, loads.values()))
        if span < length_s:
            raise ValueError(f"a load of {span:.0f} s is too short for windows of {length_s:.0f} s: give a longer trace")
        start_s = float(rng.uniform(0, span - length_s)) // scenario.interval_s * scenario.interval_s
        windows.append(Window(loads, start_s, float(np.exp(rng.uniform(*np.log(scales)))), int(rng.integers(2**31))))
    return windows


def turned(scenario: Scenario, loads: Mapping[str, Load], rng: np.random.Generator) -> Mapping[str, Load]:
    """The loads, each trace but the first beginning at a random time of its own and going round; recorded ones as they are."""
    traces = {name: (workload.trace, workload.seed) for name, workload in scenario.workload.items()}
    first = next(iter(traces.values()))
    part = {trace: 0.0 if trace == first else float(rng.random()) for trace in dict.fromkeys(traces.values())}
    return {name: load if load.model == RECORDED else
            load._replace(rate_rps=np.roll(load.rate_rps, -int(part[traces[name]] * load.rate_rps.size)))
            for name, load in loads.items()}

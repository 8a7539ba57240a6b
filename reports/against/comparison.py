"""One case on both sides, and how far they are from each other."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

from agents import registry
from envs.loads import open_loads
from envs.scenario import Scenario
from reports.against.cases import Case
from reports.against.live import Lived, lived, measured
from reports.against.side import FIGURES, Side, counts_within, same_decisions, units_within
from reports.against.simulated import Arrivals, fed, simulated
from runtime.measured_times import MeasuredTimes, calibrated
from traces.samplers import draw

Result = dict[str, Any]
SENT_LATE = 0.01  # of the requests; more, and this machine could not keep up


def compare(case: Case, trace: str | None, seconds: float, repeats: int, folder: Path, say: Callable[[str], None]) -> Result:
    """Plays a case live, some times over, and in the simulator with the times that this cluster was measured to take.

    Args:
        case: the problem.
        trace: in place of the scenario's.
        seconds: of load in each live run.
        repeats: live runs.
        folder: for all that the live side writes.
        say: is told what is done now.

    Raises:
        ValueError: the time is shorter than an interval, or a policy does not fit.
        RunSpoilt, ProcessFailed: a live run came to nothing.
    """
    scenario = case.problem()
    intervals = math.floor(seconds / scenario.interval_s + 1e-6)
    if intervals < 2:
        raise ValueError(f"--live {seconds:g}: give at least two intervals of {case.name}, {2 * scenario.interval_s:g} s")
    registry.make(case.policy, scenario)  # that there is none is told before anything runs
    arrivals = _arrivals(case, trace, intervals * scenario.interval_s)
    count = sum(len(due_s) for due_s in arrivals.values())
    say(f"{case.name}: {count} requests in {intervals} intervals of {scenario.interval_s:g} s, {repeats} times")
    times = measured(scenario, case.models, count / (intervals * scenario.interval_s), folder)
    say(f"  idle: answers {1e3 * times.message_s:.2f} ms later, servers held {1e3 * times.hold_s:.2f} ms longer, "
        f"{times.load_slowdown:.2f} times as long beside a load")
    runs: list[Lived] = []
    for number in range(repeats):
        runs.append(lived(scenario, case.models, case.policy, arrivals, intervals, case.seed, folder / f"run-{number}"))
        figures = runs[-1].side.figures()
        say(f"  live {number + 1}: {100 * figures['attainment']:.2f} % in time, p99 {1e3 * figures['p99']:.0f} ms, "
            f"{100 * runs[-1].sent_late:.2f} % sent late")
    decided_s = [run.decide_s for run in runs if not math.isnan(run.decide_s)]
    times = replace(times, decide_s=median(decided_s) if decided_s else 0.0)
    side, as_written = (_simulated(case, calibrated(scenario, known), scenario, arrivals, intervals)
                        for known in (times, MeasuredTimes(0.0, 0.0)))  # fmt: skip
    return {
        "case": case.name, "told": case.told, "scenario": case.scenario, "policy": case.policy, "speed": case.speed,
        "seconds": intervals * scenario.interval_s, "intervals": intervals, "interval_s": scenario.interval_s,
        "requests": count, "repeats": repeats, "times": asdict(times), "figures": _figures(side, as_written, runs),
        "fed_equal": [_fed_equal(case, scenario, run) for run in runs],
        "closed_loop": [_closed(side, run.side) for run in runs],
        "by": [dict(run.by) for run in runs], "sent_late": [run.sent_late for run in runs],
        "kept_up": max(run.sent_late for run in runs) <= SENT_LATE,
    }  # fmt: skip


def _arrivals(case: Case, trace: str | None, span_s: float) -> Arrivals:
    """When requests are due: the trace's, played faster."""
    as_is = case.scenario_as_is()
    loads = open_loads(as_is, trace, "val", case.start_s + span_s * case.speed)
    return {name: draw(load, case.seed, case.start_s, span_s * case.speed) / case.speed for name, load in loads.loads.items()}


def _simulated(case: Case, scenario: Scenario, told: Scenario, arrivals: Arrivals, intervals: int) -> Side:
    return simulated(scenario, registry.make(case.policy, told), arrivals, intervals, case.seed, told)


def _fed_equal(case: Case, scenario: Scenario, run: Lived) -> float:
    """Share of the live decisions that the policy repeats when it is shown what was seen live."""
    again = fed(registry.make(case.policy, scenario), run.observations, scenario)
    return float(np.mean([a == b for a, b in zip(again, run.side.decisions, strict=True)]))


def _closed(simulated_side: Side, live: Side) -> dict[str, float]:
    """Share of intervals in which each side, deciding for itself, comes to the same."""
    return {
        "same_replicas_wanted": same_decisions(simulated_side.decisions, live.decisions),
        "counts_within_1": counts_within(simulated_side.ready, live.ready),
        "units_within_1": units_within(simulated_side.ready, live.ready),
    }


def _figures(side: Side, as_written: Side, runs: Sequence[Lived]) -> dict[str, Any]:
    """By figure: simulated, as the scenario is written and with measured times; live, each run; and their difference."""
    simulated_, written, live = side.figures(), as_written.figures(), [run.side.figures() for run in runs]
    found = {}
    for name, figure in FIGURES.items():
        values = [row[name] for row in live]
        gap = mean(values) - simulated_[name]  # nan where nobody was started, or answered
        with contextlib.suppress(ZeroDivisionError):
            gap = 100 * gap / simulated_[name] if figure.relative else figure.factor * gap
        found[name] = {"simulated": simulated_[name], "as_written": written[name], "live": values, "difference": gap}
    return found

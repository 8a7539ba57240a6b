"""How long AlpaServe's placement takes to plan, and what its plans attain.

    python benchmarks/placement.py [--json FILE] [--repeats N]

60 mixed models (ten copies of each of the six published ones) at 64 req/s by a power law, gamma arrivals of CV 4, SLO 5x,
V100s of 13 GiB. CPU seconds of one plan in this process, after compiling, the median of the repeats, planned on about 30,000
requests of other seeds than those it is scored on. "On the test requests": planned on the very requests that it is scored
on, as published; the peer is then the attainment recorded by AlpaServe's program.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from baselines.alpaserve_published import MIXED, Traffic, attainment, problem
from baselines.alpaserve_search import search, search_sep
from baselines.placement import Placement, PlacementProblem, check
from baselines.placement_replay import Replay, Requests
from baselines.selective_replication import replicate
from benchmarks.rows import Row, command_line, report, row

COPIES, SLO_SCALE = 10, 5.0
TRAFFIC = Traffic(COPIES * len(MIXED), 64.0, 4.0)


class Case(NamedTuple):
    """A way to plan on so many devices, the CPU seconds that it may take, and the attainment that is recorded of it."""

    name: str
    plan: Callable[[Replay], Placement]
    devices: int
    target_s: float | None
    recorded: float


CASES = (
    Case("Selective Replication", replicate, 40, None, 0.776),
    Case("search", lambda replay: search(replay).placement, 40, 0.5, 0.986),
    Case("search", lambda replay: search(replay).placement, 24, None, 0.818),
    Case("search-sep", lambda replay: search_sep(replay).placement, 24, 2.0, 0.842),
)


def rows(case: Case, training: Requests, test: Requests, repeats: int) -> Iterator[Row]:
    """Time, and attainment planned on other requests and on the test's."""
    models = problem(MIXED * COPIES, case.devices, SLO_SCALE)
    case.plan(Replay(models, training[:100]))
    took_s, replays = [], 0
    for _ in range(repeats):
        replay, began = Replay(models, training), time.process_time()
        placement = case.plan(replay)
        took_s.append(time.process_time() - began)
        replays = replay.played
    check(models, placement)
    name = f"{case.name}, {len(models.models)} models on {case.devices} devices"
    yield row(f"{name}: plan", float(np.median(took_s)), "s", f"CPU, median of {repeats}, {replays} replays of "
              f"{len(training)} requests", target=case.target_s)
    yield row(f"{name}: attainment", _attained(models, test, placement), "ratio", "planned on other requests")
    informed = case.plan(Replay(models, test))
    yield row(f"{name}: attainment on the test requests", _attained(models, test, informed), "ratio",
              "planned on the requests that it is scored on; peer: as recorded", peer=case.recorded)


def _attained(models: PlacementProblem, test: Requests, placement: Placement) -> float:
    return attainment(test, Replay(models, test).play(placement).latency_s)


def main() -> None:
    """Measures and reports."""
    parser = command_line("CPU time of planning placements, and what they attain.")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="plans timed of each case (%(default)s)")
    arguments = parser.parse_args()
    training, test = TRAFFIC.training(), TRAFFIC.test()
    report((found for case in CASES for found in rows(case, training, test, arguments.repeats)), arguments.json)


if __name__ == "__main__":
    main()

"""How long AlpaServe's placement takes to plan, and what its plans attain.

    python benchmarks/placement.py [--json FILE] [--repeats N]

60 mixed models (ten copies of each of the six published ones) at 64 req/s by a power law, gamma arrivals of CV 4, SLO 5x,
V100s of 13 GiB. CPU seconds of one plan in this process, after compiling, the median of the repeats, planned on about 30,000
requests of other seeds than those it is scored on. "On the test requests": planned on the very requests that it is scored
on, as published; the peer is then the attainment recorded by AlpaServe's program. The better search goes on from search-sep's
plan, its time is beyond that.

"Re-planned": on 64 devices at 160 req/s the popularity of all models moves by half the list; from the placement that runs,
0.8 s of CPU are spent on three minutes of requests at the new rates, and what is under way then is finished. The peer is
AlpaServe's search from nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from baselines.alpaserve_published import MIXED, Traffic, attainment, problem
from baselines.alpaserve_search import search, search_sep
from baselines.placement import Placement, PlacementProblem, check
from baselines.placement_improve import BUDGET, JUDGED, WIDER, better, by_score, replan, requests_played
from baselines.placement_replay import Replay, Requests
from baselines.selective_replication import replicate
from benchmarks.rows import Row, command_line, report, row

COPIES, SLO_SCALE = 10, 5.0
TRAFFIC, JUDGE_SEED = Traffic(COPIES * len(MIXED), 64.0, 4.0), 2_000_000


class Case(NamedTuple):
    """A way to plan on so many devices, the CPU seconds that it may take, and the attainment that is recorded of it."""

    name: str
    plan: Callable[[Replay], Placement]
    devices: int
    target_s: float | None
    recorded: float


REPLANNED_DEVICES, REPLANNED = 64, Traffic(COPIES * len(MIXED), 160.0, 4.0)
PLANNED_ON, PLANNED_S = 30_000, 0.8  # requests, CPU seconds

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


def better_rows(training: Requests, wider: Requests, test: Requests) -> Iterator[Row]:
    """What the better search adds to search-sep on 24 devices."""
    models = problem(MIXED * COPIES, 24, SLO_SCALE)
    start = search_sep(Replay(models, training)).placement
    judge = Replay(models, TRAFFIC.training(JUDGED, JUDGE_SEED))
    better(Replay(models, wider), start, requests_played(1e5), judge=judge)
    began = time.process_time()
    found = better(Replay(models, wider), start, requests_played(BUDGET), judge=judge).placement
    took_s = time.process_time() - began
    check(models, found)
    name = f"better search, {len(models.models)} models on 24 devices"
    yield row(f"{name}: plan", took_s, "s", f"CPU, {BUDGET:g} requests replayed")
    yield row(f"{name}: attainment", _attained(models, test, found), "ratio", "planned on other requests; peer: search-sep",
              peer=_attained(models, test, start))


def replanned_rows(training: Requests, test: Requests) -> Iterator[Row]:
    """A useful plan within a second, from the one that runs."""
    models = problem(MIXED * COPIES, REPLANNED_DEVICES, SLO_SCALE)
    running = search(Replay(models, training[:PLANNED_ON])).placement
    moved, after = _moved(training[:PLANNED_ON]), _moved(test)
    replan(Replay(models, moved[:100]), running, requests_played(PLANNED_ON), 0, by_score)
    end_s = time.process_time() + PLANNED_S
    found = replan(Replay(models, moved), running, lambda scorer: time.process_time() >= end_s, 0, by_score).placement
    took_s = PLANNED_S + time.process_time() - end_s
    check(models, found)
    began = time.process_time()
    anew = search(Replay(models, moved)).placement
    anew_s = time.process_time() - began
    name = f"re-planned, {len(models.models)} models on {REPLANNED_DEVICES} devices"
    yield row(f"{name}: plan", took_s, "s", "CPU; peer: AlpaServe's search from nothing", target=1.0, peer=anew_s)
    yield row(f"{name}: attainment of what runs", _attained(models, after, running), "ratio", "after the load has moved")
    yield row(f"{name}: attainment", _attained(models, after, found), "ratio", "peer: AlpaServe's search from nothing",
              peer=_attained(models, after, anew))


def _moved(requests: Requests) -> Requests:
    """Each model is asked for as often as the one half a list away was."""
    count = COPIES * len(MIXED)
    return Requests(requests.arrival_s, (requests.model + count // 2) % count)


def _attained(models: PlacementProblem, test: Requests, placement: Placement) -> float:
    return attainment(test, Replay(models, test).play(placement).latency_s)


def main() -> None:
    """Measures and reports."""
    parser = command_line("CPU time of planning placements, and what they attain.")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="plans timed of each case (%(default)s)")
    arguments = parser.parse_args()
    training, test = TRAFFIC.training(), TRAFFIC.test()
    cases = (found for case in CASES for found in rows(case, training, test, arguments.repeats))
    report(chain(cases, better_rows(training, TRAFFIC.training(WIDER), test),
                 replanned_rows(REPLANNED.training(), REPLANNED.test())), arguments.json)


if __name__ == "__main__":
    main()

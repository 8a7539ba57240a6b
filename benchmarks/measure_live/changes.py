"""Whether requests are lost: over changes of the deployment, and when workers are killed."""

from __future__ import annotations

import itertools
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure_live.cluster import cluster, scenario
from benchmarks.measure_live.load import Played, Target, open_loop, poisson
from benchmarks.measure_live.models import BATCH_S, NOTES
from benchmarks.measure_live.tool import Tool
from benchmarks.rows import Row, row

REQUESTS, CHANGES, RATE_RPS = 100_000, 50, 1000.0
ECHO = "payload"  # the input of emulated models, which has one value
SMALL, WIDE, BATCHED, OTHER = range(4)
CANDIDATES = [
    {"variants": ["light"], "cores": [1], "batch": 8, "max_count": 4},
    {"variants": ["light"], "cores": [2], "batch": 8, "max_count": 4},
    {"variants": ["light"], "cores": [1], "batch": 16, "max_count": 4},
    {"variants": ["heavy"], "cores": [1], "batch": 8, "max_count": 4},
]
STEPS = {  # from the state before to the next; the last one leads to the first
    "scale-out": {SMALL: 3},
    "scale-in": {SMALL: 2},
    "resize": {WIDE: 2},
    "batch switch": {BATCHED: 2},
    "variant switch": {OTHER: 2},
    "back": {SMALL: 2},
}
KILL_RATE_RPS, RUN_S, WORKERS, WORKER_BATCH = 300.0, 2.0, 2, 4


def change_rows(requests: int) -> Iterator[Row]:
    """Failed and doubled requests while the deployment changes all the time."""
    latency_s = {"light": {1: 0.002, 16: 0.006}, "heavy": {1: 0.003, 16: 0.009}}
    with cluster(scenario("echo", latency_s, CANDIDATES, [2])) as live:
        tool, changes = Tool(), 0
        try:
            playing = tool.start(open_loop, Target(live.port, "echo", ECHO, 1), poisson(RATE_RPS, requests / RATE_RPS, 1))
            for step in itertools.cycle(STEPS):
                if playing.done():
                    break
                live.want(STEPS[step], CANDIDATES)
                live.settle()
                changes += step != "back"
            played, fates = playing.result(), live.fates()
        finally:
            tool.close()
        ready = sum(event["what"] == "ready" for event in live.events()) - 2
    settled = sum(fates.values())
    each = changes // (len(STEPS) - 1)
    if each < CHANGES and requests >= REQUESTS:
        raise RuntimeError(f"only {each} changes of each sort while {requests} requests were sent: {CHANGES} are wanted")
    how = (f"{len(played.status)} requests (emulated models, {RATE_RPS:.0f}/s), {each} scale-outs, scale-ins, resizes, batch "
           f"and variant switches each, {ready} replicas made; settled by the gateway: {settled}, of which answered "
           f"{fates['answered'] + fates['late']}; load tool {1e6 * played.cpu_s / len(played.status):.0f} µs of CPU a "
           f"request, late by {1e3 * played.late_s:.2g} ms (p99)")
    yield row("failed or doubled requests over changes", played.failed + abs(settled - len(played.status)), "requests", how,
              target=0)


def kill_rows(kills: int) -> Iterator[Row]:
    """Unanswered requests while workers are killed, and which requests are begun a second time."""
    candidates = [{"variants": ["noting"], "cores": [1], "batch": WORKER_BATCH, "max_count": WORKERS}]
    what = scenario("noting", {"noting": {1: BATCH_S, WORKER_BATCH: BATCH_S}}, candidates, [WORKERS])
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes"
        notes.touch()
        with cluster(what, {"noting": "benchmarks.measure_live.models:noting"}, environment={NOTES: str(notes)}) as live:
            tool, runs, killed = Tool(), list[Played](), dict[int, float]()
            try:
                for seed in range(kills):
                    target = Target(live.port, "noting", first=sum(len(run.status) for run in runs))
                    playing = tool.start(open_loop, target, poisson(KILL_RATE_RPS, RUN_S, seed))
                    time.sleep(RUN_S / 2)
                    killed |= _kill_one(notes)
                    runs.append(playing.result())
                    live.settle()
            finally:
                tool.close()
        begun = _begun(notes)
    sent = sum(len(run.status) for run in runs)
    again = {number: times for number, times in begun.items() if len(times) > 1}
    astray = sum(any(pid not in killed for pid, _ in times[:-1]) for times in again.values())
    how = (f"{sent} requests at {KILL_RATE_RPS:.0f}/s, {WORKERS} workers of batches of at most {WORKER_BATCH} that take 5 ms, "
           f"{len(killed)} kill -9 of the one that had begun a batch last; {len(again)} requests were begun again")
    yield row("unanswered requests over kills", sum(run.failed for run in runs) + sent - len(begun), "requests", how, target=0)
    yield row("begun again though not being computed by the killed", astray, "requests",
              f"by the notes of the models: {len(again)} begun twice, all others once", target=0)
    yield row("begun again, most for one kill", max(_per_kill(again).values(), default=0), "requests",
              "what a worker computes is one batch", target=WORKER_BATCH)


def _kill_one(notes: Path) -> dict[int, float]:
    """Kill the worker that has begun a batch last; which, and when."""
    pid = int(notes.read_text().splitlines()[-1].split()[0])
    os.kill(pid, signal.SIGKILL)
    return {pid: time.time()}


def _begun(notes: Path) -> dict[int, list[tuple[int, float]]]:
    """By request, by which processes it was begun, and when."""
    begun: dict[int, list[tuple[int, float]]] = {}
    for line in notes.read_text().splitlines():
        pid, at_s, *numbers = line.split()
        for number in numbers:
            if number != "-1":  # of a warm-up
                begun.setdefault(int(number), []).append((int(pid), float(at_s)))
    return begun


def _per_kill(again: dict[int, list[tuple[int, float]]]) -> Counter[int]:
    """How many requests each killed worker had begun that were begun again."""
    return Counter(pid for times in again.values() for pid, _ in times[:-1])

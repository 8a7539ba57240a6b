"""Where the time of a request goes: how long it is between the stations of its way, alone and at half of the load."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.measure_live import stamped
from benchmarks.measure_live.cluster import Cluster, scenario
from benchmarks.measure_live.load import Played, Target, closed_loop, open_loop, poisson
from benchmarks.measure_live.speed import BATCH, CONNECTIONS, LATENCY_S
from benchmarks.measure_live.tool import Tool
from benchmarks.rows import Row, row

SPARSE_RPS, PLAY_S, WARM_S = 200.0, 3.0, 1.0
PARTS = (("client to gateway", "sent", "read"), ("read and checked", "read", "submitted"), ("placed", "submitted", "batched"),
         ("made a batch of", "batched", "given"), ("to the worker", "given", "begun"), ("computed", "begun", "computed"),
         ("back to the gateway", "computed", "heard"), ("settled", "heard", "settled"), ("written", "settled", "written"),
         ("gateway to client", "written", "done"), ("all of it", "sent", "done"))  # fmt: skip


def rows(rate_rps: float) -> Iterator[Row]:
    """The parts of a request's way, at a low rate and at this one."""
    tool = Tool()
    try:
        for name, rate in (("alone", SPARSE_RPS), ("under load", rate_rps)):
            yield from _parts(tool, name, rate)
    finally:
        tool.close()


def _parts(tool: Tool, name: str, rate_rps: float) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        played = _play(tool, Path(folder), rate_rps)
        stamps = stamped.read(Path(folder), len(played.status))
    perf_s = played.start_s - time.time() + time.perf_counter()
    order = np.argsort(played.sent_s)
    stamps |= {"sent": played.sent_s[order] + perf_s, "done": np.sort(played.done_s) + perf_s}
    for part, begin, end in PARTS:
        took_s = stamps[end] - stamps[begin]
        p50_s, p99_s = np.percentile(took_s, [50, 99])
        how = f"{rate_rps:.0f} requests/s; p99 {1e6 * p99_s:.0f} µs"
        yield row(f"a request {name}, {part}", p50_s, "s", how)


def _play(tool: Tool, folder: Path, rate_rps: float) -> Played:
    """A cluster of its own, so that what it notes is of this load."""
    candidates = [{"variants": ["noop"], "cores": [1], "batch": BATCH, "max_count": 1}]
    made = Cluster(folder, scenario("noop", LATENCY_S, candidates, [1]), {"noop": "benchmarks.measure_live.stamped:model"},
                   program=("benchmarks.measure_live.stamped",), environment={stamped.STAMPS: str(folder)})
    try:
        target = Target(made.port)
        tool.play(closed_loop, target, CONNECTIONS, WARM_S)
        return tool.play(open_loop, target, poisson(rate_rps, PLAY_S, 0))
    finally:
        made.server.end()

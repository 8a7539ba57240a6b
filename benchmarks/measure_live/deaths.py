"""What becomes of serving when the autoscaler or the cluster process is killed, and how soon another one goes on."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.measure_live.cluster import Cluster, cluster, scenario
from benchmarks.measure_live.load import Target, closed_loop, open_loop
from benchmarks.measure_live.models import NOTES
from benchmarks.measure_live.processes import Server
from benchmarks.measure_live.tool import Tool, said
from benchmarks.rows import Row, row
from runtime.autoscaler.journal import newest_first

TARGET_S, WORKERS = 5.0, 2
LOW_RPS, HIGH_RPS, SWELL_S = 60.0, 400.0, 4.0
POLICY = "benchmarks.measure_live.restless:Restless"
DECIDED = r"[0-9a-f]{8}/\d+ by "


def autoscaler_rows(kills: int) -> Iterator[Row]:
    """Failed requests, time to resume, and decisions that were acted on twice."""
    candidates = [{"variants": ["echo"], "cores": [1], "max_count": 6}]
    what = scenario("echo", {"echo": {1: 0.005}}, candidates, [2])
    with cluster(what) as live, tempfile.TemporaryDirectory() as folder:
        tool, resumed_s = Tool(), list[float]()
        first, order = live.version(), random.Random(1)
        try:
            scaler = _autoscaler(live, folder)
            scaler.waits_for(DECIDED)
            playing = tool.start(open_loop, Target(live.port, "echo", "payload", 1), _swelling(kills * 4.0))
            while len(resumed_s) < kills:
                time.sleep(1 + order.random() * 2)  # at any point of the interval of a second
                scaler.kill()
                began_s = time.monotonic()
                scaler = _autoscaler(live, folder)
                scaler.waits_for(DECIDED)
                resumed_s.append(time.monotonic() - began_s)
            played = playing.result()
            scaler.end()
        finally:
            tool.close()
        applied = {record["decision_id"] for record in newest_first(Path(folder))
                   if record["type"] == "outcome" and record["status"] == "applied"}
        versions = live.version() - first
    how = (f"{kills} kill -9 of the autoscaler (a decision each second, all of which act), "
           f"{len(played.status)} requests of {LOW_RPS:.0f} to {HIGH_RPS:.0f}/s")
    yield row("failed requests over deaths of the autoscaler", played.failed, "requests", how, target=0)
    yield row("from the start of the next autoscaler to its first decision", max(resumed_s), "s",
              f"the longest of {kills}; median {said(resumed_s, 's')}; up to a second of it is waiting for its time",
              target=TARGET_S)
    yield row("decisions acted on twice", abs(versions - len(applied)), "decisions",
              f"{versions} new versions of the deployment, {len(applied)} decisions applied by the journal", target=0)


def cluster_rows(kills: int) -> Iterator[Row]:
    """How soon the workers of a cluster process that was killed answer under the next one."""
    candidates = [{"variants": ["noting"], "cores": [1], "max_count": WORKERS}]
    what = scenario("noting", {"noting": {1: 0.005}}, candidates, [WORKERS])
    with tempfile.TemporaryDirectory() as folder:
        path, lives, answered_s, workers = Path(folder), list[Cluster](), list[float](), list[set[str]]()
        try:
            for _ in range(kills + 1):
                began_s = time.monotonic()
                lives.append(Cluster(path, what, {"noting": "benchmarks.measure_live.models:noting"},
                                     "--state", str(path / "state"), environment={NOTES: str(path / "notes")}))
                played = closed_loop(Target(lives[-1].port, "noting", first=1 + len(lives) * 10_000), 2 * WORKERS, 1.0)
                if played.failed:
                    raise RuntimeError(f"{played.failed} requests failed after a restart")
                answered_s.append(time.monotonic() - began_s - played.wall_s + float(played.done_s.min()))
                workers.append(_who(path / "notes", len(lives) * 10_000))
                if len(lives) <= kills:
                    lives[-1].server.kill()
        finally:
            for live in lives[::-1]:
                live.server.end()
    same = sum(after == workers[0] for after in workers[1:])
    how = (f"kill -9 of `tidal serve --state`, {kills} times; from the start of the next one to the first answer, longest; "
           f"median {said(answered_s[1:], 's')}; the same {len(workers[0])} workers {same} times of {kills}; at first, with "
           f"new workers, {answered_s[0]:.3g} s")
    yield row("restart of the cluster: until its workers answer again", max(answered_s[1:]), "s", how)
    yield row("restarts at which workers were not taken over", kills - same, "restarts", "by the workers' notes", target=0)


def _who(notes: Path, first: int) -> set[str]:
    """The processes that have answered requests from a number on."""
    rows_ = (line.split() for line in notes.read_text().splitlines())
    return {pid for pid, _, *numbers in rows_ if any(int(number) >= first for number in numbers)}


def _autoscaler(live: Cluster, folder: str) -> Server:
    return Server("runtime", "autoscale", "--scenario", live.file, "--policy", POLICY, "--source", "scrape",
                  "--url", f"{live.gateway}/metrics", "--actuator", "cluster", "--control", live.control, "--journal", folder)


def _swelling(seconds: float) -> np.ndarray:
    """Arrivals that make the autoscaler act: low and high in turns."""
    random_, parts, at_s, high = np.random.default_rng(1), [], 0.0, False
    while at_s < seconds:
        rate = HIGH_RPS if high else LOW_RPS
        parts.append(at_s + np.cumsum(random_.exponential(1 / rate, int(rate * SWELL_S))))
        at_s, high = at_s + SWELL_S, not high
    return np.sort(np.concatenate(parts))

"""Whether anything grows: the autoscaler's loop over simulated weeks, and a whole live system at speed.

    python benchmarks/soak.py [--json FILE] [--weeks N] [--seconds S] [--rps R] [--only weeks live]

`weeks` runs the autoscaler's own loop, with its journal, around a simulated cluster that it scales, as fast as both go. `live`
has whole processes serve an open load while a policy changes the deployment at each decision; an hour is `--seconds 3600`, a
million requests. What is flat is told as the last quarter over the second one: the first fills caches and histories.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure_live.cluster import cluster, scenario
from benchmarks.measure_live.load import Target, open_loop, poisson
from benchmarks.measure_live.processes import Server
from benchmarks.measure_live.tool import Tool
from benchmarks.rows import Part, Row, command_line, report_parts, row

POLICY = "benchmarks.measure_live.restless:Restless"  # acts at each decision
SCENARIO, MEAN_RPS = "live-demo", 60.0
WEEK_S = 7 * 86_400.0
FLAT = 1.05  # the last quarter over the second one
SLOWER = 1.5  # times are of a machine that others use, too
CARRIES = 1.2  # a replica, of the load
SAMPLE_S = 2.0
ACCEPTED = ("01", "08")  # in /proc/net/tcp: established, and left by the client


class Sample(NamedTuple):
    """Of one process at one time; `files` are descriptors but for the connections of clients."""

    memory_bytes: float
    files: int
    threads: int


def sample(pid: int) -> Sample:
    """What it has now."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return Sample(1024.0 * int(status["VmRSS"].split()[0]), len(os.listdir(f"/proc/{pid}/fd")), int(status["Threads"]))


def clients(port: int) -> int:
    """Connections that clients have to a port of this machine: their number is theirs to say."""
    ends = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return sum(words[1].endswith(f":{port:04X}") and words[3] in ACCEPTED for words in ends)


def parts(weeks: float, seconds: float, rate_rps: float) -> dict[str, Part]:
    """What is measured, by name."""
    return {"weeks": lambda: weeks_rows(weeks), "live": lambda: live_rows(seconds, rate_rps)}


def weeks_rows(weeks: float) -> Iterator[Row]:
    """The autoscaler's loop around a simulated cluster."""
    from benchmarks.measure_live.simulated_weeks import play

    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        found = play(SCENARIO, MEAN_RPS, weeks * WEEK_S, Path(folder), lambda: sample(os.getpid()))
        took_s = time.perf_counter() - began
    how = (f"{weeks:g} simulated weeks of {SCENARIO} at {MEAN_RPS:g} req/s on average, {found.decisions} decisions by "
           f"{found.policy}, of which {found.acted} acted, {found.requests:,} requests, in {took_s:.0f} s")
    yield row("weeks: requests in the simulator that never settled", found.unsettled, "requests", how, target=0)
    yield row("weeks: decisions that failed or were left out", found.skipped, "decisions", how, target=0)
    yield from _flat("weeks", found.samples, how)
    early, late = (np.percentile(quarter, 99) for quarter in _quarters(found.decision_s))
    yield row("weeks: p99 of a decision, last quarter over the second", late / early, "x", f"{1e3 * late:.2g} ms",
              target=SLOWER)


def live_rows(seconds: float, rate_rps: float) -> Iterator[Row]:
    """A live system under an open load, changed all the time."""
    candidates = [{"variants": ["echo"], "cores": [1], "max_count": 6}]
    problem = scenario("echo", {"echo": {1: 1 / (CARRIES * rate_rps)}}, candidates, [2])
    with cluster(problem) as live, tempfile.TemporaryDirectory() as folder, closing(Tool()) as tool:
        scaler = Server("runtime", "autoscale", "--scenario", live.file, "--policy", POLICY, "--source", "scrape", "--url",
                        f"{live.gateway}/metrics", "--actuator", "cluster", "--control", live.control, "--journal", folder)
        try:
            scaler.waits_for(r"[0-9a-f]{8}/\d+ by ")
            version, over = live.version(), threading.Event()
            kept: dict[str, list[Sample]] = {"cluster": [], "autoscaler": []}

            def look() -> None:
                while not over.wait(SAMPLE_S):
                    of_cluster = sample(live.server.pid)
                    kept["cluster"].append(of_cluster._replace(files=of_cluster.files - clients(live.port)))
                    kept["autoscaler"].append(sample(scaler.pid))

            looking = threading.Thread(target=look, daemon=True)
            looking.start()
            played = tool.play(open_loop, Target(live.port, "echo", "payload", 1), poisson(rate_rps, seconds, 1))
            over.set()
            looking.join()
            changes, fates = live.version() - version, live.fates()
        finally:
            scaler.end()
    how = (f"{len(played.status):,} requests at {rate_rps:.0f}/s over {seconds:.0f} s, {changes} changes of the deployment, "
           f"settled by the gateway: {sum(fates.values()):,}")
    yield row("live: requests that failed, or were answered wrongly", played.failed, "requests", how, target=0)
    for name, samples in kept.items():
        yield from _flat(f"live {name}", samples, how)


def _flat(name: str, samples: list[Sample], how: str) -> Iterator[Row]:
    for i, what in enumerate(("memory", "descriptors", "threads")):
        early, late = (float(np.median(quarter)) for quarter in _quarters([one[i] for one in samples]))
        scale, unit = (2**20, " MiB") if what == "memory" else (1, "")
        yield row(f"{name}: {what}, last quarter over the second", late / early, "x",
                  f"medians: {early / scale:.0f}{unit}, then {late / scale:.0f}{unit}; {how}", target=FLAT)


def _quarters(values: list[float]) -> tuple[list[float], list[float]]:
    """The second and the last one."""
    n = max(1, len(values) // 4)
    return values[n : 2 * n] or values, values[-n:]


if __name__ == "__main__":
    parser = command_line(__doc__.splitlines()[0])
    parser.add_argument("--weeks", type=float, default=8.0, help="to be simulated (default: %(default)g)")
    parser.add_argument("--seconds", type=float, default=600.0, help="of live load (default: %(default)g)")
    parser.add_argument("--rps", type=float, default=280.0, help="of live load (default: %(default)g)")
    report_parts(parser, lambda options: parts(options.weeks, options.seconds, options.rps))

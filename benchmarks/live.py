"""The live cluster and the autoscaler beside it, as whole processes: speed, losses, tenants, decisions, deaths, pages.

    python benchmarks/live.py [--json FILE] [--rounds N] [--requests N] [--only speed changes ...]

Server and load tool are processes of their own; the load tool's ceiling and its CPU time a request stand beside what it
measured. Ray Serve runs in turns with the gateway, in one run, where it is installed (extra `ray`). A busy machine shows in
all latencies.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure_live import breakdown, changes, deaths, deciding, speed, tenants, watching
from benchmarks.rows import Part, command_line, report_parts

KILLS = 20
LOOK_S = 40.0
LOAD_RPS = 5000.0


def parts(rounds: int, requests: int) -> dict[str, Part]:
    """What is measured, by name."""
    return {
        "speed": lambda: speed.rows(rounds),
        "breakdown": lambda: breakdown.rows(LOAD_RPS),
        "changes": lambda: changes.change_rows(requests),
        "kills": lambda: changes.kill_rows(KILLS),
        "tenants": lambda: tenants.rows(rounds),
        "decisions": lambda: deciding.rows(2000),
        "deaths": lambda: deaths.autoscaler_rows(KILLS),
        "restarts": lambda: deaths.cluster_rows(KILLS // 2),
        "pages": lambda: watching.rows(LOOK_S),
    }


if __name__ == "__main__":
    parser = command_line(__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8, help="in turns, of speed and tenants (default: %(default)s)")
    parser.add_argument("--requests", type=int, default=100_000, help="over changes of the deployment (default: %(default)s)")
    report_parts(parser, lambda options: parts(options.rounds, options.requests))

"""The live cluster and the autoscaler beside it, as whole processes: speed, losses, tenants, decisions, deaths, pages.

    python benchmarks/live.py [--json FILE] [--rounds N] [--requests N] [--only speed changes ...]

Server and load tool are processes of their own; the load tool's ceiling and its CPU time a request stand beside what it
measured. Ray Serve runs in turns with the gateway, in one run, where it is installed (extra `ray`). A busy machine shows in
all latencies.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure_live import breakdown, changes, deaths, deciding, speed, tenants, watching
from benchmarks.rows import Row, command_line, report

KILLS = 20
LOOK_S = 40.0
LOAD_RPS = 5000.0


def parts(rounds: int, requests: int) -> dict[str, Callable[[], Iterable[Row]]]:
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


def rows(chosen: dict[str, Callable[[], Iterable[Row]]]) -> Iterator[Row]:
    """All rows of these parts."""
    for part in chosen.values():
        yield from part()


if __name__ == "__main__":
    parser = command_line(__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8, help="in turns, of speed and tenants (default: %(default)s)")
    parser.add_argument("--requests", type=int, default=100_000, help="over changes of the deployment (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=list(parts(0, 0)), help="parts to measure (default: all)")
    options = parser.parse_args()
    all_parts = parts(options.rounds, options.requests)
    report(rows({name: all_parts[name] for name in options.only or all_parts}), options.json)

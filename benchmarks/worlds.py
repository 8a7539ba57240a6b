"""What worlds cost and how soon they notice, against plain `torch.distributed` in the same run.

    python benchmarks/worlds.py [--json FILE] [--only PART ...] [--backend gloo|nccl] [--rounds N] [--anywhere]
                                [--alarm-minutes M]

Throughput: in every round all ways run in many short turns; the row tells the median of the rounds' ratios, and the upper end
of its 95 % interval is held against the target. Negative losses are gains.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure_worlds import bystander, faults, joining, throughput
from benchmarks.rows import Part, command_line, report_parts


def parts(options: argparse.Namespace) -> dict[str, Part]:
    """All parts, by name."""
    backend, rounds = options.backend, options.rounds
    return {
        "throughput": lambda: throughput.rows(backend, rounds, options.anywhere),
        "detection": lambda: faults.detection_rows(backend, repeats=min(rounds, 12)),
        "joins": lambda: joining.join_rows(backend, rounds=min(rounds, 30)),
        "tensors": lambda: bystander.traffic_rows(backend, rounds=min(rounds, 30)),
        "resources": lambda: joining.resource_rows(backend, cycles=min(13 * rounds, 500), many=60),
        "alarms": lambda: faults.alarm_rows(backend, options.alarm_minutes),
    }


if __name__ == "__main__":
    parser = command_line(__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=["gloo", "nccl"], default="gloo")
    parser.add_argument("--rounds", type=int, default=40, help="of throughput (default: %(default)s)")
    parser.add_argument("--anywhere", action="store_true", help="of throughput: threads run where the system puts them")
    parser.add_argument("--alarm-minutes", type=float, default=1.0, help="of watching for false alarms (default: %(default)s)")
    report_parts(parser, parts)

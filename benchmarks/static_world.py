"""Many worlds against one static world: what a worker's death and a step of the rate cost, at the same load.

    python benchmarks/static_world.py [--json FILE] [--rounds 3]

Four workers answer requests of 20 ms at half of what they carry; after 5 s one is killed with -9; after 13 s the rate steps up
to 1.1 of what four carry, and two more are asked for. A worker loads for 2 s. Goodput is what is answered within 200 ms;
recovery lasts to the end of the last half second of which fewer than 95 % are. The rounds are played in turns.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.measure_worlds.serving import END_S, KILL_S, STEP_S, ManyWorlds, OneWorld, Played, play
from benchmarks.rows import Row, command_line, report, row

KINDS: dict[str, type[ManyWorlds] | type[OneWorld]] = {"a world for each": ManyWorlds, "one world for all": OneWorld}
FIGURES = {
    "answered in time": ("%", lambda one: 100 * one.good.mean()),
    "goodput": ("requests/s", lambda one: one.good.sum() / END_S),
    "recovery after a kill -9": ("s", lambda one: one.recovery_s(KILL_S, STEP_S)),
    "recovery after the step of the rate": ("s", lambda one: one.recovery_s(STEP_S, END_S)),
}


def rows(rounds: int) -> Iterator[Row]:
    """All rows: means of the rounds, one world for all as the peer."""
    played: dict[str, list[Played]] = {name: [] for name in KINDS}
    for _ in range(rounds):
        for name, kind in KINDS.items():
            played[name].append(play(kind))
    for figure, (unit, value) in FIGURES.items():
        values = {name: [float(value(one)) for one in runs] for name, runs in played.items()}
        ours, theirs = values.values()
        spread = "; ".join(f"{name}: {', '.join(f'{v:.3g}' for v in found)}" for name, found in values.items())
        yield row(figure, float(np.mean(ours)), unit, f"peer: one world for all; {spread}", peer=float(np.mean(theirs)))


if __name__ == "__main__":
    parser = command_line(__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="of each (default: %(default)s)")
    options = parser.parse_args()
    report(rows(options.rounds), options.json)

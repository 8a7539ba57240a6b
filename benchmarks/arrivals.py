"""How fast arrivals are drawn, and traces read: arrivals per second and core of every model.

    python benchmarks/traces.py [--json FILE] [--arrivals N] [--repeats N]

CPU time decides, wall time stands beside it; compiling is done before and timed apart. The peer is numpy drawing whole-trace
gaps of the same law, with a cumulative sum: what a sampler that need not stop at intervals would cost.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from traces.readers import read_rates
from traces.samplers import GAMMA, MMPP, POISSON, RECORDED, WEIBULL, Load, fill, make_load, new_stream, start, weibull_shape

TARGET_PER_S = 5e6
MEAN_RPS = 1000.0
INTERVAL_S = 0.5
STATES = [(0.0, 10.0), (3.0, 5.0)]


def _loads(arrivals: int) -> dict[str, Load]:
    bins = max(int(arrivals / MEAN_RPS), 2)
    rates = MEAN_RPS * (1 + 0.5 * np.sin(np.arange(bins) / 100))
    times = np.cumsum(np.random.default_rng(0).exponential(1 / MEAN_RPS, arrivals))
    return {
        "poisson": make_load(POISSON, rates, 1.0),
        "gamma cv 0.5": make_load(GAMMA, rates, 1.0, cv=0.5),
        "gamma cv 4": make_load(GAMMA, rates, 1.0, cv=4.0),
        "weibull cv 3": make_load(WEIBULL, rates, 1.0, cv=3.0),
        "mmpp": make_load(MMPP, rates, 1.0, states=STATES),
        "recorded": make_load(RECORDED, recorded_s=times),
    }


def _peers(arrivals: int) -> dict[str, Callable[[np.random.Generator], np.ndarray]]:
    shape = weibull_shape(3.0)
    return {
        "poisson": lambda rng: np.cumsum(rng.standard_exponential(arrivals)),
        "gamma cv 0.5": lambda rng: np.cumsum(rng.standard_gamma(4.0, arrivals)),
        "gamma cv 4": lambda rng: np.cumsum(rng.standard_gamma(1 / 16, arrivals)),
        "weibull cv 3": lambda rng: np.cumsum(rng.weibull(shape, arrivals)),
    }


def _play(load: Load, seed: int, out: np.ndarray, interval_s: float) -> int:
    """Plays a whole load into one buffer, interval by interval, as a simulator does."""
    stream, total, now_s = new_stream(), 0, interval_s
    start(load, stream, seed, 0.0, 1.0)
    end_s = max(load.rate_rps.size * load.bin_s, float(load.recorded_s[-1]) if load.recorded_s.size else 0.0) + interval_s
    while now_s <= end_s + interval_s:
        while True:
            n = fill(load, stream, now_s, out)
            total += n
            if n < out.size:
                break
        now_s += interval_s
    return total


def _best(work: Callable[[], int], repeats: int) -> tuple[float, float, int]:
    """Returns the least CPU seconds, the wall seconds of the same repeat, and what the work returned."""
    rows = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        count = work()
        rows.append((time.process_time() - cpu, time.perf_counter() - wall, count))
    return min(rows)


def measure(arrivals: int, repeats: int) -> list[dict[str, Any]]:
    """Times every model.

    Args:
        arrivals: about how many a repeat draws.
        repeats: the best one counts.

    Returns:
        Rows of figure, value, unit, target, peer, how.
    """
    rows: list[dict[str, Any]] = []
    out, block = np.zeros(2 * arrivals), np.zeros(4096)
    begin = time.perf_counter()
    for load in _loads(10_000).values():
        _play(load, 0, block, 1.0)
    rows.append(_row("compile, or load from the cache", time.perf_counter() - begin, "s", None, None, "wall, all models"))
    peers = _peers(arrivals)
    for name, load in _loads(arrivals).items():
        cpu_s, wall_s, count = _best(lambda load=load: _play(load, 1, out, 1e12), repeats)  # type: ignore[misc]
        peer = None
        if name in peers:
            peer_s = _best(lambda name=name: peers[name](np.random.default_rng(1)).size, repeats)[0]  # type: ignore[misc]
            peer = arrivals / peer_s
        how = f"whole trace, {count} arrivals, best of {repeats}, CPU {cpu_s:.3f} s, wall {wall_s:.3f} s, peer numpy"
        rows.append(_row(f"arrivals, {name}", count / cpu_s, "arrivals/s", TARGET_PER_S, peer, how))
        cpu_s, wall_s, count = _best(lambda load=load: _play(load, 1, block, INTERVAL_S), repeats)  # type: ignore[misc]
        how = f"intervals of {INTERVAL_S} s called from Python, CPU {cpu_s:.3f} s, wall {wall_s:.3f} s"
        rows.append(_row(f"arrivals in intervals, {name}", count / cpu_s, "arrivals/s", TARGET_PER_S, None, how))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rates.csv"
        path.write_text("t_s,requests\n" + "\n".join(f"{i},{i % 97}" for i in range(500_000)) + "\n")
        cpu_s, wall_s, count = _best(lambda: len(read_rates(path)), min(repeats, 3))
        rows.append(
            _row("rows of a rates file read", count / cpu_s, "rows/s", None, None, f"CPU {cpu_s:.3f} s, {wall_s:.3f} s wall")
        )
    return rows


def _row(figure: str, value: float, unit: str, target: float | None, peer: float | None, how: str) -> dict[str, Any]:
    return {"figure": figure, "value": value, "unit": unit, "target": target, "peer": peer, "how": how}


def main() -> None:
    """Runs the benchmark from the command line."""
    parser = argparse.ArgumentParser(description="arrivals per second and core of every arrival model")
    parser.add_argument("--json", metavar="FILE", help="also write the rows there")
    parser.add_argument("--arrivals", type=int, default=5_000_000, help="arrivals in a repeat (default 5,000,000)")
    parser.add_argument("--repeats", type=int, default=5, help="repeats, the best of which counts (default 5)")
    options = parser.parse_args()
    rows = measure(options.arrivals, options.repeats)
    for row in rows:
        peer = f", peer {row['peer']:.4g}" if row["peer"] else ""
        print(f"{row['figure']:38s} {row['value']:10.4g} {row['unit']}{peer}  ({row['how']})")
    if options.json:
        about = {
            "machine": f"{platform.machine()}, {platform.processor() or platform.system()}",
            "versions": {"python": platform.python_version(), "numpy": np.__version__, "numba": numba.__version__},
            "command": "python benchmarks/traces.py " + " ".join(sys.argv[1:]),
        }
        Path(options.json).write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

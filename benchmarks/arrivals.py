"""How fast arrivals are drawn, and traces read: arrivals per second and core of every model.

    python benchmarks/arrivals.py [--json FILE] [--arrivals N] [--repeats N]

CPU time decides, wall time stands beside it; compiling is done before and timed apart. The peer is numpy drawing whole-trace
gaps of the same law, with a cumulative sum: what a sampler that need not stop at intervals would cost.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.rows import Row, alternate, command_line, report, row, speed
from traces.readers import read_rates
from traces.samplers import GAMMA, MMPP, POISSON, RECORDED, WEIBULL, Load, fill, make_load, new_stream, start, weibull_shape

PER_S = "arrivals/s"
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


def measure(arrivals: int, repeats: int) -> Iterator[Row]:
    """Times every model.

    Args:
        arrivals: about how many a repeat draws.
        repeats: measured rounds.
    """
    out, block = np.zeros(2 * arrivals), np.zeros(4096)
    began = time.perf_counter()
    for load in _loads(10_000).values():
        _play(load, 0, block, 1.0)
    yield row("Compiling, or loading what was compiled", time.perf_counter() - began, "s", "wall time, all models")
    peers = _peers(arrivals)
    for name, load in _loads(arrivals).items():
        works: dict[str, Callable[[], int]] = {"whole": lambda load=load: _play(load, 1, out, 1e12)}  # type: ignore[misc]
        if name in peers:
            works["numpy"] = lambda name=name: peers[name](np.random.default_rng(1)).size  # type: ignore[misc]
        works["intervals"] = lambda load=load: _play(load, 1, block, INTERVAL_S)  # type: ignore[misc]
        timings = alternate(works, repeats)
        yield speed(
            f"Arrivals, {name}",
            timings["whole"],
            PER_S,
            "whole trace",
            target=TARGET_PER_S,
            peer=timings.get("numpy"),
            peer_name="numpy",
        )
        yield speed(
            f"Arrivals in intervals, {name}",
            timings["intervals"],
            PER_S,
            f"{INTERVAL_S} s a call from Python",
            target=TARGET_PER_S,
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rates.csv"
        path.write_text("t_s,requests\n" + "\n".join(f"{i},{i % 97}" for i in range(arrivals // 10)) + "\n")
        timing = alternate({"": lambda: len(read_rates(path))}, min(repeats, 3))[""]
        yield speed("Rows of a rates file read", timing, "rows/s", "CSV")


def main() -> None:
    """Runs the benchmark from the command line."""
    parser = command_line("arrivals per second and core of every arrival model")
    parser.add_argument("--arrivals", type=int, default=5_000_000, help="arrivals in a repeat (default 5,000,000)")
    parser.add_argument("--repeats", type=int, default=5, help="measured rounds (default 5)")
    options = parser.parse_args()
    report(measure(options.arrivals, options.repeats), options.json)


if __name__ == "__main__":
    main()

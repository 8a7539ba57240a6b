"""Your own load: requests per second from a CSV file, or the times of recorded requests.

    python examples/02_your_own_load.py

A rate leaves open when each request comes; the law of the gaps between them says it. Bursts cost, at the same mean.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agents import registry
from envs.episode import run_episode
from envs.scenario_file import load
from traces.load import GAMMA, POISSON, RECORDED, Load, make_load

MINUTES = 20


def loads_of_one_rate() -> dict[str, Load]:
    """Half a swell, from 20 to 80 requests a second and back: as Poisson's, in bursts, and as a recording."""
    rate_rps = 20 + 60 * np.sin(np.linspace(0, np.pi, MINUTES))  # one number a minute; `np.loadtxt("mine.csv")` as well
    recorded_s = np.concatenate([60 * minute + 60 * np.arange(n) / n for minute, n in enumerate((60 * rate_rps).astype(int))])
    return {
        "Poisson": make_load(POISSON, rate_rps, bin_s=60),
        "bursts (gamma, cv 4)": make_load(GAMMA, rate_rps, bin_s=60, cv=4),
        "recorded, evenly spaced": make_load(RECORDED, recorded_s=recorded_s),
    }


def main() -> None:
    """Plays the three on the same cluster, with the same policy."""
    scenario = load("resnet-variants")
    (application,) = scenario.applications
    for name, arrivals in loads_of_one_rate().items():
        policy = registry.make("infadapter", scenario)
        totals = run_episode(scenario, policy, {application: arrivals}, seed=0, intervals=2 * MINUTES).totals
        print(f"{name:24s} {totals['settled']:6.0f} requests, {100 * totals['violation_ratio']:5.2f} % violations, "
              f"p99 {1000 * totals['p99_s']:4.0f} ms")


if __name__ == "__main__":
    main()

"""A planner against a learned agent, with intervals: is the difference more than luck?

    python examples/06_planner_against_agent.py [WINDOWS]

Both meet the same requests in each window, so they are compared pair by pair; windows are drawn again to see how far the mean
could have been elsewhere. `python evaluate.py --policies infadapter,ppo` does this with a report.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agents import registry
from envs.episode import run_episode
from envs.loads import open_loads, spread
from envs.scenario_file import load
from reports.statistics import Bootstrap, Estimate

INTERVALS = 40


def told(estimate: Estimate) -> str:
    """The value, and where it lies with 95 %."""
    return f"{estimate.value:+.4f} [{estimate.low:+.4f}, {estimate.high:+.4f}]"


def main(windows: int = 8) -> None:
    """Rewards of each window, and their paired difference."""
    scenario = load("resnet-variants")
    window_s = INTERVALS * scenario.interval_s
    loads = open_loads(scenario, None, "val", windows * window_s)
    starts_s = spread(loads.span_s, window_s, windows, scenario.interval_s)
    rewards = {}
    for name in ("infadapter", "ppo"):
        policy = registry.make(name, scenario)
        rewards[name] = np.array([
            run_episode(scenario, policy, loads.loads, seed=0, start_s=start_s, intervals=INTERVALS).totals["reward"]
            for start_s in starts_s
        ])  # fmt: skip
    bootstrap = Bootstrap([loads.trace] * windows, starts_s, np.random.default_rng(0))
    for name, values in rewards.items():
        print(f"{name:10s} {told(bootstrap.estimate(values))}")
    difference = bootstrap.difference(rewards["ppo"], rewards["infadapter"])
    print(f"difference {told(difference)}: {'more than luck' if difference.excludes_zero else 'could be luck'}, "
          f"over {windows} windows of {window_s / 60:.0f} minutes")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

"""A first episode: one policy, one cluster, half an hour of load.

    python examples/01_first_episode.py

The cluster is simulated request by request. Each 30 s the policy sees what a scrape of its metrics shows, and decides which
replicas there are to be.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout

from agents import registry
from envs.episode import run_episode
from envs.loads import open_loads
from envs.scenario_file import load


def main() -> None:
    """Plays InfAdapter on `resnet-variants`: five ResNets can answer, 20 cores are there."""
    scenario = load("resnet-variants")
    policy = registry.make("infadapter", scenario)
    loads = open_loads(scenario, trace=None, split="val", needed_s=1800)  # held out: nothing was tuned on it
    episode = run_episode(scenario, policy, loads.loads, seed=0, intervals=60)

    for row in episode.decisions[["t_s", "deployment", "reason"]][::15].to_dict("records"):
        print(f"{row['t_s']:5.0f} s  {row['deployment']}  ({row['reason']})")
    totals = episode.totals
    print(f"{totals['settled']:.0f} requests, {100 * totals['violation_ratio']:.2f} % not answered within the SLO; "
          f"accuracy {totals['accuracy']:.3f}, cost {totals['cost']:.2f} of the budget, reward {totals['reward']:.3f}")


if __name__ == "__main__":
    main()

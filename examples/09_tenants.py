"""Tenants: three share the same replicas, and one of them floods.

    python examples/09_tenants.py

`gold` has four times the share of `flood`, which besides may have 100 requests a second admitted, no more. Weighted fair
queueing and the quota keep the flood from the others.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from baselines.static import Static
from envs.cluster import SimulatedCluster
from envs.scenario_file import load
from traces.load import POISSON, make_load

INTERVALS = 12


def main() -> None:
    """The same two minutes twice, calm and flooded; the deployment stays as it is."""
    scenario = load("tenants")
    policy = Static()
    for what, flood_rps in (("calm", 50.0), ("flooded", 1000.0)):
        rates = {"gold": 60.0, "silver": 60.0, "flood": flood_rps}
        loads = {name: make_load(POISSON, np.array([rps]), bin_s=600) for name, rps in rates.items()}
        cluster = SimulatedCluster(scenario, loads, seed=0)
        policy.reset(scenario)
        observation, seen = cluster.first_observation, []
        for _ in range(INTERVALS):
            cluster.apply(policy.decide(observation).deployment)
            observation = cluster.advance()
            seen.append(observation.applications)
        for name in rates:
            offered, rejected, violations = np.mean(
                [(row[name].offered_rps, row[name].rejected_ratio, row[name].violation_ratio) for row in seen], axis=0)
            print(f"{what:8s} {name:6s} {offered:5.0f} req/s offered, {100 * rejected:4.1f} % over quota, "
                  f"{100 * violations:5.2f} % violations in all")


if __name__ == "__main__":
    main()

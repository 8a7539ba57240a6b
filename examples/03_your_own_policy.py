"""Your own policy: a class with `reset(scenario)` and `decide(observation)`.

    python examples/03_your_own_policy.py

It sees observations and nothing else, so that it runs live without a line changed: `tidal autoscale --policy module:Class`.
"""

import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agents import registry
from envs.contract import Decision, Deployment, Observation, Policy
from envs.episode import run_episode
from envs.loads import open_loads
from envs.scenario import Scenario
from envs.scenario_file import load


class OneSize(Policy):
    """One variant; the smallest replica of it that carries the last load with some room."""

    memory_intervals = 1

    def __init__(self, variant: str = "resnet50", room: float = 1.5) -> None:
        self.variant, self.room = variant, room

    def reset(self, scenario: Scenario) -> None:
        """Looks up what each size carries."""
        kinds = [kind for kind in scenario.kinds if kind.variants == (self.variant,)]
        kinds.sort(key=lambda kind: kind.shape.units)
        self._rps = {kind: scenario.capacity_rps(kind, self.variant) for kind in kinds}

    def decide(self, observation: Observation) -> Decision:
        """Missing is no number, and never zero: then all stays as it is."""
        (application,) = observation.applications.values()
        if math.isnan(application.offered_rps):
            return Decision(observation.deployment, "the load is not known")
        wanted_rps = self.room * application.offered_rps
        kind = next((kind for kind, rps in self._rps.items() if rps >= wanted_rps), max(self._rps, key=self._rps.__getitem__))
        return Decision(Deployment({kind: 1}), f"load {application.offered_rps:.0f} req/s")


def main() -> None:
    """Beside two that are there already, on the same requests."""
    scenario = load("resnet-variants")
    loads = open_loads(scenario, None, "val", 3600).loads
    for policy in (OneSize(), OneSize("resnet18"), registry.make("hpa", scenario), registry.make("infadapter", scenario)):
        totals = run_episode(scenario, policy, loads, seed=0, intervals=60).totals
        name = f"{type(policy).__name__} {getattr(policy, 'variant', '')}"
        print(f"{name:18s} reward {totals['reward']:6.3f}, {100 * totals['violation_ratio']:5.2f} % violations, "
              f"accuracy {totals['accuracy']:.3f}, cost {totals['cost']:.2f}")


if __name__ == "__main__":
    main()

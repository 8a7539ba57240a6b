"""Twenty lines add a policy: the most accurate model that carries the greatest of the last loads, with some room.

python evaluate.py --bench examples.bench.policy:Headroom
"""

from envs.contract import Decision, Deployment, Observation, Policy
from envs.scenario import Scenario


class Headroom(Policy):
    """One replica that carries 1.3 times the greatest of three loads: the most accurate that does, then the smallest."""

    memory_intervals = 3

    def reset(self, scenario: Scenario) -> None:
        """Starts afresh."""
        self._scenario, self._loads = scenario, []
        best = {kind: (-scenario.variants[kind.variants[0]].accuracy, kind.shape.units) for kind in scenario.kinds}
        self._rps = {kind: scenario.capacity_rps(kind, kind.variants[0]) for kind in sorted(best, key=best.get)}

    def decide(self, observation: Observation) -> Decision:
        """Looks at the load, and at nothing else."""
        load_rps = sum(application.offered_rps for application in observation.applications.values())
        self._loads = [*self._loads, load_rps][-3:] if load_rps == load_rps else self._loads  # missing is no number
        if not self._loads:
            return Decision(self._scenario.initial_deployment, "nothing seen yet")
        wanted_rps = 1.3 * max(self._loads)
        kind = next((k for k, rps in self._rps.items() if rps >= wanted_rps), max(self._rps, key=self._rps.get))
        return Decision(Deployment({kind: 1}), f"{kind} for {wanted_rps:.0f} req/s")

"""EdgeShard as a policy: of the partitions that a scenario lists, the one of least latency or most throughput, and kept.

Source: Zhang et al., 2025 (arXiv 2405.14371). The partitions themselves are made of layers, in
`baselines.edgeshard_partition`; a scenario knows their steps: each candidate is a pipeline of devices and links between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from envs.contract import Decision, Deployment, Observation, Policy, ReplicaKind
from envs.scenario import Scenario


class EdgeShard(Policy):
    """Plans at reset; the load plays no part, as in the paper.

    Args:
        goal: "latency", the least sum of steps; "throughput", the fastest slowest step.
    """

    def __init__(self, goal: Literal["latency", "throughput"] = "latency") -> None:
        self.goal = goal

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """The goal."""
        return {"goal": ["latency", "throughput"]}

    def reset(self, scenario: Scenario) -> None:
        """Picks the candidate.

        Raises:
            ValueError: there are several services, or no candidate serves batches of one.
        """
        if len(scenario.services) != 1:
            raise ValueError(f"EdgeShard partitions one model; scenario '{scenario.name}' has {', '.join(scenario.services)}")
        kinds = [kind for candidate in scenario.candidates for kind in candidate.kinds if kind.batch == 1]
        if not kinds:
            raise ValueError(f"EdgeShard needs a candidate with batches of one; scenario '{scenario.name}' has none")

        def steps(kind: ReplicaKind) -> tuple[float, ...]:
            return scenario.profile.latency_s(kind.variants[0], kind.shape, 1)

        measure = sum if self.goal == "latency" else max
        best = min(kinds, key=lambda kind: (measure(steps(kind)), sum(steps(kind))))
        self._decision = Decision(Deployment({best: 1}), f"partition of {best.shape.inter_op} steps, for {self.goal}",
                                  {"latency_s": sum(steps(best)), "slowest_s": max(steps(best))})

    def decide(self, observation: Observation) -> Decision:
        """The partition, whatever is observed."""
        return self._decision

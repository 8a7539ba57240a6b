"""The static policy: one deployment for ever."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from envs.contract import Decision, Deployment, Observation, Policy
from envs.scenario import Scenario

MOST_CONSTANTS = 512  # deployments that `Static.space` offers at most


class Static(Policy):
    """Keeps one deployment, whatever it sees.

    Args:
        deployment: what to keep.
        levels: the same as a level for each candidate of the scenario (its count, or its size's index + 1; 0: none).

    Without either it keeps the scenario's initial deployment.

    Raises:
        ValueError: both are given; on reset, where there are not as many levels as candidates.
    """

    needs_profile = False

    def __init__(self, deployment: Deployment | None = None, levels: Sequence[int] | None = None) -> None:
        if deployment is not None and levels is not None:
            raise ValueError("give a deployment or its levels, not both")
        self.deployment, self.levels = deployment, levels

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """Which constant deployment: one candidate at one level for each service, within the budget.

        With several services the combinations are built service by service and thinned evenly to `MOST_CONSTANTS`.
        """
        rows: list[tuple[int, ...]] = [(0,) * len(scenario.candidates)]
        for service in scenario.services.values():
            hosts = [(i, c) for i, c in enumerate(scenario.candidates) if set(c.variants) & set(service.variants)]
            wider = [(*row[:i], max(row[i], level), *row[i + 1:])
                     for row in rows for i, c in hosts for level in range(1, c.levels)]
            rows = _thinned([row for row in dict.fromkeys(wider) if _affordable(scenario, row)])
        return {"levels": [list(row) for row in rows]}

    def reset(self, scenario: Scenario) -> None:
        """Starts afresh on a scenario."""
        if self.levels is not None:
            if len(self.levels) != len(scenario.candidates):
                raise ValueError(f"{len(self.levels)} levels for the {len(scenario.candidates)} candidates of {scenario.name}")
            self._kept = scenario.deployment(self.levels)
        else:
            self._kept = self.deployment if self.deployment is not None else scenario.initial_deployment

    def decide(self, observation: Observation) -> Decision:
        """The constant deployment."""
        return Decision(self._kept, "constant deployment")


def _affordable(scenario: Scenario, levels: tuple[int, ...]) -> bool:
    deployment = scenario.deployment(levels)
    return all(deployment.units(name) <= device.budget for name, device in scenario.devices.items())


def _thinned(rows: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    if len(rows) <= MOST_CONSTANTS:
        return rows
    return [rows[i * len(rows) // MOST_CONSTANTS] for i in range(MOST_CONSTANTS)]

"""AlpaServe and Selective Replication as policies: a placement planned once, on the training load, and kept.

Li et al., OSDI 2023. Dispatch to the group that is free first and rejection of what would be late are the cluster's part:
`dispatch: last-stage-clock` and `admission: {deadline: true}` in the scenario.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from baselines.alpaserve_search import search, search_sep
from baselines.placement import Placement, check
from baselines.placement_improve import BUDGET, JUDGED, WIDER, plan, requests_played
from baselines.placement_replay import Replay
from baselines.placement_scenario import deployment_of, problem_of, requests_of
from baselines.selective_replication import replicate, replicate_by_search
from envs.contract import Decision, Observation, Policy
from envs.scenario import Scenario

OTHERS = 1_000_000  # seeds further on
PLANNING_S = 750.0  # about 30,000 requests of the published experiment of 40 req/s


class _Placed(Policy):
    """Plans a placement at reset.

    Args:
        planning_s: length of the training load that is planned on.
        seed: of its requests.
    """

    def __init__(self, planning_s: float = PLANNING_S, seed: int = 0) -> None:
        self.planning_s, self.seed = planning_s, seed
        self._scenario: Scenario | None = None

    @abstractmethod
    def _place(self, replay: Replay, scenario: Scenario) -> Placement:
        """The placement for the requests of a replay, which are of the scenario's training load."""

    def reset(self, scenario: Scenario) -> None:
        """Plans, where the scenario is not the one that it has planned for.

        Raises:
            ValueError: the scenario is not one of placement (`baselines.placement_scenario.problem_of`).
            TraceError: its workload's trace is not there.
        """
        if scenario is self._scenario:
            return
        replay = Replay(problem_of(scenario), requests_of(scenario, self.planning_s, self.seed))
        placement = self._place(replay, scenario)
        check(replay.problem, placement)
        outcome = replay.play(placement)
        groups = sum(bool(group.models) for group in placement)
        self._decision = Decision(
            deployment_of(scenario, placement), f"placement of {groups} groups, planned on the training load",
            {"planned_attainment": outcome.attainment, "replicas": outcome.replicas, "replays": replay.played})
        self._scenario = scenario

    def decide(self, observation: Observation) -> Decision:
        """The placement, whatever is observed."""
        return self._decision


class AlpaServe(_Placed):
    """Models in pipelines and shards: group shapes enumerated, models selected greedily, judged by replay.

    Args:
        method: "better" goes on from where AlpaServe's "search-sep" ends, which also gives models of unlike latency devices
            of their own; "search" does not.
        planning_s: length of the training load that is planned on.
        seed: of its requests.
    """

    def __init__(self, method: Literal["search", "search-sep", "better"] = "better", planning_s: float = PLANNING_S,
                 seed: int = 0) -> None:
        super().__init__(planning_s, seed)
        self.method = method

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """The method, and how much load is planned on."""
        return {"method": ["search", "search-sep", "better"], "planning_s": [300.0, 750.0, 1500.0]}

    def _place(self, replay: Replay, scenario: Scenario) -> Placement:
        if self.method == "better":
            wider, judge = (Replay(replay.problem, requests_of(scenario, times * self.planning_s, seed))
                            for times, seed in ((WIDER, self.seed), (JUDGED, self.seed + OTHERS)))
            return plan(replay, wider, requests_played(BUDGET), self.seed, judge).placement
        return (search_sep if self.method == "search-sep" else search)(replay).placement


class SelectiveReplication(_Placed):
    """Whole models on single devices, as many copies of each as pays.

    Args:
        method: "greedy", one replay for each copy; "search", one for each copy that might be.
        planning_s: length of the training load that is planned on.
        seed: of its requests.
    """

    def __init__(self, method: Literal["greedy", "search"] = "greedy", planning_s: float = PLANNING_S, seed: int = 0) -> None:
        super().__init__(planning_s, seed)
        self.method = method

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """How much load is planned on."""
        return {"planning_s": [300.0, 750.0, 1500.0]}

    def _place(self, replay: Replay, scenario: Scenario) -> Placement:
        return (replicate_by_search if self.method == "search" else replicate)(replay)

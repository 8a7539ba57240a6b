"""AlpaServe's placement planned anew while it serves, from the groups that run, with what a change costs.

Its authors plan once. Here each decision draws requests at the mean load of the last intervals, in such bursts as the scenario
tells of, and improves the placement that runs (`baselines.placement_improve`). A changed group is a new replica: it loads all
its models, and the groups before it serve meanwhile.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from baselines.placement import PlacementProblem, normal
from baselines.placement_improve import BUDGET, WIDER, improve, plan, replan, requests_played
from baselines.placement_incremental import Scored
from baselines.placement_replay import Replay
from baselines.placement_scenario import SteadyLoad, deployment_of, placement_of, problem_of, requests_of
from envs.contract import Decision, Deployment, Observation, Policy
from envs.scenario import Scenario

LEAST_GAIN = 0.01  # of reward per interval: less is noise of the requests that are drawn
ANEW = 5e6  # requests replayed for each plan after the first
MOST_DRAWN = 50_000  # requests planned on; of more load a shorter stretch, so that a decision takes no longer


@dataclass(frozen=True)
class Switching:
    """What a placement is worth when another one runs: reward per interval, over the time that it will stay.

    Until its new groups have loaded the old ones serve, and both are held.

    Attributes:
        scenario: its weights, budget and load times.
        problem: of the scenario.
        running: the placement that runs, scored on the same requests.
        stay_s: how long the next one will stay.
    """

    scenario: Scenario
    problem: PlacementProblem
    running: Scored
    stay_s: float

    def __call__(self, scored: Scored) -> float:
        """Its worth."""
        scenario, weights = self.scenario, self.scenario.weights
        new = Counter(scored.placement) - Counter(self.running.placement)
        loads_s = {group: sum(self.problem.models[m].load_s for m in group.models) for group in new}
        longest_s = max(loads_s.values(), default=0.0)
        share = max(0.0, 1 - longest_s / self.stay_s)
        attained = self.running.score + share * (scored.score - self.running.score)
        overlap = sum(n * group.shape.units * loads_s[group] for group, n in new.items())
        held = overlap / (sum(device.budget for device in scenario.devices.values()) * self.stay_s)
        most_s = max((scenario.load_s(kind) for kind in scenario.kinds), default=0.0)
        change = min(longest_s / most_s, 1.0) * scenario.interval_s / self.stay_s if most_s else 0.0
        return (weights.accuracy + weights.slo) * attained - weights.cost * held - weights.change * change


class AlpaServeOnline(Policy):
    """Plans at reset as AlpaServe does, then anew at every decision.

    Args:
        look_back: intervals whose mean load is planned for; those before the first count as the training load.
        planning_s: length of the requests that are planned on (at most), and how long a placement is taken to stay.
        seed: of the training requests and of the search.
    """

    def __init__(self, look_back: int = 5, planning_s: float = 300.0, seed: int = 0) -> None:
        self.look_back, self.planning_s, self.seed = look_back, planning_s, seed
        self.memory_intervals = look_back

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """How far it looks back, and how much load is planned on."""
        return {"look_back": [1, 3, 5, 10, 20], "planning_s": [150.0, 300.0, 600.0]}

    def reset(self, scenario: Scenario) -> None:
        """Plans for the training load.

        Raises:
            ValueError: the scenario is not one of placement (`baselines.placement_scenario.problem_of`).
            TraceError: its workload's trace is not there.
        """
        self._scenario, self._problem = scenario, problem_of(scenario)
        self._load = SteadyLoad.of(scenario)
        self._seen: deque[np.ndarray] = deque(maxlen=self.look_back)
        fewer, more = (Replay(self._problem, requests_of(scenario, n * self.planning_s, self.seed)) for n in (1, WIDER))
        first = plan(fewer, more, requests_played(BUDGET), self.seed)
        self._first = deployment_of(scenario, first.placement)

    def decide(self, observation: Observation) -> Decision:
        """The placement that is worth most from the one that runs, for the load observed."""
        observed = np.array([observation.services[name].offered_rps for name in self._scenario.services])
        if np.isnan(observed).any():
            running = observation.deployment if self._seen else self._first
            return Decision(running, "no load seen: what runs stays" if self._seen else "planned on the training load")
        self._seen.append(observed)
        rate_rps = (sum(self._seen) + (self.look_back - len(self._seen)) * self._load.rate_rps) / self.look_back
        length_s = min(self.planning_s, MOST_DRAWN / max(float(rate_rps.sum()), 1.0))
        requests = self._load.requests(rate_rps, length_s, self.seed)
        return self._improved(observation.deployment, Replay(self._problem, requests))

    def _improved(self, deployment: Deployment, replay: Replay) -> Decision:
        running = normal(placement_of(self._scenario, deployment))
        before = improve(replay, running, requests_played(0))
        worth = Switching(self._scenario, self._problem, before, self.planning_s)
        after = replan(replay, running, requests_played(ANEW), self.seed, worth)
        gain = worth(after) - worth(before)
        details = {"running_attainment": _attainment(before, replay), "planned_attainment": _attainment(after, replay),
                   "gain": gain}
        if gain < LEAST_GAIN:
            return Decision(deployment, "no placement is worth the change", details)
        changed = sum((Counter(after.placement) - Counter(running)).values())
        wanted = deployment_of(self._scenario, after.placement)
        return Decision(wanted, f"{changed} groups changed for the load observed", details)


def _attainment(scored: Scored, replay: Replay) -> float:
    return float(scored.good.sum() / max(len(replay.requests), 1))

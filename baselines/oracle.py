"""The oracle: the best schedule that hindsight finds, for one service or pipeline.

It knows every request of the episode. Reward tables (`envs.reward_table`) made of these very requests, with routes for the
load that comes, say what each rung of the ladder would earn in each interval; dynamic programming finds the best schedule over
them, load times and overlap included, for each of several margins of the routes. Where queues are unlimited, a rung that was
short once is behind for long in the table, though no schedule need be: so rungs that follow the load that comes, with the same
margins, stand beside. Each schedule is played in the simulator, and the best is the oracle's. What it decides is feasible, and
a policy that knew the future could decide it too.

It is not exact: its deployments are those of the ladder, its routes those of the fast loop, each change finishes loading
before the next one, and the table forgets what queues one interval leaves to the next. What no policy beats is
`baselines.bound`; the best policy lies between the two.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from baselines.future import Future
from baselines.ladder import Ladder, ladder_of
from baselines.quantiles import loading_intervals
from envs.cluster import SimulatedCluster
from envs.contract import Decision, Deployment, Observation, Policy
from envs.reward import pricing, reward, terms
from envs.reward_table import coming_rps, reward_table
from envs.routes import ROUTE_MARGIN, deployment_of, hosting_of, share_out
from envs.scenario import Scenario

FAST_MARGINS = (1.05, 1.2, 1.4, 1.7)  # on the load that comes: for bursts within an interval


class Oracle(Policy):
    """Plays the best schedule found in hindsight.

    Args:
        future: the episode that it will play; without it, `foresee` makes an oracle that has one.

    Raises:
        ValueError: on reset, for a scenario without a ladder; on the first decision, without a future.
    """

    def __init__(self, future: Future | None = None) -> None:
        self.future = future

    def foresee(self, future: Future) -> Oracle:
        """The oracle of one episode."""
        return type(self)(future)

    def reset(self, scenario: Scenario) -> None:
        """Finds the schedule, which takes seconds."""
        ladder = ladder_of(scenario)
        self._played = 0
        self._schedule: list[Deployment] = []
        future = self.future
        if future is None:
            return
        found = [schedule for margin in FAST_MARGINS for schedule in _schedules(scenario, future, ladder, margin)]
        self._schedule = max(found, key=lambda schedule: played(scenario, future, schedule))

    def decide(self, observation: Observation) -> Decision:
        """The next deployment of the schedule; the last one after its end."""
        if not self._schedule:
            raise ValueError("an oracle needs the future: make it with Oracle(future), or by foresee(future)")
        deployment = self._schedule[min(self._played, len(self._schedule) - 1)]
        self._played += 1
        return Decision(deployment, "best in hindsight")


def _schedules(scenario: Scenario, future: Future, ladder: Ladder, margin: float) -> Iterator[list[Deployment]]:
    """The best schedule over the ladder's deployments, and the one that follows the load that comes, with their routes."""
    window = (future.start_s, future.seed)
    coming = coming_rps(scenario, future.loads, *window, future.intervals)
    table = reward_table(scenario, future.loads, ladder.levels, [window], future.intervals, margin, foresight=True)
    for rows in (table.levels[table.best(0)], _following(scenario, ladder, margin * coming.max(1))):
        shares = share_out(hosting_of(scenario), rows, coming * (margin / ROUTE_MARGIN))
        yield [deployment_of(scenario, row, routes) for row, routes in zip(rows, shares)]


def _following(scenario: Scenario, ladder: Ladder, needed_rps: np.ndarray) -> np.ndarray:
    """(T, C) levels for the greatest load until what is ordered in the next interval has loaded."""
    ahead = loading_intervals(scenario) + 1
    padded = np.concatenate([needed_rps, np.repeat(needed_rps[-1:], ahead - 1)])
    greatest = np.lib.stride_tricks.sliding_window_view(padded, ahead).max(1)
    return ladder.levels[[ladder.rung(rps) for rps in greatest]]


def played(scenario: Scenario, future: Future, schedule: list[Deployment]) -> float:
    """Mean reward that a schedule earns in the simulator."""
    cluster = SimulatedCluster(scenario, future.loads, seed=future.seed, offset_s=future.start_s)
    prices, earned = pricing(scenario, cluster.kinds), []
    for deployment in [cluster.deployment, *schedule[1:]]:  # the envelope keeps the first one while nothing has been seen
        cluster.apply(deployment)
        cluster.advance()
        found = terms(prices, cluster.last_truth, cluster.change_load_s, scenario.interval_s)
        earned.append(float(reward(scenario.weights, found)))
    return float(np.mean(earned))

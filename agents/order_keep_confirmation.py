"""Confirms a network in the request kernel: at which cold starts it is ahead of the planner that stands by.

The response is a model: bursts inside an interval and queues from longer ago are not in it. So the trained network and the
planner play hours of the last part of every training trace, the same requests for both, and where the planner earned more on
average it decides. Validation is not seen here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from agents.order_keep_constants import nearest
from agents.order_keep_export import export, read
from agents.order_keep_policy import AlwaysNetwork
from agents.randomise import with_cold_start
from baselines.two_time_scales import TwoTimeScales
from envs.contract import Policy
from envs.episode import run_episode
from envs.loads import spread
from envs.scenario import Scenario
from traces.load import Load

HOURS = 3  # of each trace
INTERVALS = 120
SEED = 3000  # of requests; evaluations count theirs from 0, calibration from 1000


class Confirmation:
    """What the planner earns on hours of the last part of every training trace; networks are held against it.

    Args:
        scenario: the problem.
        loads: by trace, its training part, by application.
        spans_s: by trace, where its last part begins and ends, seconds.
        planner: settings of InfAdapter on two time scales.
        cold_starts_s: at which both are played.
    """

    def __init__(self, scenario: Scenario, loads: Mapping[str, Mapping[str, Load]], spans_s: Mapping[str, tuple[float, float]],
                 planner: Mapping[str, Any], cold_starts_s: tuple[float, ...]) -> None:
        self.scenario, self.loads, self.cold_starts_s, self.planner = scenario, loads, cold_starts_s, planner
        window_s = INTERVALS * scenario.interval_s
        self.hours = [(name, begin_s + start_s) for name, (begin_s, end_s) in spans_s.items()
                      for start_s in spread(end_s - begin_s, window_s, HOURS, scenario.interval_s)]
        self.planned = {load_s: self._played(TwoTimeScales(**planner), load_s) for load_s in cold_starts_s}

    def confirm(self, folder: Path) -> dict[float, float]:
        """By cold start how far a network is ahead, mean reward; in its folder it says where the planner is to decide."""
        manifest, network = read(folder)
        ahead = {load_s: float(np.mean(self._played(AlwaysNetwork(folder), load_s) - self.planned[load_s]))
                 for load_s in self.cold_starts_s}
        planned_s = tuple(nearest(network.constants, load_s) for load_s, gain in ahead.items() if gain < 0)
        told = {**manifest.training, "ahead_of_the_planner": {f"{load_s:.4g} s": gain for load_s, gain in ahead.items()}}
        export(network._replace(planner=self.planner, planned_s=planned_s), folder, self.scenario, told)
        return ahead

    def _played(self, policy: Policy, load_s: float) -> np.ndarray:
        """(hours,) mean rewards."""
        scenario = with_cold_start(self.scenario, load_s)
        return np.array([run_episode(scenario, policy, self.loads[name], seed=SEED, start_s=start_s, intervals=INTERVALS)
                         .totals["reward"] for name, start_s in self.hours])

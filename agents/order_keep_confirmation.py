"""In the request kernel: what the constants begin as, and who decides, the network, its constants or the planner.

The response is a model: bursts inside an interval and queues from longer ago are not in it. So rules play hours of every
source of load, real and generated, the same requests for all. Validation is not seen here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from agents.order_keep_constants import Constants, nearest
from agents.order_keep_export import Exported, export, read
from agents.order_keep_menu import SPREADS
from agents.order_keep_policy import AlwaysConstants, AlwaysNetwork
from agents.order_keep_rules import NEVER_CALM
from agents.randomise import with_cold_start
from baselines.two_time_scales import TwoTimeScales
from envs.contract import Policy
from envs.episode import run_episode
from envs.loads import Loads, spread
from envs.scenario import Scenario

HOURS = 3  # of each source
INTERVALS = 120
SEED = 3000  # of requests; evaluations count theirs from 0, calibration from 1000
NETWORK, CONSTANTS, PLANNER = "network", "constants", "planner"


class Hours:
    """Hours of several sources of load, the same requests for whoever plays.

    Args:
        scenario: the problem.
        loads: by source.
        spans_s: by source, where the part begins and ends from which the hours are, seconds.
    """

    def __init__(self, scenario: Scenario, loads: Mapping[str, Loads], spans_s: Mapping[str, tuple[float, float]]) -> None:
        self.scenario, self.loads = scenario, loads
        window_s = INTERVALS * scenario.interval_s
        self.starts = [(name, begin_s + start_s) for name, (begin_s, end_s) in spans_s.items()
                       for start_s in spread(end_s - begin_s, window_s, HOURS, scenario.interval_s)]

    def earned(self, policy: Policy, load_s: float) -> float:
        """Mean reward at a cold start."""
        scenario = with_cold_start(self.scenario, load_s)
        return float(np.mean([run_episode(scenario, policy, self.loads[name].loads, seed=SEED, start_s=start_s,
                                          intervals=INTERVALS).totals["reward"] for name, start_s in self.starts]))


def liked(hours: Hours, network: Exported) -> dict[float, Constants]:
    """A network's constants, by cold start, with the family that earns most: their own, or the best mix.

    Which mix is best does not hang on the cold start, which a mix meets once.
    """

    def earned(family: int | None, load_s: float) -> float:
        with TemporaryDirectory() as folder:
            constants = {s: of_family(row, family) for s, row in network.constants.items()}
            export(network._replace(constants=constants), Path(folder), hours.scenario, {})
            policy = AlwaysConstants(folder)
        return hours.earned(policy, load_s)

    mixes = range(len(SPREADS), network.menu.families)
    if not mixes:
        return dict(network.constants)
    best = max(mixes, key=lambda family: earned(family, min(network.constants)))
    return {s: of_family(row, best if earned(best, s) > earned(None, s) else None) for s, row in network.constants.items()}


def of_family(row: Constants, family: int | None) -> Constants:
    """Constants that like another family; None: their own."""
    return row if family is None else row._replace(family=family)


class Confirmation:
    """What the planner earns on hours of the last part of every source; networks and their constants are held against it.

    Args:
        hours: of the last parts.
        planner: settings of InfAdapter on two time scales.
        cold_starts_s: at which all are played.
    """

    def __init__(self, hours: Hours, planner: Mapping[str, Any], cold_starts_s: tuple[float, ...]) -> None:
        self.hours, self.planner, self.cold_starts_s = hours, planner, cold_starts_s
        self._planned = {load_s: hours.earned(TwoTimeScales(**planner), load_s) for load_s in cold_starts_s}
        self._constant: dict[Constants, dict[float, float]] = {}

    def confirm(self, folder: Path) -> dict[float, dict[str, float]]:
        """By cold start what each earns; in its folder the network says who is to decide: whoever earns most."""
        manifest, network = read(folder)
        found, calm, planned_s = {}, dict(network.calm), []
        for load_s in self.cold_starts_s:
            near_s = nearest(network.constants, load_s)
            constants = self._of_constants(folder, network.constants[near_s], load_s)
            corrects = network.calm[near_s] < NEVER_CALM
            corrected = self.hours.earned(AlwaysNetwork(folder), load_s) if corrects else constants
            found[load_s] = {NETWORK: corrected, CONSTANTS: constants, PLANNER: self._planned[load_s]}
            if corrected <= constants:
                calm[near_s] = NEVER_CALM
            if self._planned[load_s] > max(corrected, constants):
                planned_s.append(near_s)
        told = {**manifest.training, "in_the_kernel": {f"{load_s:.4g} s": row for load_s, row in found.items()}}
        settled = network._replace(planner=self.planner, planned_s=tuple(planned_s), calm=calm)
        export(settled, folder, self.hours.scenario, told)
        return found

    def _of_constants(self, folder: Path, constants: Constants, load_s: float) -> float:
        """The constants are the same for all seeds: they play once."""
        known = self._constant.setdefault(constants, {})
        if load_s not in known:
            known[load_s] = self.hours.earned(AlwaysConstants(folder), load_s)
        return known[load_s]

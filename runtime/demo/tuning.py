"""The demonstration's policy, tuned for this machine on load that is not played; and what simpler rules would have done.

Everything here is simulated: first on stretches of the trace's training part, to choose settings with as many plays for every
policy, and in the end on the very arrivals that the live cluster has had.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from agents.tuned_planner import write
from baselines.calibrate import Settings, calibrate
from baselines.hpa import HPA
from baselines.overflow import OverflowBand
from baselines.static import Static
from envs.contract import Policy
from envs.envelope import Limits
from envs.episode import run_episode
from envs.scenario import Scenario
from runtime.demo.problem import LIMITS
from runtime.demo.record import Would
from traces.load import POISSON, RECORDED, make_load

PLAYS = 60  # of each policy
BAND, CONSTANT, REACTIVE = "order/keep band", "the best constant deployment", "Kubernetes' HPA"
POLICIES: Mapping[str, type[Policy]] = {BAND: OverflowBand, CONSTANT: Static, REACTIVE: HPA}


def tune(scenario: Scenario, stretches: Sequence[np.ndarray]) -> dict[str, Settings]:
    """Settings by policy, from plays of stretches of load: rates by the second, half of them to choose and half to judge."""
    loads = [make_load(POISSON, rates, 1.0) for rates in stretches]
    half = len(loads) // 2

    def play(policy: type[Policy], calls: Sequence[tuple[Settings, int]]) -> Iterable[float]:
        for settings, number in calls:
            service = next(iter(scenario.applications))
            played = run_episode(scenario, policy(**settings), {service: loads[number]}, seed=number, limits=_limits(policy))
            yield played.totals["reward"]

    def tuned(policy: type[Policy]) -> Settings:
        return calibrate(_space(policy, scenario), PLAYS, range(half), range(half, len(loads)), partial(play, policy)).settings

    return {name: tuned(policy) for name, policy in POLICIES.items()}


def would_have(scenario: Scenario, settings: Mapping[str, Settings], due_s: np.ndarray, seconds: float) -> list[Would]:
    """What each policy would have had of these arrivals."""
    service, budget = next(iter(scenario.applications)), sum(device.budget for device in scenario.devices.values())
    load, intervals = make_load(RECORDED, recorded_s=due_s), max(1, int(seconds / scenario.interval_s))
    found = []
    for name, policy in POLICIES.items():
        played = run_episode(scenario, policy(**settings[name]), {service: load}, seed=0, intervals=intervals,
                             limits=_limits(policy))
        totals = played.totals
        good = 1 - totals["violation_ratio"]
        core_s = totals["cost"] * budget * intervals * scenario.interval_s
        found.append(Would(name, totals["violation_ratio"], totals["accuracy"] / good if good else 0.0, core_s))
    return found


def write_policy(folder: Path, scenario: Scenario, name: str, settings: Mapping[str, Settings], told: str) -> Path:
    """One of the policies, by its name here, as a folder that `tidal autoscale --policy` takes."""
    policy = POLICIES[name]
    write(folder, f"{policy.__module__}:{policy.__name__}", settings[name], scenario.name, {"load": told, "plays": PLAYS})
    return folder


def _limits(policy: type[Policy]) -> Limits | None:
    return LIMITS if policy is OverflowBand else None


def _space(policy: type[Policy], scenario: Scenario) -> Mapping[str, Sequence[Any]]:
    if policy is not Static:
        return policy.space(scenario)
    budget = sum(device.budget for device in scenario.devices.values())
    mixes = product(*(range(candidate.levels) for candidate in scenario.candidates))
    return {"levels": [list(levels) for levels in mixes if 0 < scenario.deployment(levels).units("cpu") <= budget]}

"""Model-Switching: fixed hardware, and at each load the variant with the greatest effective accuracy.

Source: Zhang et al., "Model-Switching: Dealing with Fluctuating Workloads in Machine-Learning-as-a-Service Systems", HotCloud
2020. Effective accuracy of a variant at a load = its accuracy x the share of requests that it answers within the deadline on
that hardware. The table is made before, by playing Poisson arrivals against each variant; online it is only looked up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit

from baselines.forecasters import forecaster
from baselines.infadapter_tables import replicas_at
from envs.contract import Decision, Deployment, Observation, Policy, ReplicaKind
from envs.scenario import Candidate, Scenario

PROBE_S = 60.0  # of load, for each entry of the table
LOADS = 128  # entries, from no load to
LOAD_RATIO = 1.5  # times what the fastest variant carries at most
SEED = 0


class ModelSwitching(Policy):
    """Keeps every variant's hardware fixed and changes the variant as the load does.

    The hardware is a number of units of each device type, of which every variant takes what its candidate allows. Where a
    candidate hosts several variants a switch is a route, at once; elsewhere the new variant loads before the old one goes.

    For scenarios of one service.

    Args:
        units: cores or devices to be used; None: the whole budget.
        forecast: a forecaster's name; the published policy takes the load as last measured.
        memory: intervals that it looks back.
        margin: its factor on the load.

    Raises:
        ValueError: on reset, for a scenario of several services, or where no candidate fits into the units.
    """

    def __init__(self, units: int | None = None, forecast: str = "last", memory: int = 2, margin: float = 1.0) -> None:
        self.units = units
        self.forecaster = forecaster(forecast, memory, margin)

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """Settings to calibrate: the hardware, forecaster, its memory and margin."""
        most = max(device.budget for device in scenario.devices.values())
        return {"units": sorted({max(2, math.ceil(most * share)) for share in (0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0)}),
                "forecast": ["last", "max", "ewm", "ar"], "memory": [2, 3, 5, 10], "margin": [0.9, 1.0, 1.1, 1.2, 1.4]}

    def reset(self, scenario: Scenario) -> None:
        """Starts afresh: makes the table."""
        if len(scenario.services) != 1:
            names = f"{len(scenario.services)}: {', '.join(scenario.services)}"
            raise ValueError(f"ModelSwitching serves one service; scenario '{scenario.name}' has {names}")
        self._scenario, self._service = scenario, next(iter(scenario.services))
        self.options = _options(scenario, self._service, self.units)
        if not self.options:
            raise ValueError(f"no candidate of scenario '{scenario.name}' fits into {self.units} units")
        most_rps = max(_throughput_rps(scenario, *option) for option in self.options)
        self.loads_rps = np.linspace(0, LOAD_RATIO * most_rps, LOADS)
        self.table = np.array([_row(scenario, self._service, option, self.loads_rps) for option in self.options])
        self.forecaster.reset(scenario.interval_s)
        self.memory_intervals = self.forecaster.memory_intervals

    def decide(self, observation: Observation) -> Decision:
        """The variant with the greatest effective accuracy at the load."""
        self.forecaster.observe(observation.services[self._service].offered_rps)
        load_rps = self.forecaster.forecast()
        if math.isnan(load_rps):
            return Decision(observation.deployment, "no load observed yet: unchanged")
        effective = [float(np.interp(load_rps, self.loads_rps, row)) for row in self.table]
        best = int(np.argmax(effective))
        replicas, variant = self.options[best]
        kind = next(iter(replicas))
        deployment: Deployment = replace(self._scenario.initial_deployment, replicas=replicas,
                                         routes={self._service: {(kind, variant): 1.0}})
        reason = f"load {load_rps:.3g} req/s: {variant} has the greatest effective accuracy, {effective[best]:.4f}"
        return Decision(deployment, reason, {"forecast_rps": load_rps, "effective_accuracy": effective[best]})


Option = tuple[dict[ReplicaKind, int], str]  # replicas of one kind, and the variant that serves


def _options(scenario: Scenario, service: str, units: int | None) -> list[Option]:
    """Each variant on as much of the hardware as its candidate allows, the most accurate first."""
    options: list[Option] = []
    for candidate in scenario.candidates:
        level = _largest(scenario, candidate, units)
        if level:
            replicas = replicas_at(candidate, level)
            options += [(replicas, v) for v in candidate.variants if v in scenario.services[service].variants]
    return sorted(options, key=lambda option: -scenario.variants[option[1]].accuracy)


def _largest(scenario: Scenario, candidate: Candidate, units: int | None) -> int:
    """The highest level of a candidate within the budget and the hardware; 0: none."""
    budget = scenario.devices[candidate.device].budget
    room = budget if units is None else min(units, budget)
    fitting = [level for level in range(1, candidate.levels)
               if sum(k.shape.units * n for k, n in replicas_at(candidate, level).items()) <= room]
    return max(fitting, default=0)


def _throughput_rps(scenario: Scenario, replicas: Mapping[ReplicaKind, int], variant: str) -> float:
    kind, count = next(iter(replicas.items()))
    return count * kind.shape.servers * kind.batch / max(scenario.profile.latency_s(variant, kind.shape, kind.batch))


def _row(scenario: Scenario, service: str, option: Option, loads_rps: np.ndarray) -> list[float]:
    """Effective accuracy of one variant at each load."""
    replicas, variant = option
    kind, count = next(iter(replicas.items()))
    stages_s = scenario.profile.latency_s(variant, kind.shape, kind.batch)
    accuracy, slo_s = scenario.variants[variant].accuracy, scenario.services[service].slo_s
    servers, after_s = count * kind.shape.servers * kind.batch, sum(stages_s) - max(stages_s)
    return [accuracy * in_time_ratio(servers, max(stages_s), slo_s - after_s, rps) for rps in loads_rps]


@lru_cache(maxsize=16 * LOADS)  # the tables of a scenario are made at every reset
def in_time_ratio(servers: int, service_s: float, limit_s: float, load_rps: float) -> float:
    """Share of requests answered within a limit by one queue before servers with one fixed service time (M/D/c, simulated).

    Args:
        servers: requests worked on at the same time (a batch counts as so many servers).
        service_s: of each.
        limit_s: on waiting and service together.
        load_rps: of Poisson arrivals, played for `PROBE_S`; 0: a single request.
    """
    if load_rps <= 0:
        return float(service_s <= limit_s)
    count = math.ceil(load_rps * PROBE_S)
    arrivals_s = np.cumsum(np.random.default_rng(SEED).standard_exponential(count)) / load_rps
    return float(_in_time(arrivals_s, servers, service_s, limit_s)) / count


@njit(cache=True)
def _in_time(arrivals_s, servers, service_s, limit_s):
    finish = np.empty(arrivals_s.size)
    good = 0
    for i in range(arrivals_s.size):  # with one fixed service time servers finish in turn
        start = arrivals_s[i] if i < servers else max(arrivals_s[i], finish[i - servers])
        finish[i] = start + service_s
        good += finish[i] - arrivals_s[i] <= limit_s
    return good

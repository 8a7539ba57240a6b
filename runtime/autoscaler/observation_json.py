"""An observation as JSON, as the journal keeps it, and back, exactly. Missing numbers are null.

Rows are lists in the order of the contract's fields. Candidate kinds at rest (no replicas, nothing waiting) are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import astuple
from typing import Any

from envs.contract import (
    ApplicationObservation,
    DeviceObservation,
    KindObservation,
    Observation,
    ServiceObservation,
)
from envs.scenario import Scenario
from runtime.deployment_json import from_json, kind_from_json, kind_to_json, to_json

_AT_REST: tuple[Any, ...] = (0.0, 0.0, 0.0, 0.0, None, [])


def observation_to_json(observation: Observation, scenario: Scenario) -> dict[str, Any]:
    """An observation as plain values."""
    kinds = []
    for kind, row in observation.kinds.items():
        values = (*_row(astuple(row)[:5]), list(row.pending_s))
        if kind not in scenario.kinds or values != _AT_REST:
            kinds.append([kind_to_json(kind), *values])
    return {
        "t_s": observation.t_s, "interval_s": observation.interval_s, "age_s": _known(observation.age_s),
        "deployment": to_json(observation.deployment),
        "applications": {name: _row(astuple(row)) for name, row in observation.applications.items()},
        "services": {name: _row(astuple(row)) for name, row in observation.services.items()},
        "kinds": kinds,
        "devices": {name: _row(astuple(row)) for name, row in observation.devices.items()},
        "load_s": dict(observation.load_s),
    }


def observation_from_json(value: Mapping[str, Any], scenario: Scenario) -> Observation:
    """The observation that `observation_to_json` wrote.

    Raises:
        ValueError, KeyError, TypeError: it is not one.
    """
    at_rest = KindObservation(0.0, 0.0, 0.0, 0.0, math.nan)
    kinds = dict.fromkeys(scenario.kinds, at_rest)
    for kind, *numbers, pending_s in value["kinds"]:
        ready, pending, draining, queue, busy_ratio = _numbers(numbers)
        kinds[kind_from_json(kind)] = KindObservation(ready, pending, draining, queue, busy_ratio, tuple(pending_s))
    return Observation(
        t_s=value["t_s"], interval_s=value["interval_s"], age_s=_numbers([value["age_s"]])[0],
        deployment=from_json(value["deployment"]),
        applications={name: ApplicationObservation(*_numbers(row)) for name, row in value["applications"].items()},
        services={name: ServiceObservation(*_numbers(row)) for name, row in value["services"].items()},
        kinds=kinds,
        devices={name: DeviceObservation(*_numbers(row)) for name, row in value["devices"].items()},
        load_s=dict(value["load_s"]))


def _known(number: float) -> float | None:
    return None if math.isnan(number) else number


def _row(numbers: Iterable[float]) -> list[float | None]:
    return [_known(number) for number in numbers]


def _numbers(row: Iterable[float | None]) -> list[float]:
    return [math.nan if number is None else number for number in row]

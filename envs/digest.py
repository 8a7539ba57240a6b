"""A digest of a scenario, so that what was found on one form of it is not taken for another."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from envs.scenario import Scenario


def digest(scenario: Scenario) -> str:
    """sha256 of everything that a scenario says, its profile's latencies included; equal scenarios have equal digests.

    A load in a file counts by the file's name, so that the digest is the same wherever the file lies. What a scenario
    does not have is left out, troubles, waking, a currency or ceiling, so that a digest outlives the day on which the
    simulator learns one.
    """
    said = scenario.model_dump(mode="python", exclude={"profile"})
    if scenario.interference is None:
        del said["interference"]
    if scenario.currency is None:
        del said["currency"]
    if scenario.price_limit is None:
        del said["price_limit"]
    if scenario.failures.load_factor == 1:
        del said["failures"]["load_factor"]
    if scenario.failures.load_slowdown == 1:
        del said["failures"]["load_slowdown"]
    for service in said["services"].values():
        if service["wake"] is None:
            del service["wake"]
    for workload in said["workload"].values():
        workload["trace"] = Path(workload["trace"]).name
    latencies = [
        [str(kind), v, [scenario.profile.latency_s(v, kind.shape, kind.batch), scenario.capacity_rps(kind, v)]]
        for kind in scenario.kinds
        for v in kind.variants
    ]
    text = json.dumps([plain(said), plain(latencies)], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def plain(value: Any) -> Any:
    """A value as JSON knows it: numpy numbers become plain ones, nan and infinity null; containers are followed."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(v) for v in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value if value is None else str(value)

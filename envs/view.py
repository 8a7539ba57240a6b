"""An observation in arrays: what the encoder reads, for one cluster or for many at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from envs.contract import Observation
from envs.scenario import Scenario


class View(NamedTuple):
    """What policies see of an interval, in arrays with any leading dimensions: an `Observation`'s numbers; nan is missing."""

    age_s: np.ndarray | np.float64  # ()
    offered_rps: np.ndarray  # (A,)
    violation_ratio: np.ndarray  # (A,)
    accuracy: np.ndarray  # (A,)
    quantiles_s: np.ndarray  # (A, 3) p50, p95, p99
    service_rps: np.ndarray  # (Z,)
    queue: np.ndarray  # (Z,) requests waiting
    ready: np.ndarray  # (K,)
    pending: np.ndarray  # (K,)
    draining: np.ndarray  # (K,)
    busy_ratio: np.ndarray  # (K,)
    pending_age_s: np.ndarray  # (K,) since the oldest pending replica was started, 0: none pending
    levels: np.ndarray  # (C,) of the deployment in force
    load_s: np.ndarray  # (V,) measured cold start


def view_of(observation: Observation, scenario: Scenario) -> View:
    """The view of one observation, without leading dimensions: what the arrays of `Clusters` hold for one cluster."""
    applications = [observation.applications[name] for name in scenario.applications]
    services = [observation.services[name] for name in scenario.services]
    kinds = [observation.kinds[kind] for kind in scenario.kinds]
    return View(
        age_s=np.float64(observation.age_s),
        offered_rps=np.array([a.offered_rps for a in applications]),
        violation_ratio=np.array([a.violation_ratio for a in applications]),
        accuracy=np.array([a.accuracy for a in applications]),
        quantiles_s=np.array([(a.p50_s, a.p95_s, a.p99_s) for a in applications]),
        service_rps=np.array([s.offered_rps for s in services]),
        queue=np.array([s.queue for s in services]),
        ready=np.array([k.ready for k in kinds]),
        pending=np.array([k.pending for k in kinds]),
        draining=np.array([k.draining for k in kinds]),
        busy_ratio=np.array([k.busy_ratio for k in kinds]),
        pending_age_s=np.array([max(k.pending_s, default=0.0) for k in kinds]),
        levels=np.array(scenario.levels(observation.deployment), np.int64),
        load_s=np.array([observation.load_s[v] for v in scenario.variants]),
    )
